"""Starts what requests at the gateway wait for."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from django.db.models.functions import Now
from django.utils.translation import gettext as _

from deployments.actors import IDLE, Actor
from deployments.exceptions import BerthError, ConflictError, NotAllowedError
from deployments.lifecycle.phases import ENDED, Desired, Phase
from deployments.models import Deployment
from deployments.redis import RedisError, client
from deployments.redis_keys import DEMAND
from deployments.selectors import find_config
from deployments.start_states import KEPT_OFF_S, LIVES_S

from .lifecycle import StartResult, start_deployment

logger = logging.getLogger(__name__)
#: A gateway that still waits asks again sooner than this, in seconds; nobody waits for what is older.
STALE_S: Final = 15
#: A config whose last run failed is not started again by requests for so long, by the database's clock.
COOLS_OFF: Final = timedelta(seconds=LIVES_S)
#: Nor one that a person stopped: see there.
KEPT_OFF: Final = timedelta(seconds=KEPT_OFF_S)
_AT_ONCE: Final = 200


def start_on_demand(config_name: str) -> StartResult:
    """Start a config for requests that wait for it; what is on its way already is that start. Safe to repeat.

    Raises NotFoundError, NotAllowedError for a config that does not start on request, or ConflictError while its last
    run is stopping, has failed less than :data:`COOLS_OFF` ago, or was stopped by a person less than :data:`KEPT_OFF`
    ago.
    """
    config = find_config(config_name)
    if not config.start_on_request:
        raise NotAllowedError(_("“%(name)s” does not start on request.") % {"name": config.name})
    runs = Deployment.objects.filter(config=config)
    live = runs.filter(desired=Desired.RUNNING).exclude(phase__in=ENDED).order_by("pk").first()
    if live is not None:
        return StartResult(deployment=live, created=False)
    last = runs.order_by("-pk")[:1]
    if runs.filter(pk__in=last, phase=Phase.FAILED, ended_at__gt=Now() - COOLS_OFF).exists():
        raise ConflictError(_("The last run of “%(name)s” has just failed.") % {"name": config.name})
    stopped = runs.filter(pk__in=last, phase=Phase.STOPPED, ended_at__gt=Now() - KEPT_OFF)
    person = stopped.exclude(stopped_by__in=("", IDLE)).values_list("stopped_by", flat=True).first()
    if person is not None:
        raise ConflictError(
            _("“%(name)s” was stopped by %(person)s a moment ago.") % {"name": config.name, "person": person}
        )
    return start_deployment(config.name, actor=Actor.on_demand(), reason="request_asked")


def answer_demand() -> None:
    """Start every config in the demand stream, once however many asked. Safe to repeat and to run twice at once.

    What cannot be started now is dropped: whoever still waits asks again. Without Redis nothing happens.
    """
    try:
        entries = client().xrange(DEMAND, count=_AT_ONCE)
        oldest_ms = (client().time()[0] - STALE_S) * 1000 if entries else 0
        wanted = [fields.get("config", "") for name, fields in entries if int(name.partition("-")[0]) >= oldest_ms]
        for config in dict.fromkeys(wanted):
            _start(config)
        if entries:
            # Killed before this line: the next one finds them started already, or stale.
            client().xdel(DEMAND, *(name for name, _fields in entries))
    except RedisError as error:
        logger.warning("What requests wait for is not known: %s", error)


def _start(config: str) -> None:
    try:
        result = start_on_demand(config)
    except BerthError as error:
        logger.info("Requests wait for %s, which is not started: %s", config, error)
        return
    if result.created:
        logger.info("Deployment %s of %s was started for requests that wait for it", result.deployment.pk, config)
