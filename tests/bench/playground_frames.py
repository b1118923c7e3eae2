"""What frames cost, from a trace of Chromium (the categories of DevTools' own timeline)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

#: Frames of a 60 Hz screen, in milliseconds.
FRAME_MS = 1000 / 60


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Of the page's main thread.

    ``cpu_ms``: the processor's time of all that it did between the beginnings of two frames that it drew, whatever it
    was: scripts, style, layout, painting, sockets. ``work_ms``: the same by the clock, the time in which others had the
    processor with it. ``apart_ms``: the time between those beginnings, which a screen's pace quantises.
    """

    cpu_ms: list[float]
    work_ms: list[float]
    apart_ms: list[float]

    @property
    def dropped_share(self) -> float:
        """Frames of a 60 Hz screen that came while the one before was still being made, of all of them."""
        missed = sum(
            max(0, round(apart / FRAME_MS) - 1)
            for apart, work in zip(self.apart_ms, self.work_ms, strict=True)
            if work > FRAME_MS
        )
        return missed / (missed + len(self.apart_ms))


def frames_in(events: list[dict[str, Any]]) -> Frames:
    """Frames of the main thread that drew most."""
    begun = [event for event in events if event["name"] == "BeginMainThreadFrame"]
    ((thread, _count),) = Counter(_thread(event) for event in begun).most_common(1)
    begins = sorted(event["ts"] for event in begun if _thread(event) == thread)
    tasks = sorted(
        (event["ts"], event["ts"] + event["dur"], event.get("tdur", event["dur"]))
        for event in events
        if event["name"] == "RunTask" and event.get("ph") == "X" and _thread(event) == thread
    )
    pairs = list(pairwise(begins))
    by_clock = [(begin, end, end - begin) for begin, end, _cpu in tasks]
    return Frames(
        cpu_ms=list(_work(pairs, tasks)),
        work_ms=list(_work(pairs, by_clock)),
        apart_ms=[(end - begin) / 1000 for begin, end in pairs],
    )


def _thread(event: dict[str, Any]) -> tuple[int, int]:
    return event["pid"], event["tid"]


def _work(pairs: list[tuple[int, int]], tasks: list[tuple[int, int, int]]) -> Iterable[float]:
    """Milliseconds of tasks within each pair of times in microseconds. Tasks of one thread do not overlap.

    A task that lies in two frames, as the one that begins a frame does, gives each its share.
    """
    at = 0
    for begin, end in pairs:
        while at < len(tasks) and tasks[at][1] <= begin:
            at += 1
        worked, place = 0.0, at
        while place < len(tasks) and tasks[place][0] < end:
            began, ended, cost = tasks[place]
            worked += cost * (min(end, ended) - max(begin, began)) / max(1, ended - began)
            place += 1
        yield worked / 1000
