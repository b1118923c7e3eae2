"""Asks the worker of a node for an examination: only there can its engine and disks be seen."""

from __future__ import annotations

import logging

from django.db import transaction
from django.utils.translation import gettext as _

from deployments.actors import OPERATE, Actor
from deployments.audit import record_audit
from deployments.exceptions import NotFoundError, RuntimeUnavailableError
from deployments.models import Node
from deployments.redis import RedisError

logger = logging.getLogger(__name__)
EXPIRES_S = 60


def ask_for_examination(node: str, *, actor: Actor) -> None:
    """Have ``node`` examined; the report comes within a minute. It starts a container where there are GPUs.

    Raises NotAllowedError, NotFoundError, RuntimeUnavailableError when no message can be sent.
    """
    from kombu.exceptions import KombuError

    from dashboard.celery import app

    actor.require(OPERATE)
    if not Node.objects.filter(name=node).exists():
        raise NotFoundError(_("There is no node “%(name)s”.") % {"name": node})
    with transaction.atomic():
        record_audit(actor, "node.examine", node)
    try:
        app.send_task("dashboard.tasks.examine_node", queue=f"work.{node}", expires=EXPIRES_S, retry=False)
    except (KombuError, RedisError, OSError) as error:
        logger.warning("Node %s was not asked for an examination: %s", node, error)
        raise RuntimeUnavailableError(
            _("The worker of “%(node)s” cannot be asked: Redis does not answer. Run manage.py doctor on that host.")
            % {"node": node}
        ) from error
