"""What the GPUs did: each second for 15 minutes, each 10 s for 6 hours, each minute for 7 days, in Redis.

Each GPU has four streams, one of them of ten minutes for the chart of a week. The finest has an entry a second. The
others have *blocks*: an entry is a stretch of time in columns (:mod:`.blocks`), made from the finer stream once the
stretch is over. So nothing is half made: what has no block yet is rolled up by whoever reads (:mod:`.reading`), and a
new agent goes on where the last block ends (:mod:`.writer`). What was not measured is a gap, and a bucket says how
many samples it has (:mod:`.buckets`).
"""

from .buckets import FIELDS
from .marks import KINDS, mark
from .reading import CHARTED, RANGES, has_history, series, series_json, sparklines
from .writer import record

__all__ = [
    "CHARTED",
    "FIELDS",
    "KINDS",
    "RANGES",
    "has_history",
    "mark",
    "record",
    "series",
    "series_json",
    "sparklines",
]
