"""Load tests in the words of their pages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from .loadtests.asking import KINDS
from .loadtests.charting import Style, style_of
from .loadtests.figures import Level, error_share
from .loadtests.presenting import NONE, LevelRow, VerdictRow, level_rows, verdict_rows
from .loadtests.settings import LoadSettings, in_words
from .loadtests.smoke import Smoke
from .models import LoadTest


@dataclass(frozen=True, kw_only=True)
class StateLook:
    """A chip as :class:`deployments.presentation.states.StateLook` is: word, icon and tone."""

    key: str
    word: str
    icon: str
    tone: str


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A run in a list. ``best`` are its highest throughput and its lowest level's time to the first token."""

    test: LoadTest
    look: StateLook
    style: Style
    is_chosen: bool
    asked: str
    throughput: str
    first_token: str
    errors: str
    has_errors: bool


@dataclass(frozen=True, kw_only=True)
class RunDetail:
    """A run by itself."""

    look: StateLook
    levels: Sequence[LevelRow]
    verdicts: Sequence[VerdictRow]
    smoke: Sequence[tuple[str, Smoke | None]]
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]


_LOOKS = {
    LoadTest.State.PENDING: ("clock", "idle"),
    LoadTest.State.RUNNING: ("loader-2", "busy"),
    LoadTest.State.DONE: ("circle-check", "good"),
    LoadTest.State.FAILED: ("circle-x", "bad"),
    LoadTest.State.CANCELLED: ("circle-minus", "idle"),
}


def run_rows(tests: Iterable[LoadTest], *, chosen: Collection[int]) -> list[RunRow]:
    """As a list shows them."""
    return [_row(test, is_chosen=test.pk in chosen) for test in tests]


def run_detail(test: LoadTest) -> RunDetail:
    """As its own page shows it."""
    levels = level_rows(test.measured)
    return RunDetail(
        look=_look(test),
        levels=levels,
        verdicts=verdict_rows(test),
        smoke=[(str(each["name"]), Smoke(**each) if "ms" in each else None) for each in test.smoke],
        facts=_facts(test),
        notes=_notes(test),
    )


def _row(test: LoadTest, *, is_chosen: bool) -> RunRow:
    levels = test.measured
    failed = sum(level["failed"] for level in levels)
    return RunRow(
        test=test,
        look=_look(test),
        style=style_of(test.pk),
        is_chosen=is_chosen,
        asked=_asked(test.asked),
        throughput=_throughput(levels),
        first_token=_first_token(levels),
        errors=f"{100 * max(map(error_share, levels)):.1f} %" if levels else NONE,
        has_errors=failed > 0,
    )


def _look(test: LoadTest) -> StateLook:
    icon, tone = _LOOKS[LoadTest.State(test.state)]
    return StateLook(
        key="loading" if tone == "busy" else test.state, word=str(test.get_state_display()), icon=icon, tone=tone
    )


def _asked(settings: LoadSettings) -> str:
    told = {
        "kind": KINDS[settings.kind].title,
        "prompt": settings.prompt_tokens,
        "output": settings.output_tokens,
        "users": settings.concurrency[-1],
    }
    if not KINDS[settings.kind].makes_tokens:
        return _("%(kind)s, up to %(users)s users") % told
    return _("%(kind)s, %(prompt)s + %(output)s tokens, up to %(users)s users") % told


def _throughput(levels: Sequence[Level]) -> str:
    tokens = [value for level in levels if (value := level.get("tokens_per_s")) is not None]
    if tokens:
        return _("%(rate)s tok/s") % {"rate": f"{max(tokens):,.0f}"}
    requests = [level["requests_per_s"] for level in levels]
    return _("%(rate)s req/s") % {"rate": f"{max(requests):,.2f}"} if requests else NONE


def _first_token(levels: Sequence[Level]) -> str:
    """At the lowest level and at the highest one."""
    firsts = [spread["p95"] for level in levels if (spread := level.get("first_token_ms")) is not None]
    if not firsts:
        return NONE
    ends = [firsts[0]] if len(firsts) == 1 else [firsts[0], firsts[-1]]
    return " – ".join(f"{first:,.0f}" for first in ends) + " ms"


def _facts(test: LoadTest) -> list[tuple[str, str]]:
    asked = test.asked
    kind = KINDS[asked.kind]
    streamed = _("as a stream") if asked.stream and kind.streams else _("whole")
    facts = [
        (_("Model"), test.model),
        (_("Asked"), f"{kind.title}, {streamed}"),
        (_("Where"), _("the server itself") if asked.direct else _("through the gateway")),
        (_("Users at once"), in_words(asked.concurrency)),
        (_("Requests a level"), f"{asked.requests:,}"),
    ]
    if kind.makes_tokens:
        facts.append((_("Tokens"), f"{asked.prompt_tokens:,} + {asked.output_tokens:,}"))
    return [*facts, (_("Node"), test.node.name)]


def _notes(test: LoadTest) -> list[str]:
    notes = []
    levels = test.measured
    if levels and all(level.get("gpu", {}).get("reason") == "no_gpus" for level in levels if level["ended"]):
        notes.append(_("It runs without GPUs, so there are no figures of GPU memory and power."))
    asked = [level["concurrency"] for level in levels]
    left = [users for users in test.asked.concurrency if users not in asked]
    if not test.is_live and levels and left:
        notes.append(_("Not measured any more: %(users)s users.") % {"users": in_words(left)})
    return notes
