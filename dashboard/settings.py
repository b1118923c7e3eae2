"""Django's settings, derived from :mod:`dashboard.environment`."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

from csp.constants import NONCE, NONE, SELF

from .environment import BASE_DIR, SECRET_NAMES, SettingsError, read_environment
from .identity import installation_id, node_name, secret_key

try:
    ENVIRONMENT = read_environment()
except SettingsError as error:
    sys.exit(str(error))

BERTH_HOST = ENVIRONMENT.host
BERTH_PORT = ENVIRONMENT.port
BERTH_GATEWAY_PORT = ENVIRONMENT.gateway_port
BERTH_PUBLIC_URL = ENVIRONMENT.public_url
BERTH_GATEWAY_URL = ENVIRONMENT.gateway_url
#: Where Berth's own processes reach the two.
BERTH_WEB_AT = ENVIRONMENT.web_at
BERTH_GATEWAY_AT = ENVIRONMENT.gateway_at
#: Holds the address of the running gateway, for commands in other shells; empty when an address was given.
BERTH_GATEWAY_POINTER = "" if ENVIRONMENT.gateway_url_given else str(ENVIRONMENT.data_dir / "run" / "gateway.url")
BERTH_DATA_DIR = ENVIRONMENT.data_dir
BERTH_SECRETS_KEY_FILE = ENVIRONMENT.secrets_key_file
BERTH_ROLE = ENVIRONMENT.role
BERTH_NODE_ADDRESS = ENVIRONMENT.node_address
BERTH_MODELS_NETWORK = ENVIRONMENT.models_network
BERTH_HOST_PATHS = ENVIRONMENT.host_paths
BERTH_GPU_SOURCE = ENVIRONMENT.gpu_source
BERTH_SECRETS = ENVIRONMENT.secrets
BERTH_USAGE_RAW_DAYS = ENVIRONMENT.usage_raw_days
BERTH_USAGE_DAYS = ENVIRONMENT.usage_days
BERTH_METRICS_ALLOW = ENVIRONMENT.metrics_allow
#: A mirror of the model hub; empty for the hub itself.
BERTH_HUB_URL = ENVIRONMENT.hub_url
BERTH_SECRET_NAMES = SECRET_NAMES
BERTH_EMBEDDED_REDIS = ENVIRONMENT.embedded_redis
try:
    BERTH_INSTALLATION = installation_id(BERTH_DATA_DIR)
    BERTH_NODE_NAME = ENVIRONMENT.node_name or node_name(BERTH_DATA_DIR)
    SECRET_KEY = secret_key(BERTH_DATA_DIR)
except OSError as error:
    sys.exit(f"The data folder {BERTH_DATA_DIR} cannot be written ({error.strerror}): set BERTH_DATA_DIR to another.")
REDIS_URL = ENVIRONMENT.redis_url

_local = [f"http://{name}:{BERTH_PORT}" for name in ("127.0.0.1", "localhost", *ENVIRONMENT.allowed_hosts)]
#: Origins that may open websockets and use the gateway with a session, compared exactly.
BERTH_ORIGINS = list(dict.fromkeys([BERTH_PUBLIC_URL, *_local]))

DEBUG = ENVIRONMENT.debug
_public_host = BERTH_PUBLIC_URL.split("//", 1)[1].rsplit(":", 1)[0]
ALLOWED_HOSTS = ["127.0.0.1", "localhost", _public_host, *ENVIRONMENT.allowed_hosts]
CSRF_TRUSTED_ORIGINS = BERTH_ORIGINS

INSTALLED_APPS = [
    "dashboard",
    "deployments",
    "playground",
    # Where there are no pages, the admin's modules, and the engines that they check configs with, stay out.
    "django.contrib.admin.apps.SimpleAdminConfig" if ENVIRONMENT.role == "gateway" else "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "axes",
    "csp",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "dashboard.compression.TextCompressionMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "dashboard.errors.BerthErrorMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "dashboard.urls"
ASGI_APPLICATION = "dashboard.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "dashboard.context.frame",
            ],
        },
    },
]

DATABASES: dict[str, Any] = {"default": ENVIRONMENT.database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "dashboard:overview"
LOGOUT_REDIRECT_URL = "login"
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = timedelta(minutes=10)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "registration/locked.html"
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False

SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BERTH_PUBLIC_URL.startswith("https://")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    },
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = ENVIRONMENT.time_zone
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "dashboard.browser_libraries.BrowserLibraryFinder",
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        # With a compressed copy of each file beside it, which ServeStatic sends to whoever takes it.
        else "servestatic.storage.CompressedManifestStaticFilesStorage"
    },
}


def broker_url(redis_url: str) -> str:
    """The same address as Celery writes it."""
    return redis_url.replace("unix://", "redis+socket://")


# Messages are hints: acknowledged early, never retried or revoked; the sweep finds what they miss.
CELERY_BROKER_URL = broker_url(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_DEFAULT_QUEUE = "control"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"  # in memory: no entry minds being early or late
SWEEP_INTERVAL_S = 2
USAGE_INTERVAL_S = 5
CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "deployments.tasks.sweep",
        "schedule": SWEEP_INTERVAL_S,
        "options": {"queue": "control", "expires": 2 * SWEEP_INTERVAL_S},
    },
    "pushed images": {
        "task": "deployments.tasks.look_at_pushed",
        "schedule": 60,
        "options": {"queue": "control", "expires": 60},
    },
    "usage": {
        "task": "playground.tasks.roll_up_usage",
        "schedule": USAGE_INTERVAL_S,
        "options": {"queue": "control", "expires": USAGE_INTERVAL_S},
    },
    "old usage": {
        "task": "playground.tasks.delete_old_usage",
        "schedule": 600,
        "options": {"queue": "control", "expires": 600},
    },
    "dead answers": {
        "task": "playground.tasks.end_dead_answers",
        "schedule": 15,
        "options": {"queue": "control", "expires": 15},
    },
    "left tests": {
        "task": "playground.tasks.end_left_tests",
        "schedule": 15,
        "options": {"queue": "control", "expires": 15},
    },
    "unused uploads": {
        "task": "deployments.tasks.forget_unused_archives",
        "schedule": 3600,
        "options": {"queue": "control", "expires": 3600},
    },
    "unsent pictures": {
        "task": "playground.tasks.drop_unsent_pictures",
        "schedule": 3600,
        "options": {"queue": "control", "expires": 3600},
    },
}

# A 64 MB body passes the gateway, which Django never sees; forms stay small.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_500_000

#: Imported by whoever sends a message; workers are started with it.
BERTH_CELERY_APP = "dashboard.celery"

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": ENVIRONMENT.log_level},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
        "uvicorn": {"handlers": [], "level": "WARNING", "propagate": True},
        # Without this uvicorn writes each line of it, for nobody: what --no-access-log set is forgotten here.
        "uvicorn.access": {"handlers": [], "propagate": False},
        "celery": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
        # A command says what matters on its own; the other processes log the rest.
        "deployments": {"level": "ERROR" if ENVIRONMENT.role == "command" else ENVIRONMENT.log_level},
    },
}

SILENCED_SYSTEM_CHECKS: list[str] = []
