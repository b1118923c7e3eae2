"""Sends messages to workers. A message is only a hint: the sweep finds whatever a lost one meant."""

from __future__ import annotations

import logging

from kombu.exceptions import KombuError

from .redis import RedisError

logger = logging.getLogger(__name__)
EXPIRES_S = 60


def hint_reconcile(deployment_id: int, *, node: str = "") -> None:
    """Wake the loop for one deployment, on its node once it has one. Never raises."""
    _send("deployments.tasks.reconcile_deployment", deployment_id, f"node.{node}" if node else "control")


def hint_fetch(fetch_id: int, *, node: str) -> None:
    """Wake the node's fetching of one image. Never raises."""
    _send("deployments.tasks.fetch_image", fetch_id, f"work.{node}")


def _send(task: str, argument: int, queue: str) -> None:
    from celery import current_app

    try:
        current_app.send_task(task, args=(argument,), queue=queue, expires=EXPIRES_S, retry=False)
    except (KombuError, RedisError, OSError) as error:
        logger.warning("No hint was sent to %s (%s); the sweep will find it", queue, error)
