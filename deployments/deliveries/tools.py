"""Which engine fits a requirement: each judged by the table of support and the memory estimate. Pure.

A finding is yes, a warning, not known, or no; one no excludes an engine. The rest are ranked by what is not known,
then by warnings, then by the table's order: a tool of which less is known may work, and costs a trial to find out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from deployments.memory_estimate import MemoryEstimate
from deployments.models import Delivery

from .quantisations import PLAIN, quantisation_of
from .requirement import AskedProtocol, Requirement, Task, Weights
from .steps import State, StepState
from .support import About, EngineSupport, SupportSource
from .support_words import NOTES
from .tool_memory import Fit, memory_fit

#: Weights above this many GB make an image that no registry and no disk likes.
MOST_BAKED_GB = 100
WITHOUT_GPU = "without a GPU"
BESIDE_GPU = "beside the GPU"


class Verdict(StrEnum):
    """How a finding speaks for or against an engine."""

    YES = "yes"
    WARNING = "warning"
    UNKNOWN = "unknown"
    NO = "no"


_ICONS = {
    Verdict.YES: "circle-check",
    Verdict.WARNING: "alert-triangle",
    Verdict.UNKNOWN: "circle-dashed",
    Verdict.NO: "circle-x",
}
_TONES = {Verdict.YES: "good", Verdict.WARNING: "warn", Verdict.UNKNOWN: "idle", Verdict.NO: "bad"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One reason for or against an engine, and where it was read; None for what Berth reckons itself."""

    verdict: Verdict
    sentence: str
    source: SupportSource | None = None

    @property
    def word(self) -> str:
        """The verdict in a word."""
        return {
            Verdict.YES: _("yes"),
            Verdict.WARNING: _("mind"),
            Verdict.UNKNOWN: _("not known"),
            Verdict.NO: _("no"),
        }[self.verdict]

    @property
    def icon(self) -> str:
        """The name of the verdict's icon."""
        return _ICONS[self.verdict]

    @property
    def tone(self) -> str:
        """The verdict's colour."""
        return _TONES[self.verdict]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An engine with every finding. ``estimate`` has the arithmetic; None without GPUs or where nothing is known."""

    engine: str
    findings: Sequence[Finding]
    estimate: MemoryEstimate | None = None

    def count(self, verdict: Verdict) -> int:
        """How many findings have this verdict."""
        return sum(finding.verdict == verdict for finding in self.findings)

    @property
    def is_excluded(self) -> bool:
        """Whether something that was asked for is not possible with it."""
        return self.count(Verdict.NO) > 0

    @property
    def objections(self) -> list[Finding]:
        """Why it is excluded."""
        return [finding for finding in self.findings if finding.verdict == Verdict.NO]

    @property
    def unknowns(self) -> int:
        """How much of what was asked for the table says nothing about."""
        return self.count(Verdict.UNKNOWN)


def recommend(requirement: Requirement, support: Sequence[EngineSupport]) -> list[Candidate]:
    """Every engine of ``support``, the best first and the excluded last."""
    judged = [judge(requirement, engine) for engine in support]
    # Sorting is stable: what is equal stays in the table's order.
    return sorted(judged, key=lambda one: (one.is_excluded, one.count(Verdict.NO), one.unknowns, _warnings(one)))


def judge(requirement: Requirement, engine: EngineSupport) -> Candidate:
    """One engine with its findings."""
    fit = memory_fit(requirement, engine.name)
    findings = [
        *_supported(requirement, engine),
        *_hardware(requirement, engine, fit),
        *_weights(requirement, fit),
        *_licence(engine),
    ]
    return Candidate(engine=engine.name, findings=findings, estimate=fit.estimate if fit else None)


def _warnings(candidate: Candidate) -> int:
    return candidate.count(Verdict.WARNING)


def _supported(requirement: Requirement, engine: EngineSupport) -> Iterator[Finding]:
    method = quantisation_of(requirement.quantisation).method
    asked = (
        (About.TASK, requirement.task, _("Task: %(value)s."), _label(Task, requirement.task)),
        (
            About.PROTOCOL,
            requirement.protocol,
            _("Protocol: %(value)s."),
            _label(AskedProtocol, requirement.protocol),
        ),
        (About.ARCHITECTURE, requirement.architecture, _("Architecture: %(value)s."), requirement.architecture),
        (
            About.QUANTISATION,
            method,
            _("Quantisation: %(value)s."),
            _("16 bits") if method == PLAIN else method.upper(),
        ),
    )
    for about, value, sentence, shown in asked:
        if not value:
            yield Finding(
                verdict=Verdict.UNKNOWN, sentence=_("Architecture: the requirement does not name it, so try it first.")
            )
            continue
        yield from _looked_up(engine, about, value, sentence % {"value": shown})


def _looked_up(engine: EngineSupport, about: About, value: str, sentence: str) -> Iterator[Finding]:
    answer = engine.answer(about, value)
    source = answer.row.source if answer.row else None
    if answer.supported is None:
        silent = _("What was read does not say.")
        yield Finding(verdict=Verdict.UNKNOWN, sentence=f"{sentence} {silent}")
        return
    if not answer.supported:
        refused = _("It does not support this.")
        yield Finding(verdict=Verdict.NO, sentence=f"{sentence} {refused}", source=source)
        return
    yield Finding(verdict=Verdict.YES, sentence=sentence, source=source)
    if answer.row and answer.row.note:
        yield Finding(verdict=Verdict.WARNING, sentence=str(NOTES[answer.row.note]), source=source)


def _hardware(requirement: Requirement, engine: EngineSupport, fit: Fit | None) -> Iterator[Finding]:
    if requirement.hardware.count == 0:
        answer = engine.answer(About.PROCESSOR, WITHOUT_GPU)
        source = answer.row.source if answer.row else None
        if answer.supported:
            yield Finding(verdict=Verdict.YES, sentence=_("Hardware: it runs without a GPU."), source=source)
        else:
            yield Finding(
                verdict=Verdict.UNKNOWN,
                sentence=_("Hardware: whether its image runs without a GPU is not known."),
            )
    elif fit is None:
        yield Finding(
            verdict=Verdict.UNKNOWN,
            sentence=_("Memory: not known, since the parameters or the bits of the quantisation are not known."),
        )
    else:
        yield from _memory(requirement, engine, fit)


def _memory(requirement: Requirement, engine: EngineSupport, fit: Fit) -> Iterator[Finding]:
    count = requirement.hardware.count
    told = {
        "needed": f"{fit.estimate.per_gpu_gib:.1f}",
        "count": count,
        "usable": f"{fit.usable_gib:.1f}",
        "memory": f"{fit.memory_gib:g}",
    }
    if fit.fits:
        sentence = ngettext(
            "Memory: %(needed)s GiB on %(count)d GPU, of %(usable)s GiB that it may use of %(memory)s.",
            "Memory: %(needed)s GiB on each of %(count)d GPUs, of %(usable)s GiB that it may use of %(memory)s.",
            count,
        )
        yield Finding(verdict=Verdict.YES, sentence=sentence % told)
        if not fit.estimate.complete and requirement.task in {Task.TEXT, Task.MULTIMODAL}:
            yield Finding(verdict=Verdict.UNKNOWN, sentence=_("Memory: the KV cache is not in this sum."))
        return
    sentence = ngettext(
        "Memory: it needs %(needed)s GiB on %(count)d GPU and may use %(usable)s GiB of %(memory)s there.",
        "Memory: it needs %(needed)s GiB on each of %(count)d GPUs and may use %(usable)s GiB of %(memory)s there.",
        count,
    )
    answer = engine.answer(About.PROCESSOR, BESIDE_GPU)
    if answer.supported and answer.row:
        slower = _("Layers that do not fit run on the processor, far slower.")
        yield Finding(
            verdict=Verdict.WARNING,
            sentence=f"{sentence % told} {slower}",
            source=answer.row.source,
        )
    else:
        yield Finding(verdict=Verdict.NO, sentence=sentence % told)


def _weights(requirement: Requirement, fit: Fit | None) -> Iterator[Finding]:
    if fit is not None and fit.weights_gb > MOST_BAKED_GB and requirement.weights == Weights.BAKED:
        message = _("Weights of %(size).0f GB make an image that is hard to push and to pull: mount them.")
        yield Finding(verdict=Verdict.WARNING, sentence=message % {"size": fit.weights_gb})


def _licence(engine: EngineSupport) -> Iterator[Finding]:
    for row in engine.about(About.LICENCE):
        name = ", ".join(row.yes)
        yield Finding(
            verdict=Verdict.YES, sentence=_("Licence of the engine: %(name)s.") % {"name": name}, source=row.source
        )
        if row.note:
            yield Finding(verdict=Verdict.WARNING, sentence=str(NOTES[row.note]), source=row.source)


def _label(kind: type[Task] | type[AskedProtocol], value: str) -> str:
    return str(dict(kind.choices).get(value, value))


def step_state(delivery: Delivery) -> StepState:
    """Done once somebody chose; out of date when the requirement was changed since."""
    if not delivery.tool:
        return StepState(sentence=_("Choose the tool that serves the model."))
    chosen = StepState(state=State.DONE, who=delivery.tool_by, when=delivery.tool_at)
    told = {"tool": delivery.tool, "reason": delivery.tool_reason}
    if delivery.requirement_at and delivery.tool_at and delivery.requirement_at > delivery.tool_at:
        message = _("%(tool)s was chosen before the requirement was changed. Choose again.")
        return replace(chosen, state=State.STALE, sentence=message % told)
    sentence = _("%(tool)s: %(reason)s") if delivery.tool_reason else _("%(tool)s was chosen.")
    return replace(chosen, sentence=sentence % told)
