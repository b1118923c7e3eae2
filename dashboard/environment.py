"""Every setting that Berth reads from its environment, in one place, validated at start.

The README's table of settings is checked against :data:`DOCUMENTED` by a test.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from environs import Env, EnvValidationError, ValidationError, validate

from deployments.engine_certificates import certificates

BASE_DIR = Path(__file__).resolve().parent.parent
LEAST_PASSWORD = 8
ROLES = ("library", "web", "gateway", "worker", "agent", "command")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

#: Name -> what it is for, as the README lists them.
DOCUMENTED = {
    "BERTH_HOST": "Address that the web and the gateway listen on (127.0.0.1).",
    "BERTH_PORT": "Port of the web (8000).",
    "BERTH_GATEWAY_PORT": "Port of the gateway process (BERTH_PORT + 1).",
    "BERTH_PUBLIC_URL": "Address that browsers use, when it is not http://127.0.0.1:BERTH_PORT.",
    "BERTH_GATEWAY_URL": "Address that clients of the gateway use, in snippets and in the addresses of images.",
    "BERTH_ALLOWED_HOSTS": "Further host names that the web answers to, comma-separated.",
    "BERTH_DATA_DIR": "Folder for the database, weights, logs and keys (data).",
    "BERTH_SECRETS_KEY_FILE": (
        "File with the keys that stored passwords are encrypted with, the same on every node "
        "(secrets.keys in the data folder)."
    ),
    "BERTH_NODE_NAME": "Name of this host (its host name at the first start).",
    "BERTH_ADMIN_PASSWORD": "Password of the first admin; else one is made and printed once.",
    "BERTH_LOG_LEVEL": "DEBUG, INFO, WARNING or ERROR (INFO).",
    "BERTH_TIME_ZONE": "Time zone of the pages (UTC).",
    "BERTH_DEBUG": "Django's debug mode, for development only (false).",
    "BERTH_NODE_ADDRESS": "This host's private address, at which other hosts reach its models (127.0.0.1).",
    "BERTH_MODELS_NETWORK": "Docker network on which models are reached by container name; for Berth in containers.",
    "BERTH_HOST_PATHS": "Folders of the host that configs may mount, separated by colons (none).",
    "BERTH_GPU_SOURCE": (
        "Where GPUs are read: nvml (the driver), none, or replay:h200x4 or replay:FILE, "
        "a recording on which nothing is put (nvml)."
    ),
    "BERTH_USAGE_RAW_DAYS": "Days that single requests stay in the database, without their text; sums stay longer (7).",
    "BERTH_USAGE_DAYS": "Days that sums of usage by day stay in the database (400).",
    "BERTH_METRICS_ALLOW": (
        "Networks whose clients may read /metrics without a key, comma-separated; empty for none "
        "(127.0.0.1/32,::1/128)."
    ),
    "DOCKER_HOST": "Address of the Docker engine (unix:///var/run/docker.sock).",
    "DOCKER_TLS_VERIFY": "1: the engine at a tcp:// address is reached by TLS, and both sides prove who they are (no).",
    "DOCKER_CERT_PATH": "Folder of ca.pem, cert.pem and key.pem for that (~/.docker).",
    "REDIS_URL": "Redis or Valkey to use; an embedded Valkey is started when unset.",
    "DATABASE_URL": "PostgreSQL or SQLite; berth.sqlite3 in the data folder when unset.",
    "HF_ENDPOINT": "Address of the model hub or of a mirror, given to model servers too (https://huggingface.co).",
    "HF_TOKEN": "Token for gated weights, passed to configs that refer to ${HF_TOKEN}.",
}
#: Names that configs may refer to as ${NAME}.
SECRET_NAMES = ("HF_TOKEN",)


class SettingsError(Exception):
    """One or more settings are wrong; the message is a sentence for each."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The settings as typed values. Ports are TCP ports; paths are absolute."""

    host: str
    port: int
    gateway_port: int
    public_url: str
    gateway_url: str
    gateway_url_given: bool
    web_at: str
    gateway_at: str
    allowed_hosts: tuple[str, ...]
    data_dir: Path
    secrets_key_file: Path
    node_name: str
    admin_password: str
    log_level: str
    time_zone: str
    debug: bool
    role: str
    redis_url: str
    embedded_redis: bool
    database: dict[str, Any]
    secrets: dict[str, str]
    hub_url: str
    node_address: str
    models_network: str
    host_paths: tuple[Path, ...]
    gpu_source: str
    usage_raw_days: int
    usage_days: int
    metrics_allow: tuple[IPv4Network | IPv6Network, ...]


def read_environment() -> Environment:
    """Read and validate ``os.environ``. Raises SettingsError naming every wrong variable."""
    env = Env(eager=False)
    port = env.int("BERTH_PORT", 8000, validate=validate.Range(1, 65534))
    gateway_port = env.int("BERTH_GATEWAY_PORT", None, validate=validate.Range(1, 65535))
    data_dir, secrets_key_file = (
        env.path("BERTH_DATA_DIR", BASE_DIR / "data"),
        env.str("BERTH_SECRETS_KEY_FILE", "", validate=_absolute_file),
    )
    log_level = env.str("BERTH_LOG_LEVEL", "INFO", validate=validate.OneOf(LOG_LEVELS))
    time_zone = env.str("BERTH_TIME_ZONE", "UTC", validate=_known_time_zone)
    debug = env.bool("BERTH_DEBUG", False)
    role = env.str("BERTH_ROLE", "library", validate=validate.OneOf(ROLES))
    redis_url = env.str("REDIS_URL", "", validate=_redis_url)
    database_url = env.str("DATABASE_URL", "", validate=_database_url)
    public_url = env.str("BERTH_PUBLIC_URL", "", validate=_http_url)
    gateway_url = env.str("BERTH_GATEWAY_URL", "", validate=_http_url)
    # Set by docker-compose.yml: a container does not reach another one at the address that browsers use.
    web_at = env.str("BERTH_WEB_AT", "", validate=_http_url)
    gateway_at = env.str("BERTH_GATEWAY_AT", "", validate=_http_url)
    host = env.str("BERTH_HOST", "127.0.0.1")
    allowed_hosts: list[str] = env.list("BERTH_ALLOWED_HOSTS", [])
    embedded_redis = env.bool("BERTH_EMBEDDED_REDIS", False)  # set by `up` for its children
    node_address = env.str("BERTH_NODE_ADDRESS", "", validate=_address)
    models_network = env.str("BERTH_MODELS_NETWORK", "")
    host_paths = env.str("BERTH_HOST_PATHS", "", validate=_absolute_paths)
    gpu_source = env.str("BERTH_GPU_SOURCE", "", validate=_gpu_source)
    # Pages show 30 days at least.
    usage_raw_days, usage_days = (
        env.int("BERTH_USAGE_RAW_DAYS", 7, validate=validate.Range(0, 400)),
        env.int("BERTH_USAGE_DAYS", 400, validate=validate.Range(35, 3660)),
    )
    metrics_allow = env.str("BERTH_METRICS_ALLOW", "127.0.0.1/32,::1/128", validate=_networks)
    hub_url = env.str("HF_ENDPOINT", "", validate=_http_url)
    secrets = {name: env.str(name, "") for name in SECRET_NAMES}
    node_name = env.str("BERTH_NODE_NAME", "", validate=validate.Length(0, 100))
    admin_password = env.str("BERTH_ADMIN_PASSWORD", "", validate=_password)
    try:
        env.seal()
    except EnvValidationError as error:
        raise SettingsError(_sentences(error)) from None
    data_dir = data_dir.expanduser().absolute()
    gateway_port = gateway_port or port + 1
    if gateway_port == port:
        raise SettingsError(f"BERTH_GATEWAY_PORT is {gateway_port}, which is BERTH_PORT too: choose another port.")
    _require_certificates()
    public_url = (public_url or f"http://{reachable_host(host)}:{port}").rstrip("/")
    gateway_url_given = bool(gateway_url)
    gateway_url = (gateway_url or f"http://{reachable_host(host)}:{gateway_port}").rstrip("/")
    return Environment(
        host=host,
        port=port,
        gateway_port=gateway_port,
        public_url=public_url,
        gateway_url=gateway_url,
        gateway_url_given=gateway_url_given,
        web_at=web_at or public_url,
        gateway_at=gateway_at or gateway_url,
        allowed_hosts=tuple(allowed_hosts),
        data_dir=data_dir,
        secrets_key_file=Path(secrets_key_file) if secrets_key_file else data_dir / "secrets.keys",
        node_name=node_name,
        admin_password=admin_password,
        log_level=log_level,
        time_zone=time_zone,
        debug=debug,
        role=role,
        redis_url=redis_url or _running_redis(data_dir),
        embedded_redis=embedded_redis or not redis_url,
        database=_database(database_url, data_dir) | (_KEPT_CONNECTIONS if role == "web" else {}),
        node_address=node_address,
        models_network=models_network,
        host_paths=tuple(Path(path) for path in host_paths.split(":") if path),
        gpu_source=gpu_source,
        usage_raw_days=usage_raw_days,
        usage_days=usage_days,
        metrics_allow=tuple(_split_networks(metrics_allow)),
        hub_url=hub_url.rstrip("/"),
        secrets={name: value for name, value in secrets.items() if value},
    )


def reachable_host(listens_on: str) -> str:
    """Where a server that listens on this address, perhaps on all, is asked from this host."""
    return "127.0.0.1" if listens_on in {"0.0.0.0", "::", ""} else listens_on  # noqa: S104 - compared, not bound


def redis_url_file(data_dir: Path) -> Path:
    """Where ``up`` writes the address of its embedded Valkey, so that other commands find it."""
    return data_dir / "run" / "redis.url"


def _running_redis(data_dir: Path) -> str:
    try:
        return redis_url_file(data_dir).read_text().strip()
    except OSError:
        return "unix:///berth-is-not-running.sock"


#: Of the threads that make pages (dashboard/pages.py): a new one for each page reads the whole schema anew, and costs
#: as much as the page's own queries. One that the database closed meanwhile is noticed, and made anew.
_KEPT_CONNECTIONS: dict[str, Any] = {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}


def _database(url: str, data_dir: Path) -> dict[str, Any]:
    config: dict[str, Any] = dict(dj_database_url.parse(url or f"sqlite:///{data_dir / 'berth.sqlite3'}"))
    if config["ENGINE"].endswith("sqlite3"):
        # Without IMMEDIATE, contended transactions fail at once instead of waiting for the lock.
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
    else:
        config["OPTIONS"] = {"connect_timeout": 5, **config.get("OPTIONS", {})}
    return config


def _known_time_zone(value: str) -> None:
    from zoneinfo import available_timezones

    if value not in available_timezones():
        raise ValidationError(f"{value!r} is not a time zone; write a name such as Asia/Shanghai")


def _password(value: str) -> None:
    if value and len(value) < LEAST_PASSWORD:
        raise ValidationError(f"a password has at least {LEAST_PASSWORD} characters")


def _address(value: str) -> None:
    try:
        address = ip_address(value or "127.0.0.1")
    except ValueError:
        raise ValidationError(f"{value!r} is not an IP address of this host; write one such as 10.0.0.5") from None
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_unspecified:
        raise ValidationError(
            f"{value!r} means every address of this host, so that models would be open to all of its networks; "
            "write its private address, such as 10.0.0.5"
        )
    if address.is_multicast or str(address) == "255.255.255.255":
        raise ValidationError(
            f"{value!r} is no address of one host; write the private one of this host, such as 10.0.0.5"
        )


def _networks(value: str) -> None:
    try:
        _split_networks(value)
    except ValueError as error:
        raise ValidationError(f"{error}; write networks such as 10.0.0.0/8,fd00::/8") from None


def _split_networks(value: str) -> list[IPv4Network | IPv6Network]:
    return [ip_network(part.strip()) for part in value.split(",") if part.strip()]


def _absolute_paths(value: str) -> None:
    for path in value.split(":"):
        if path and (not path.startswith("/") or ".." in Path(path).parts or path == "/"):
            raise ValidationError(f"{path!r} must be an absolute folder, without '..', and not / itself")


def _absolute_file(value: str) -> None:
    if value and (not value.startswith("/") or value.endswith("/")):
        raise ValidationError(f"{value!r} must be the absolute path of a file")


def _gpu_source(value: str) -> None:
    if value not in {"", "nvml", "none"} and (not value.startswith("replay:") or value == "replay:"):
        raise ValidationError(f"{value!r} must be replay: and the path of a recording, none, or nvml for the driver")


def _redis_url(value: str) -> None:
    if value and not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValidationError(f"{value!r} must begin with redis://, rediss:// or unix://")


def _http_url(value: str) -> None:
    if not value:
        return
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValidationError(f"{value!r} must begin with http:// or https:// and name a host")
    if parts.path.strip("/") or parts.query:
        raise ValidationError(f"{value!r} must end after host and port: a path is not supported")


def _database_url(value: str) -> None:
    if not value:
        return
    try:
        engine = dj_database_url.parse(value)["ENGINE"]
    except (ValueError, KeyError):
        raise ValidationError("it is not a database URL; write postgres://user:password@host/name") from None
    if not engine.endswith(("sqlite3", "postgresql")):
        raise ValidationError(f"{engine!r} is not supported; use PostgreSQL or SQLite")


def _require_certificates() -> None:
    found = certificates(os.environ)
    if found is not None and found.missing:
        raise SettingsError(
            f"DOCKER_TLS_VERIFY is set, and {found.folder} lacks {', '.join(found.missing)}: "
            "put them there, or name their folder with DOCKER_CERT_PATH."
        )


def _sentences(error: EnvValidationError) -> str:
    wrong = error.error_messages
    if not isinstance(wrong, Mapping):
        return str(error)
    lines = [
        f"The setting {name} is wrong: {'; '.join(str(reason).rstrip('.') for reason in reasons)}."
        for name, reasons in wrong.items()
    ]
    return "\n".join(lines)
