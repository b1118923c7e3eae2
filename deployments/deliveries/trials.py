"""The trial runs of a delivery: each with its values, its outcome and its figures, and two of them compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.db.models import Prefetch
from django.utils.translation import gettext as _

from deployments.config_values import ConfigValues
from deployments.models import Attempt, ConfigRevision, Delivery, Deployment
from deployments.revisions import FieldChange, diff_values
from deployments.selectors_catalogue import PastRun, past_run

from .steps import State, StepState

#: See :mod:`deployments.deliveries.steps`.
PREFETCH = (
    Prefetch(
        "config__deployments",
        Deployment.objects.only("config", "phase", "started_by", "created_at", "ended_at"),
    ),
    Prefetch("config__deployments__attempts", Attempt.objects.only("deployment", "ready_at")),
)
#: Of one delivery; older ones stay in the list of deployments.
TRIALS_SHOWN = 50


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of the delivery's config. ``cause`` is the code of why its last attempt ended, if it failed."""

    run: PastRun
    values: ConfigValues

    @property
    def deployment(self) -> Deployment:
        """The run itself."""
        return self.run.deployment

    @property
    def is_good(self) -> bool:
        """Whether it ever answered."""
        return self.deployment.answered_at is not None

    @property
    def exit_code(self) -> int | None:
        """Of its last attempt."""
        attempts = list(self.deployment.attempts.all())
        return attempts[-1].exit_code if attempts else None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the second of two trials has otherwise, and what came of it."""

    first: Trial
    second: Trial
    changes: Sequence[FieldChange]

    @property
    def both(self) -> tuple[Trial, Trial]:
        """In their order."""
        return self.first, self.second


def trials(delivery: Delivery) -> list[Trial]:
    """The runs of the delivery's config, newest first: three queries."""
    if delivery.config_id is None:
        return []
    runs = Deployment.objects.filter(config=delivery.config_id).select_related("node")
    found = list(runs.prefetch_related(Prefetch("attempts", Attempt.objects.defer("log")))[:TRIALS_SHOWN])
    revisions = ConfigRevision.objects.filter(config=delivery.config_id, number__in={run.revision for run in found})
    values = {each.number: ConfigValues.from_json(each.values) for each in revisions}
    return [
        Trial(run=past_run(run), values=run_values(run, values[run.revision]))
        for run in found
        if run.revision in values
    ]


def run_values(run: Deployment, revision: ConfigValues) -> ConfigValues:
    """What ``run`` was started with: the values of its revision, and its own image, since tests bring theirs."""
    return replace(revision, image=run.serving_spec().image)


def compared(found: Sequence[Trial], first: int, second: int) -> Comparison | None:
    """The trials of these two deployments, the older one first; None unless both are among ``found``."""
    by_id = {trial.deployment.pk: trial for trial in found}
    older, newer = by_id.get(min(first, second)), by_id.get(max(first, second))
    if older is None or newer is None or older is newer:
        return None
    return Comparison(first=older, second=newer, changes=diff_values(older.values, newer.values))


def step_state(delivery: Delivery) -> StepState:
    """Done once a run answered; red when the config is gone or the newest run failed."""
    config = delivery.config
    if config is None:
        return StepState(sentence=_("There is no draft yet."))
    if config.archived_at is not None:
        said = _("Its config “%(name)s” was removed from the catalogue. Restore it there.")
        return StepState(state=State.FAILED, sentence=said % {"name": config.name}, when=config.archived_at)
    # As prefetched; the newest one first.
    runs = sorted(config.deployments.all(), key=lambda run: run.pk, reverse=True)
    if not runs:
        return StepState(sentence=_("The draft was not run yet."))
    newest = runs[0]
    number = {"number": newest.pk}
    if newest.is_live and newest.answered_at is None:
        said = _("Deployment %(number)d is on its way.")
        return StepState(state=State.RUNNING, sentence=said % number, who=newest.started_by, when=newest.created_at)
    good = next((run for run in runs if run.answered_at is not None), None)
    if good is None:
        said = _("Deployment %(number)d ended before it answered.")
        return StepState(state=State.FAILED, sentence=said % number, who=newest.started_by, when=newest.ended_at)
    said = _("Deployment %(number)d answered; its values can go into the catalogue.")
    if not config.is_draft:
        said = _("Deployment %(number)d answered, and the config is in the catalogue.")
    return StepState(state=State.DONE, sentence=said % {"number": good.pk}, who=good.started_by, when=good.answered_at)
