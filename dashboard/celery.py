"""The Celery application: queues ``control``, ``node.<name>`` and ``work.<name>``."""

from __future__ import annotations

import os
import warnings
from typing import Any

from celery import Celery
from celery.platforms import SecurityWarning  # type: ignore[attr-defined]  # missing in the stubs
from celery.signals import worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

# Celery warns about running as root for fear of pickles; only JSON is accepted here.
warnings.filterwarnings("ignore", category=SecurityWarning)

app = Celery("berth")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_ready.connect
def sweep_at_once(**_: Any) -> None:
    """Beat waits one interval before its first sweep; a worker that was just started looks at once."""
    app.send_task("deployments.tasks.sweep", queue="control", expires=10)
