"""Celery tasks of the dashboard."""

from __future__ import annotations

import logging

from celery import shared_task

from deployments.redis import RedisError

from .doctor.examination import examine, keep_report

logger = logging.getLogger(__name__)


@shared_task(name="dashboard.tasks.examine_node")
def examine_node() -> None:
    """Examine the node whose worker takes this message, and keep the report for the page. Repeatable."""
    report = examine()
    try:
        keep_report(report)
    except RedisError as error:
        logger.warning("The doctor's report was not kept: %s", error)
