"""Sends messages to workers. A message is only a hint: the sweep finds whatever a lost one meant."""

from __future__ import annotations

import logging
from importlib import import_module

from django.conf import settings

from .redis import RedisError

logger = logging.getLogger(__name__)
EXPIRES_S = 60
#: The next one comes in two seconds: a busy node is not to find a hundred of them.
SWEEP_EXPIRES_S = 4


def hint_reconcile(deployment_id: int, *, node: str = "") -> None:
    """Wake the loop for one deployment, on its node once it has one. Never raises."""
    queue = f"node.{node}" if node else "control"
    _send("deployments.tasks.reconcile_deployment", deployment_id, queue=queue)


def hint_demand() -> None:
    """Wake the start of what requests wait for. Never raises."""
    _send("deployments.tasks.answer_demand", queue="control", expires_s=SWEEP_EXPIRES_S)


def hint_fetch(fetch_id: int, *, node: str) -> None:
    """Wake the node's fetching of one image. Never raises."""
    _send("deployments.tasks.fetch_image", fetch_id, queue=f"work.{node}")


def hint_sweep(node: str) -> None:
    """Let the node's worker look for runs that nobody wants. Never raises."""
    _send("deployments.tasks.sweep_node", queue=f"node.{node}", expires_s=SWEEP_EXPIRES_S)


def hint_warm(fetch_id: int, *, node: str) -> None:
    """Wake the node's bringing of a model into a running server. Never raises."""
    _send("deployments.tasks.warm_server", fetch_id, queue=f"work.{node}")


def hint_job(task: str, job_id: int, *, node: str) -> None:
    """Wake the node's work on one job; see :mod:`deployments.jobs`. Never raises."""
    _send(task, job_id, queue=f"work.{node}")


def hint_image_look(build_id: int, *, node: str) -> None:
    """Let the node's worker see whether a built image is still there, or delete it if that was asked. Never raises."""
    _send("deployments.tasks.look_at_image", build_id, queue=f"node.{node}")


def _send(task: str, *arguments: int, queue: str, expires_s: int = EXPIRES_S) -> None:
    # Only now: a gateway seldom sends one, and Celery would be a quarter of its start.
    import_module(settings.BERTH_CELERY_APP)
    from celery import current_app
    from kombu.exceptions import KombuError

    try:
        current_app.send_task(task, args=arguments, queue=queue, expires=expires_s, retry=False)
    except (KombuError, RedisError, OSError) as error:
        logger.warning("No hint was sent to %s (%s); the sweep will find it", queue, error)
