"""What the charts draw: a range of one GPU as JSON, and small lines for many."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from django.utils.translation import gettext as _

from deployments.exceptions import InvalidInputError
from deployments.redis import client
from deployments.redis_keys import gpu_marks

from .blocks import STATISTICS, Columns, field_lines, gap_after, to_columns
from .buckets import FIELDS
from .marks import Mark, marks_of
from .streams import FINER, MINUTES, SECONDS, TAIL, TEN_MINUTES, TENS, Level, buckets_in, key_of, stretch, texts

#: What may be asked for: a resolution, and how many seconds back.
RANGES = {
    "15m": (SECONDS, SECONDS.kept_s),
    "6h": (TENS, TENS.kept_s),
    "24h": (MINUTES, 86_400),
    "7d": (TEN_MINUTES, TEN_MINUTES.kept_s),
    "7d-minutes": (MINUTES, MINUTES.kept_s),
}
#: What pages draw. The week by minutes is ten thousand columns: for programs.
CHARTED = tuple(name for name in RANGES if name != "7d-minutes")
SPARKLINE_S = 900
SPARKLINE_FIELD = "utilization_gpu_percent"
#: Clocks of two hosts differ.
AHEAD_S = 60.0


def series(uuid: str, *, node: str, range_name: str, now: float | None = None) -> dict[str, Any]:
    """What :func:`series_json` writes, as Python's values."""
    found: dict[str, Any] = json.loads(series_json(uuid, node=node, range_name=range_name, now=now))
    return found


def series_json(uuid: str, *, node: str, range_name: str, now: float | None = None) -> str:
    """A range of :data:`RANGES` up to now, as JSON; without samples its lists are empty.

    ``at`` are the times of the columns and ``samples`` how many each stands for; a gap is one column of 0 samples and
    nulls, however long it is. ``fields`` has for each of FIELDS ``mean``, ``min`` and ``max`` (for ``15m`` the mean
    alone), ``runs`` for each deployment its config and ``mean`` bytes. Raises InvalidInputError, RedisError.
    """
    level, length_s = RANGES.get(range_name, (None, 0))
    if level is None:
        raise InvalidInputError(_("The range is one of %(ranges)s.") % {"ranges": ", ".join(RANGES)})
    now = time.time() if now is None else now
    since, until = now - length_s, now + AHEAD_S
    levels = [level] if level is SECONDS else [level, *_finer(level)]
    # The coarse first: what is closed in between stands in both, and never in neither.
    pipeline = client().pipeline(transaction=False)
    for each in levels:
        # Twice as many as there should be: after the clock was set back some stand there again.
        most = 2 * (length_s // each.entry_s + 2) if each is level else TAIL[each]
        pipeline.xrevrange(key_of(node, uuid, each), count=most)
    pipeline.xrange(gpu_marks(node))
    *found, marked = pipeline.execute()
    packed = {each: texts(entries, newest_first=True) for each, entries in zip(levels, found, strict=True)}
    pieces = _with_gaps(stretch(packed, level, since=since, until=until))
    marks = marks_of(marked, uuid=uuid, since=since, until=until)
    return _json(pieces, marks, range_name=range_name, since=since, until=now)


def sparklines(uuids: Iterable[str], *, node: str, now: float | None = None) -> dict[str, list[float | None]]:
    """For each GPU the utilisation in the 90 stretches of 10 s up to now, None where it is not known.

    Raises RedisError.
    """
    names = list(uuids)
    now = time.time() if now is None else now
    last = int(now // TENS.step_s) * TENS.step_s
    grid = range(last - SPARKLINE_S + TENS.step_s, last + 1, TENS.step_s)
    pipeline = client().pipeline(transaction=False)
    for uuid in names:
        pipeline.xrevrange(key_of(node, uuid, TENS), count=SPARKLINE_S // TENS.entry_s + 2)
        pipeline.xrevrange(key_of(node, uuid, SECONDS), count=TAIL[SECONDS])
    found = [texts(entries, newest_first=True) for entries in pipeline.execute()]
    lines = {}
    for uuid, tens, seconds in zip(names, found[::2], found[1::2], strict=True):
        packed = {TENS: tens, SECONDS: seconds}
        buckets = buckets_in(packed, TENS, since=grid[0], until=now + AHEAD_S)
        known = {bucket.at: value.mean for bucket in buckets if (value := bucket.values.get(SPARKLINE_FIELD))}
        lines[uuid] = [known.get(at) for at in grid]
    return lines


def has_history(uuid: str, *, node: str) -> bool:
    """Whether a GPU of that name was measured on ``node`` within a week. Raises RedisError."""
    return bool(client().xrevrange(key_of(node, uuid, SECONDS), count=1))


def _finer(level: Level) -> list[Level]:
    finer = FINER[level]
    return [finer] if finer is SECONDS else [finer, *_finer(finer)]


def _with_gaps(pieces: Sequence[Columns]) -> list[Columns]:
    marked: list[Columns] = []
    for piece in pieces:
        if marked and not piece.follows(marked[-1]):
            marked.append(to_columns([gap_after(marked[-1].last, step_s=piece.step_s)], step_s=piece.step_s))
        marked.append(piece)
    return marked


def _json(pieces: Sequence[Columns], marks: Sequence[Mark], *, range_name: str, since: float, until: float) -> str:
    """Joins the text of the columns; to make numbers of a week and write them again takes several times as long."""
    level, _length_s = RANGES[range_name]
    told = {
        "range": range_name,
        "step_s": level.step_s,
        "from": round(since, 2),
        "to": round(until, 2),
        "markers": [asdict(mark) for mark in marks],
    }
    statistics = STATISTICS[:1] if level is SECONDS else STATISTICS
    lines = field_lines()
    fields = {
        name: _object({each: _column(piece.fields[lines[name, each]] for piece in pieces) for each in statistics})
        for name in FIELDS
    }
    configs = {pk: config for piece in pieces for pk, config in piece.configs.items()}
    runs = {
        str(pk): _object({"config": json.dumps(config), "mean": _column(_held(piece, pk) for piece in pieces)})
        for pk, config in configs.items()
    }
    return _object(
        {name: json.dumps(value) for name, value in told.items()}
        | {"at": _column(piece.at for piece in pieces), "samples": _column(piece.samples for piece in pieces)}
        | {"fields": _object(fields), "runs": _object(runs)}
    )


def _object(members: Mapping[str, str]) -> str:
    """A JSON object of members that are JSON already; the names are ours."""
    return "{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}"


def _column(lines: Iterable[str]) -> str:
    return f"[{','.join(lines)}]"


def _held(piece: Columns, pk: int) -> str:
    """What a run held; nothing where the processes are known and it is not among them."""
    if pk in piece.runs:
        return piece.runs[pk]
    return ",".join("null" if known == "0" else "0" for known in piece.known.split(","))
