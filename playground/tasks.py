"""Celery tasks of the gateway's usage."""

from __future__ import annotations

import logging

from celery import shared_task

from deployments.redis import RedisError

from .services.usage import delete_old_usage, roll_up

logger = logging.getLogger(__name__)


@shared_task(name="playground.tasks.roll_up_usage")
def roll_up_usage() -> None:
    """Add what gateways served to the roll-ups. Repeatable."""
    try:
        roll_up()
    except RedisError as error:
        logger.warning("Usage waits for Redis: %s", error)


@shared_task(name="playground.tasks.delete_old_usage")
def delete_usage() -> None:
    """Delete usage that is older than it is kept. Repeatable."""
    delete_old_usage()
