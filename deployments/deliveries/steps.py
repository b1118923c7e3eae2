"""The steps of a delivery in their order, and how each one stands.

A step's state is never stored. The module that a step names has a function ``step_state(delivery) -> StepState`` that
looks at the rows and the real objects behind them. It is imported by name, since two steps live in ``playground``,
which this app may not import; a step whose module or page does not exist shows as open and without a link.

A module names the relations of :class:`Delivery` that its ``step_state`` reads in ``PREFETCH``, without the columns
that it does not read: logs and layers are large, and a list asks for many deliveries at once. Pages of one delivery
fetch the same, so that no step repeats the queries of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar, cast

from django.db.models import Model, Prefetch, QuerySet
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from deployments.models import Delivery

M = TypeVar("M", bound=Model)


class State(StrEnum):
    """How a step stands. STALE: it was done, and what it was done for has changed since."""

    OPEN = "open"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STALE = "stale"


_ICONS = {
    State.OPEN: "circle-dashed",
    State.RUNNING: "loader-2",
    State.DONE: "circle-check",
    State.FAILED: "circle-x",
    State.STALE: "refresh",
}
_TONES = {State.OPEN: "idle", State.RUNNING: "busy", State.DONE: "good", State.FAILED: "bad", State.STALE: "warn"}


@dataclass(frozen=True, kw_only=True)
class StepState:
    """How a step stands, in a sentence, and who brought it there and when."""

    state: State = State.OPEN
    sentence: str = ""
    who: str = ""
    when: datetime | None = None

    @property
    def word(self) -> str:
        """The state in a word."""
        return {
            State.OPEN: pgettext("state of a step", "open"),
            State.RUNNING: _("running"),
            State.DONE: _("done"),
            State.FAILED: _("failed"),
            State.STALE: _("out of date"),
        }[self.state]

    @property
    def icon(self) -> str:
        """The name of the state's icon."""
        return _ICONS[self.state]

    @property
    def tone(self) -> str:
        """The state's colour: idle, busy, good, bad or warn."""
        return _TONES[self.state]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step: ``module`` has its ``step_state``, ``url_name`` its page, which takes ``delivery_id``."""

    name: str
    title: Promise
    url_name: str
    module: str


STEPS: Sequence[Step] = (
    Step(
        name="requirement",
        title=gettext_lazy("Requirement"),
        url_name="deployments:delivery_requirement",
        module="deployments.deliveries.requirement",
    ),
    Step(
        name="tool",
        title=gettext_lazy("Tool"),
        url_name="deployments:delivery_tool",
        module="deployments.deliveries.tools",
    ),
    Step(
        name="trial",
        title=gettext_lazy("Trial"),
        url_name="deployments:delivery_trial",
        module="deployments.deliveries.trials",
    ),
    Step(
        name="dockerfile",
        title=gettext_lazy("Dockerfile"),
        url_name="deployments:delivery_dockerfile",
        module="deployments.deliveries.dockerfiles",
    ),
    Step(
        name="build",
        title=gettext_lazy("Build"),
        url_name="deployments:delivery_build",
        module="deployments.deliveries.builds",
    ),
    Step(
        name="test",
        title=gettext_lazy("Test"),
        url_name="playground:delivery_test",
        module="playground.deliveries.testing",
    ),
    Step(
        name="push",
        title=gettext_lazy("Push"),
        url_name="deployments:delivery_push",
        module="deployments.deliveries.pushes",
    ),
    Step(
        name="report",
        title=gettext_lazy("Report"),
        url_name="playground:delivery_report",
        module="playground.deliveries.reporting",
    ),
)


@dataclass(frozen=True, kw_only=True)
class ShownStep:
    """A step of one delivery as pages show it. ``url`` is empty where it has no page."""

    name: str
    title: str
    url: str
    state: StepState


def step_states(delivery: Delivery) -> list[ShownStep]:
    """Every step of ``delivery`` in order, as the real objects stand now: one query, and one for each relation."""
    return shown_steps(looked_at().get(pk=delivery.pk))


def looked_at() -> QuerySet[Delivery]:
    """Deliveries with everything that :func:`shown_steps` looks at."""
    return Delivery.objects.select_related("config").prefetch_related(*prefetched_relations())


def shown_steps(delivery: Delivery) -> list[ShownStep]:
    """Every step of one of :func:`looked_at`, without a query."""
    return [
        ShownStep(
            name=step.name,
            title=str(step.title),
            url=_url_of(step, delivery),
            state=_state_of(step.module)(delivery),
        )
        for step in STEPS
    ]


def step_context(delivery: Delivery, current: str) -> dict[str, Any]:
    """What ``deployments/delivery_step.html`` needs; ``current`` is the name of the step whose page it is."""
    return {"delivery": delivery, "steps": step_states(delivery), "current": current}


def next_step(steps: Sequence[ShownStep]) -> ShownStep:
    """Where one goes on: the first step that is not done and has a page, else the last page that there is."""
    pages = [step for step in steps if step.url] or steps
    return next((step for step in pages if step.state.state != State.DONE), pages[-1])


def prefetched_relations() -> list[Prefetch[Any]]:
    """The relations of a delivery that its steps look at, each once."""
    named = {each.prefetch_to: each for step in STEPS for each in getattr(_module(step.module), "PREFETCH", ())}
    return [*named.values()]


def rows_of(delivery: Delivery, relation: str, rows: QuerySet[M]) -> list[M]:
    """What ``delivery`` has of ``relation``: as it was prefetched, else ``rows`` of this delivery."""
    fetched = getattr(delivery, "_prefetched_objects_cache", {})
    return list(fetched[relation] if relation in fetched else rows.filter(delivery=delivery))


def _state_of(module_name: str) -> Callable[[Delivery], StepState]:
    module = _module(module_name)
    if module is None:
        return lambda delivery: StepState()
    return cast("Callable[[Delivery], StepState]", module.step_state)


def _module(name: str) -> ModuleType | None:
    """The module, or None when it does not exist; one that does and fails to import is an error."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        return None


def _url_of(step: Step, delivery: Delivery) -> str:
    try:
        return reverse(step.url_name, kwargs={"delivery_id": delivery.pk})
    except NoReverseMatch:
        return ""
