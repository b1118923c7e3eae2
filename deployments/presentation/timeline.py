"""The way from queued to ready, with how long each step took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import zip_longest

from deployments.lifecycle.phases import ENDED, Phase
from deployments.models import DeploymentEvent

from .states import StateLook, look_of

WAY = (Phase.QUEUED, Phase.PREPARING, Phase.STARTING, Phase.LOADING, Phase.READY)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the way. ``state`` is done, now, broken (it ended here) or ahead.

    ``took`` is how long it lasted, for steps that were left; ``since`` when it began, for the current one.
    """

    look: StateLook
    state: str
    took: timedelta | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class _Entry:
    """``left_at`` is when the next phase began; None for the last one."""

    phase: Phase
    at: datetime
    left_at: datetime | None = None


def way_of(events: Sequence[DeploymentEvent]) -> list[Step]:
    """The steps of the latest try. ``events`` are all of one deployment's, oldest first."""
    entries = _latest_try(_entries(events))
    return [_step(phase, entries) for phase in WAY]


def time_to_ready(way: Sequence[Step], *, attempt: int) -> timedelta | None:
    """How long the latest attempt took to become ready, the first one with its wait in the queue; None before."""
    queue, *before, ready = way
    if ready.state == "ahead":
        return None
    counted = [queue, *before] if attempt == 1 else before
    return sum((step.took for step in counted if step.took is not None), timedelta())


def _entries(events: Sequence[DeploymentEvent]) -> list[_Entry]:
    """Changes of phase only: an act of a person is an event too, but repeats the phase."""
    entries: list[_Entry] = []
    for event in events:
        if not entries or entries[-1].phase != event.phase:
            entries.append(_Entry(Phase(event.phase), event.at))
    left = [entry.at for entry in entries[1:]]
    return [replace(entry, left_at=at) for entry, at in zip_longest(entries, left)]


def _latest_try(entries: list[_Entry]) -> list[_Entry]:
    """From the last wait in the queue on, without earlier attempts that backed off."""
    queued = [index for index, entry in enumerate(entries) if entry.phase == Phase.QUEUED]
    first = queued[-1] if queued else 0
    tail = entries[first:]
    again = [index for index, entry in enumerate(tail) if entry.phase == Phase.PREPARING]
    return tail if len(again) < 2 else [*tail[: again[0]], *tail[again[-1] :]]


def _step(phase: Phase, entries: list[_Entry]) -> Step:
    look = look_of(phase)
    index = next((at for at, entry in enumerate(entries) if entry.phase == phase), None)
    if index is None:
        return Step(look=look, state="ahead")
    entry, after = entries[index], entries[index + 1 :]
    if not after:
        return Step(look=look, state="now", since=entry.at)
    if phase == Phase.READY:
        return _after_ready(look, entry, after)
    broken = not any(later.phase in WAY for later in after)
    return Step(look=look, state="broken" if broken else "done", took=_took(entry))


def _took(entry: _Entry) -> timedelta | None:
    return None if entry.left_at is None else max(entry.left_at - entry.at, timedelta())


def _after_ready(look: StateLook, entry: _Entry, after: list[_Entry]) -> Step:
    """Ready lasts through unhealthy spells; it is over when the run stops or backs off."""
    over = next((e for e in after if e.phase in ENDED or e.phase in {Phase.STOPPING, Phase.BACKOFF}), None)
    if over is None:
        return Step(look=look, state="now", since=entry.at)
    return Step(look=look, state="done", took=over.at - entry.at)
