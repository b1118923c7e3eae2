"""Bringing the model into a server that is up without it (Ollama, LocalAI): work of hours, beside the loop.

The row is a :class:`~deployments.models.Fetch` of the pseudo runtime ``warm``, named after the run: claimed, renewed,
cancelled and taken over after a worker's death like every other fetch, so that Stop never waits behind it.
"""

from __future__ import annotations

from django.db.models import QuerySet
from django.db.models.functions import Now

from deployments.deployment_keys import deployment_key
from deployments.engines import engine_named
from deployments.exceptions import FetchCancelledError
from deployments.fetching import Watch, carry_out
from deployments.hints import hint_warm
from deployments.models import Deployment, Fetch

from .phases import Desired, Phase

WARM = "warm"


def request_warming(deployment: Deployment) -> None:
    """See that the model is being brought into the run's server. Repeatable; forgets earlier runs' rows."""
    if deployment.node is None:
        raise ValueError("a server is on a node, and this deployment has none yet")
    row, made = Fetch.objects.get_or_create(node=deployment.node, runtime=WARM, image=deployment.run_name)
    if made:
        earlier, _dash, _attempt = deployment.run_name.rpartition("-")
        Fetch.objects.filter(runtime=WARM, image__startswith=f"{earlier}-").exclude(pk=row.pk).delete()
    hint_warm(row.pk, node=deployment.node.name)


def warming_of(deployment: Deployment) -> Fetch | None:
    """The row of the current run, once it was asked for."""
    return Fetch.objects.filter(node=deployment.node_id, runtime=WARM, image=deployment.run_name).first()


def is_at_work(row: Fetch) -> bool:
    """Whether a worker holds the row, by the database's clock."""
    return Fetch.objects.filter(pk=row.pk, claim_expires_at__gt=Now()).exists()


def run_warming(fetch_id: int) -> None:
    """Do the work of a row, unless somebody does so already. See :func:`deployments.fetching.carry_out`."""
    carry_out(fetch_id, _warm, waiting=_waiting)


def _warm(row: Fetch, watch: Watch) -> None:
    deployment = _waiting(row).first()
    if deployment is None:
        raise FetchCancelledError("The run is not waited for any more.")
    spec = deployment.serving_spec()
    engine = engine_named(spec.engine)
    key = deployment_key(deployment.pk) if engine.key_variable else ""
    engine.prepare(deployment.endpoint, spec, report=watch.report, cancelled=watch.cancelled, key=key)


def _waiting(row: Fetch) -> QuerySet[Deployment]:
    """The deployment whose run has the row's name, while it loads and is wanted; nothing once it is another run."""
    deployment_id, _dash, attempt = row.image.rpartition("-")
    return Deployment.objects.filter(
        pk=int(deployment_id.rpartition("-")[2]),
        attempt=int(attempt),
        node=row.node_id,
        phase=Phase.LOADING,
        desired=Desired.RUNNING,
        abort_reason="",
    )
