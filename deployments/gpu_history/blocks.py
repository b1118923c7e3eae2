"""How buckets are written. A sample is a small JSON list; a block is a stretch of buckets in columns of text.

A block in its stream is ``"FIRST LAST BASE64"``: the times of its first and last bucket, and its compressed lines:

1. JSON ``{"step": seconds, "runs": {deployment id: config}}``
2. ``at`` of each bucket   3. its ``samples``   4. its ``known``
5. for each of FIELDS four lines: counts (empty when each is the number of samples), means, minima, maxima
6. for each of the runs one line: the mean bytes, 0 where it was not there

The numbers of a line are joined by commas, ``null`` where nothing is known. A bucket of 0 samples marks a gap. The
lines are what a browser gets, so that a week is read by joining text: with an entry a bucket and numbers made and
written again, the same took several times as long.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from .buckets import FIELDS, Bucket, RunMemory, Value

#: From one sample to the next; one or two may be late without a gap in the line.
SECOND_GAP_S = 2.5
STATISTICS = ("mean", "min", "max")
_LINES_OF_FIELD = 4


@dataclass(frozen=True, kw_only=True)
class Columns:
    """A stretch of buckets as text. ``fields`` has the four lines of each field, one after the other."""

    step_s: int
    first: float
    last: float
    at: str
    samples: str
    known: str
    fields: Sequence[str]
    configs: dict[int, str]
    runs: dict[int, str]

    def follows(self, before: Columns) -> bool:
        """Whether nothing is missing between ``before`` and this."""
        return not is_gap(before.last, self.first, step_s=self.step_s)


def field_lines() -> dict[tuple[str, str], int]:
    """Where among the lines of ``Columns.fields`` each statistic of each field stands."""
    return {
        (name, statistic): number * _LINES_OF_FIELD + 1 + offset
        for number, name in enumerate(FIELDS)
        for offset, statistic in enumerate(STATISTICS)
    }


def is_gap(before: float, after: float, *, step_s: int) -> bool:
    """Whether something is missing between two neighbours."""
    return after - before > (SECOND_GAP_S if step_s == 1 else step_s)


def with_gaps(buckets: Iterable[Bucket], *, step_s: int) -> list[Bucket]:
    """Mark each gap by one bucket without samples."""
    marked: list[Bucket] = []
    for bucket in buckets:
        if marked and is_gap(marked[-1].at, bucket.at, step_s=step_s):
            marked.append(gap_after(marked[-1].at, step_s=step_s))
        marked.append(bucket)
    return marked


def gap_after(at: float, *, step_s: int) -> Bucket:
    """The mark of a gap that begins after the bucket at ``at``."""
    return Bucket(at=at + step_s, samples=0)


def to_columns(buckets: Sequence[Bucket], *, step_s: int) -> Columns:
    """Write at least one bucket, in order of time."""
    rows = with_gaps(buckets, step_s=step_s)
    configs = {pk: memory.config for row in rows for pk, memory in row.runs.items()}
    return Columns(
        step_s=step_s,
        first=rows[0].at,
        last=rows[-1].at,
        at=_line(row.at for row in rows),
        samples=_line(row.samples for row in rows),
        known=_line(row.known for row in rows),
        fields=tuple(chain.from_iterable(_field_lines(name, rows, is_samples=step_s == 1) for name in FIELDS)),
        configs=configs,
        runs={pk: _line(_held(row, pk) for row in rows) for pk in configs},
    )


def to_buckets(columns: Columns) -> list[Bucket]:
    """The inverse of :func:`to_columns`, without the marks of gaps."""
    ats, samples, known = (_numbers(line) for line in (columns.at, columns.samples, columns.known))
    lines = [
        columns.fields[start : start + _LINES_OF_FIELD] for start in range(0, len(columns.fields), _LINES_OF_FIELD)
    ]
    values = {name: _values(of_field, samples) for name, of_field in zip(FIELDS, lines, strict=True)}
    held = {pk: _numbers(line) for pk, line in columns.runs.items()}
    return [
        Bucket(
            at=at or 0.0,
            samples=int(samples[row] or 0),
            values={name: value for name, each in values.items() if (value := each[row]) is not None},
            known=int(known[row] or 0),
            runs={
                pk: RunMemory(config=columns.configs[pk], mean_bytes=each[row])
                for pk, each in held.items()
                if each[row] != 0 and known[row]
            },
        )
        for row, at in enumerate(ats)
        if samples[row]
    ]


def pack(columns: Columns) -> str:
    """As it stands in the stream."""
    header = json.dumps({"step": columns.step_s, "runs": columns.configs}, separators=(",", ":"))
    lines = (header, columns.at, columns.samples, columns.known, *columns.fields, *columns.runs.values())
    packed = base64.b64encode(zlib.compress("\n".join(lines).encode())).decode("ascii")
    return f"{columns.first:.0f} {columns.last:.0f} {packed}"


def first_of(packed: str) -> float:
    """When a block in the stream begins, without unpacking it. Raises ValueError."""
    return float(packed.partition(" ")[0])


def unpack(packed: str) -> Columns:
    """The inverse of :func:`pack`. Raises ValueError for what is no block."""
    try:
        first, last, data = packed.split(" ")
        header, at, samples, known, *rest = zlib.decompress(base64.b64decode(data)).decode().split("\n")
        told = json.loads(header)
        configs = {int(pk): str(config) for pk, config in told["runs"].items()}
        split = len(FIELDS) * _LINES_OF_FIELD
        return Columns(
            step_s=int(told["step"]),
            first=float(first),
            last=float(last),
            at=at,
            samples=samples,
            known=known,
            fields=rest[:split],
            configs=configs,
            runs=dict(zip(configs, rest[split:], strict=True)),
        )
    except (zlib.error, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no block of GPU history: {error}") from error


def pack_sample(bucket: Bucket) -> str:
    """A sample in its stream: ``[at, [value of each of FIELDS], known, {deployment id: [config, bytes]}]``."""
    values = [_plain(value.mean) if (value := bucket.values.get(name)) else None for name in FIELDS]
    runs = {pk: [memory.config, memory.mean_bytes] for pk, memory in bucket.runs.items()}
    return json.dumps([bucket.at, values, bucket.known, runs], separators=(",", ":"))


def unpack_sample(packed: str) -> Bucket:
    """The inverse of :func:`pack_sample`. Raises ValueError for what is no sample."""
    try:
        at, values, known, runs = json.loads(packed)
        return Bucket(
            at=float(at),
            values={
                name: Value(1, number, number, number)
                for name, number in zip(FIELDS, values, strict=True)
                if number is not None
            },
            known=int(known),
            runs={int(pk): RunMemory(config=config, mean_bytes=held) for pk, (config, held) in runs.items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no sample of GPU history: {error}") from error


def _field_lines(name: str, rows: Sequence[Bucket], *, is_samples: bool) -> tuple[str, str, str, str]:
    found = [row.values.get(name) for row in rows]
    if is_samples:
        line = _line(value.mean if value else None for value in found)
        return "", line, line, line
    full = all(value is None or value.samples == row.samples for value, row in zip(found, rows, strict=True))
    return (
        "" if full else _line(value.samples if value else 0 for value in found),
        _line(value.mean if value else None for value in found),
        _line(value.min if value else None for value in found),
        _line(value.max if value else None for value in found),
    )


def _values(lines: Sequence[str], samples: Sequence[float | None]) -> list[Value | None]:
    counts, means, least, most = (_numbers(line) for line in lines)
    return [
        None
        if mean is None
        else Value(samples=int((counts or samples)[row] or 0), mean=mean, min=least[row] or 0, max=most[row] or 0)
        for row, mean in enumerate(means)
    ]


def _held(row: Bucket, pk: int) -> float | None:
    if not row.known:
        return None
    return row.runs[pk].mean_bytes if pk in row.runs else 0


def _line(numbers: Iterable[float | None]) -> str:
    return ",".join("null" if number is None else str(_plain(number)) for number in numbers)


def _plain(number: float) -> float:
    """45 instead of 45.0, which is a third of the text of a column."""
    whole = int(number)
    return whole if number == whole else number


def _numbers(line: str) -> list[float | None]:
    found: list[float | None] = json.loads(f"[{line}]")
    return found
