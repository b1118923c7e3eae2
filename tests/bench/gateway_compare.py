"""``make bench-gateway``: the upstream itself, Berth's gateway and LiteLLM's proxy, in one interleaved run.

Each gateway has the same core for itself when it is asked; upstream, load and Redis share the other. Berth's keys,
limits, metering and watcher are on. Figures are medians over rounds; ratios are of figures of the same round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

from .gateway import ROOT, Bench, Row, leaving_rows, quantiles, running
from .gateway_dashboards import DASHBOARDS, dashboards
from .gateway_load import Target, chunks_per_s, first_chunks_ms, latencies_ms, memory_mb, requests_per_s
from .gateway_rival import Rival, rival, version
from .gateway_streams import STREAMS, Paced, paced_streams

ROUNDS = 3
#: Of one client's answers, within each round: a tenth of a second each, in which a busy machine may do anything.
SLICES = 5
SECONDS = 3
#: LiteLLM takes a hundred times longer for each.
ONE_BY_ONE = {"direct": 400, "berth": 400, "litellm": 40}
WARM_REQUESTS = 20_000
MEMORY_REQUESTS = 200_000


class Rounds:
    """Figures of each contender, by name, one a round."""

    def __init__(self, contenders: dict[str, Target]) -> None:
        self.contenders = contenders
        self.found: dict[str, dict[str, list[float]]] = {}

    def measure(self, figure: str, measure: Callable[[str, Target], float]) -> None:
        """One more round of ``figure``."""
        for name, target in self.contenders.items():
            self.found.setdefault(figure, {}).setdefault(name, []).append(measure(name, target))

    def median(self, figure: str, name: str) -> float:
        """Over the rounds."""
        return statistics.median(self.found[figure][name])

    def added(self, figure: str, name: str) -> float:
        """Above direct, in the same round."""
        return statistics.median(self._pairs(figure, name, "direct", lambda mine, other: mine - other))

    def ratio(self, figure: str, name: str, other: str) -> float:
        """To another contender, in the same round."""
        return statistics.median(self._pairs(figure, name, other, lambda mine, its: mine / its))

    def _pairs(self, figure: str, name: str, other: str, combine: Callable[[float, float], float]) -> list[float]:
        found = self.found[figure]
        return [combine(mine, its) for mine, its in zip(found[name], found[other], strict=True)]


def compare(*, rounds: int, memory_requests: int) -> list[Row]:
    """Every figure of the gateway, as rows of a table."""
    with running() as bench, rival(bench) as litellm:
        taken = Rounds({"direct": bench.direct, "berth": bench.gateway, "litellm": litellm.target})
        for target in taken.contenders.values():
            latencies_ms(target, requests=30)
            chunks_per_s(target, seconds=0.3)
        for _round in range(rounds):
            _one_round(taken)
        served = Rounds(dict(zip(("direct", "berth"), bench.served, strict=True)))
        for _round in range(rounds):
            served.measure("rate", lambda _name, target: requests_per_s(target, seconds=SECONDS))
        rows = [*_whole_rows(taken), *_served_rows(served), *_stream_rows(taken), *_paced_rows("", bench)]
        rows += leaving_rows(bench)
        with dashboards(bench):
            beside = Rounds({"direct": bench.direct, "berth": bench.gateway})
            for _round in range(rounds):
                _streams(beside)
            rows.append((f"With {DASHBOARDS} dashboards open", "", ""))
            rows += [*_stream_rows(beside), *_paced_rows("", bench)]
        return [*rows, *_memory_rows(bench, litellm, memory_requests), *_start_rows(bench, litellm)]


def _one_round(taken: Rounds) -> None:
    for _slice in range(SLICES):
        _slice_of_answers(taken)
    taken.measure("rate", lambda _name, target: requests_per_s(target, seconds=SECONDS))
    _streams(taken)


def _slice_of_answers(taken: Rounds) -> None:
    found: dict[str, tuple[float, float]] = {}

    def p50(name: str, target: Target) -> float:
        found[name] = quantiles(latencies_ms(target, requests=ONE_BY_ONE[name]))
        return found[name][0]

    taken.measure("p50", p50)
    taken.measure("p95", lambda name, _target: found[name][1])


def _streams(taken: Rounds) -> None:
    taken.measure(
        "first",
        lambda name, target: statistics.median(first_chunks_ms(target, streams=15 if name == "litellm" else 60)),
    )
    taken.measure("chunks", lambda _name, target: chunks_per_s(target, seconds=2))


def _whole_rows(taken: Rounds) -> list[Row]:
    return [
        ("added p50, 1 client", f"{taken.added('p50', 'berth'):.2f} ms", "0.5 ms"),
        ("  LiteLLM", f"{taken.added('p50', 'litellm'):.1f} ms", ""),
        ("added p95, 1 client", f"{taken.added('p95', 'berth'):.2f} ms", "1 ms"),
        ("  LiteLLM", f"{taken.added('p95', 'litellm'):.1f} ms", ""),
        ("requests/s, 32 clients: direct", f"{taken.median('rate', 'direct'):,.0f}", ""),
        ("  Berth", f"{taken.median('rate', 'berth'):,.0f}", ""),
        ("  LiteLLM", f"{taken.median('rate', 'litellm'):,.0f}", ""),
        ("  Berth over direct, which is bare", f"{taken.ratio('rate', 'berth', 'direct'):.3f} x", "0.17 x"),
        ("  Berth over LiteLLM", f"{taken.ratio('rate', 'berth', 'litellm'):.0f} x", "45 x"),
    ]


def _served_rows(served: Rounds) -> list[Row]:
    return [
        ("  an upstream served by uvicorn: direct", f"{served.median('rate', 'direct'):,.0f}", ""),
        ("  Berth before it", f"{served.median('rate', 'berth'):,.0f}", ""),
        ("  Berth over direct", f"{served.ratio('rate', 'berth', 'direct'):.3f} x", "0.17 x"),
    ]


def _stream_rows(taken: Rounds) -> list[Row]:
    rows = [
        ("added time to the first chunk", f"{taken.added('first', 'berth'):.2f} ms", "1 ms"),
        ("chunks/s, 32 streams: direct", f"{taken.median('chunks', 'direct'):,.0f}", ""),
        ("  Berth", f"{taken.median('chunks', 'berth'):,.0f}", ""),
        ("  Berth over direct", f"{taken.ratio('chunks', 'berth', 'direct'):.2f} x", "0.9 x"),
    ]
    if "litellm" in taken.contenders:
        rows.insert(1, ("  LiteLLM", f"{taken.added('first', 'litellm'):.1f} ms", ""))
        rows.insert(4, ("  LiteLLM", f"{taken.median('chunks', 'litellm'):,.0f}", ""))
    return rows


def _paced_rows(prefix: str, bench: Bench) -> list[Row]:
    both: list[list[Paced]] = [[], []]
    for _round in range(2):
        for taken, target in zip(both, (bench.direct, bench.gateway), strict=True):
            taken.append(paced_streams(target))
    direct, berth = both
    lost = sum(one.expected - one.chunks for one in berth)
    first = [statistics.median(one.first_p50_ms for one in each) for each in both]
    p95 = [statistics.median(one.first_p95_ms for one in each) for each in both]
    late = [statistics.median(one.late_ms for one in each) for each in both]
    expected = sum(one.expected for one in direct)
    return [
        (f"{prefix}{STREAMS} streams, 25 chunks/s each: lost of {expected:,}", f"{lost}", "0"),
        ("  time to first chunk, over direct's", f"{first[1] - first[0]:.1f} ms", "20 ms"),
        ("  its p95, over direct's", f"{p95[1] - p95[0]:.1f} ms", "20 ms"),
        ("  the last one's end: direct, Berth", f"{late[0]:.0f}, {late[1]:.0f} ms late", ""),
    ]


def _memory_rows(bench: Bench, litellm: Rival, requests: int) -> list[Row]:
    _ask_often(bench.gateway, WARM_REQUESTS)
    before = memory_mb(bench.pid)
    asked = _ask_often(bench.gateway, requests)
    after = memory_mb(bench.pid)
    other = litellm.memory_mb()
    return [
        (f"memory: after {asked:,} requests more", f"{before:.1f} -> {after:.1f} MB", "flat"),
        ("  LiteLLM", f"{other:.0f} MB", ""),
        ("  Berth over LiteLLM", f"{after / other:.2f} x", "0.2 x"),
    ]


def _ask_often(target: Target, requests: int) -> int:
    """At least so many."""
    asked = 0.0
    while asked < requests:
        asked += requests_per_s(target, seconds=SECONDS) * SECONDS
    return round(asked)


def _start_rows(bench: Bench, litellm: Rival) -> list[Row]:
    return [
        ("start to the first answer: Berth", f"{bench.start_s:.2f} s", ""),
        ("  LiteLLM", f"{litellm.start_s:.2f} s", ""),
        ("  Berth over LiteLLM", f"{bench.start_s / litellm.start_s:.2f} x", "0.1 x"),
    ]


def main() -> None:
    """Measure, print, and keep the rows in .build/bench-gateway.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--memory-requests", type=int, default=MEMORY_REQUESTS)
    options = parser.parse_args()
    began = time.monotonic()
    rows = compare(rounds=options.rounds, memory_requests=options.memory_requests)
    width = max(len(name) for name, _value, _target in rows)
    print(f"Berth beside its upstream and LiteLLM {version()}; {time.monotonic() - began:.0f} s")
    for name, value, target in rows:
        print(f"{name:{width}}  {value:>20}  {target}".rstrip())
    (ROOT / ".build" / "bench-gateway.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
