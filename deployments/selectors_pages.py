"""Reads for the pages of operation. Query counts are constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.core.paginator import Page, Paginator
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from .lifecycle.phases import ENDED, Phase
from .models import Attempt, AuditEntry, Config, Deployment, DeploymentEvent, Node
from .placement.fits import fits_of
from .placement.situation import Fleet as PlacementFleet
from .presentation.filters import CatalogueQuery, Facet, facets_of
from .presentation.states import ON_ITS_WAY, is_hindered, overlooked_since, silent_since
from .selectors import CatalogueRow, catalogue_rows, find_config, live_deployments

PAST_RUNS_A_PAGE = 50
AUDIT_ROWS_A_PAGE = 50
ATTENTION_WINDOW = timedelta(hours=24)
MOST_FAILURES_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class CataloguePage:
    """The rows that match, of ``total``, and the chips to narrow them."""

    rows: Sequence[CatalogueRow]
    total: int
    facets: Sequence[Facet]
    query: CatalogueQuery


def catalogue_page(query: CatalogueQuery) -> CataloguePage:
    """The catalogue as asked for: eleven queries, and the readings of the nodes once."""
    rows = catalogue_rows()
    fleet = PlacementFleet()
    shown = [_with_fits(row, fleet) for row in rows if query.matches(row)]
    return CataloguePage(rows=shown, total=len(rows), facets=facets_of(rows, query), query=query)


def catalogue_row(name: str) -> CatalogueRow:
    """The row of one config. Raises NotFoundError."""
    config = find_config(name)
    runs = Deployment.objects.filter(config=config).select_related("node")
    deployment = runs.filter(phase=Phase.READY).first() or runs.exclude(phase__in=ENDED).first() or runs.first()
    return _with_fits(CatalogueRow(config=config, deployment=deployment), PlacementFleet())


def _with_fits(row: CatalogueRow, fleet: PlacementFleet) -> CatalogueRow:
    return row if row.is_live else replace(row, fits=fits_of(row.config, fleet))


def past_deployments(page: str | None) -> Page[Deployment]:
    """One page of ended runs, newest first; a page that does not exist is the nearest that does."""
    ended = Deployment.objects.filter(phase__in=ENDED).select_related("config", "node").defer("spec")
    return Paginator(ended.order_by("-pk"), PAST_RUNS_A_PAGE).get_page(page)


@dataclass(frozen=True, kw_only=True)
class RunHistory:
    """Everything that was recorded of one run."""

    events: Sequence[DeploymentEvent]
    attempts: Sequence[Attempt]

    @property
    def last_attempt(self) -> int:
        """The number of the newest attempt that has a row, else 1."""
        return self.attempts[-1].number if self.attempts else 1


def run_history(deployment: Deployment) -> RunHistory:
    """Events and attempts of one run, oldest first, without the logs: two queries."""
    return RunHistory(events=list(deployment.events.all()), attempts=list(deployment.attempts.defer("log")))


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Something that a person should look at. ``kind`` is failed, unhealthy, hindered, overlooked or silent."""

    kind: str
    since: datetime
    deployment: Deployment | None = None
    node: Node | None = None


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The overview: what there is, what needs attention, what runs."""

    nodes: Sequence[Node]
    silent_nodes: int
    ready: int
    on_their_way: int
    configs: int
    attention: Sequence[Attention]
    running: Sequence[Deployment]


def fleet() -> Fleet:
    """The state of everything now: four queries."""
    now = timezone.now()
    nodes = list(Node.objects.all())
    running = list(live_deployments())
    return Fleet(
        nodes=nodes,
        silent_nodes=sum(silent_since(node, now) is not None for node in nodes),
        ready=sum(item.phase == Phase.READY for item in running),
        on_their_way=sum(item.phase in ON_ITS_WAY for item in running),
        configs=Config.objects.filter(archived_at=None, is_draft=False).count(),
        attention=[*_silent(nodes, now), *_troubled(running, now), *_failed(now)],
        running=running,
    )


def _silent(nodes: Sequence[Node], now: datetime) -> list[Attention]:
    found = ((node, silent_since(node, now)) for node in nodes)
    return [Attention(kind="silent", since=since, node=node) for node, since in found if since is not None]


def _troubled(running: Sequence[Deployment], now: datetime) -> list[Attention]:
    items = []
    for item in running:
        overlooked = overlooked_since(item, now)
        if overlooked is not None:
            items.append(Attention(kind="overlooked", since=overlooked, deployment=item))
        elif item.phase in {Phase.UNHEALTHY, Phase.BACKOFF}:
            items.append(Attention(kind="unhealthy", since=item.phase_since, deployment=item))
        elif is_hindered(item):
            items.append(Attention(kind="hindered", since=item.phase_since, deployment=item))
    return items


def _failed(now: datetime) -> list[Attention]:
    """Each config's newest run, if it failed lately: whoever started it again has seen the failure."""
    newer = Deployment.objects.filter(config=OuterRef("config"), pk__gt=OuterRef("pk"))
    lately = Deployment.objects.filter(~Exists(newer), phase=Phase.FAILED, ended_at__gte=now - ATTENTION_WINDOW)
    shown = lately.select_related("config__model", "node").order_by("-ended_at")[:MOST_FAILURES_SHOWN]
    return [Attention(kind="failed", since=item.ended_at or item.phase_since, deployment=item) for item in shown]


@dataclass(frozen=True, kw_only=True)
class AuditQuery:
    """What the reader of the activity page asked to see; empty means all."""

    actor: str = ""
    action: str = ""
    target: str = ""


def audit_rows(query: AuditQuery, page: str | None) -> Page[AuditEntry]:
    """One page of audit rows, newest first. Actor and action match exactly, the target anywhere."""
    wanted = Q()
    if query.actor:
        wanted &= Q(actor=query.actor)
    if query.action:
        wanted &= Q(action=query.action)
    if query.target:
        wanted &= Q(target__icontains=query.target)
    return Paginator(AuditEntry.objects.filter(wanted), AUDIT_ROWS_A_PAGE).get_page(page)


def audit_actors() -> QuerySet[AuditEntry, str]:
    """The names that did anything, for the filter."""
    return AuditEntry.objects.order_by("actor").values_list("actor", flat=True).distinct()


def audit_actions() -> QuerySet[AuditEntry, str]:
    """The actions that happened, for the filter."""
    return AuditEntry.objects.order_by("action").values_list("action", flat=True).distinct()
