"""Histograms of times: their buckets, and the percentiles that they give.

A sum of histograms is a histogram of the sum, which is why roll-ups keep these and no percentiles. The bounds grow by
about a half, so that a percentile is right to within a bucket; inside of one it is interpolated, as Prometheus'
``histogram_quantile`` does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

#: Upper bounds in seconds; one more bucket holds what is longer.
FIRST_TOKEN_BOUNDS_S: Final = (0.025, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 0.9, 1.4, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0)
DURATION_BOUNDS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 60.0, 120.0, 300.0)
FIRST_TOKEN_COLUMNS: Final = tuple(f"first_token_{index:02}" for index in range(len(FIRST_TOKEN_BOUNDS_S) + 1))
DURATION_COLUMNS: Final = tuple(f"duration_{index:02}" for index in range(len(DURATION_BOUNDS_S) + 1))


def bucket_of(seconds: float, bounds: Sequence[float]) -> int:
    """The number of the bucket that ``seconds`` falls into."""
    return bisect_left(bounds, seconds)


def percentile(counts: Sequence[int], bounds: Sequence[float], share: float) -> float | None:
    """The value in seconds below which ``share`` (0 to 1) of the counted lie; None when none is counted.

    What is longer than the last bound counts as the last bound.
    """
    total = sum(counts)
    if not total:
        return None
    rank = share * total
    below = 0
    for index, count in enumerate(counts):
        if count and below + count >= rank:
            if index == len(bounds):
                return bounds[-1]
            low = bounds[index - 1] if index else 0.0
            return low + (bounds[index] - low) * max(0.0, rank - below) / count
        below += count
    return bounds[-1]
