"""Names in Redis of answers under way, and the shape of what is in there."""

from __future__ import annotations

from typing import Final

#: Deltas kept for one answer: over a minute at the fastest pace, while the row is written every two seconds.
MOST_DELTAS: Final = 2_000
#: Seconds that deltas and hints outlive the last one.
KEPT_S: Final = 900


def answer_deltas(answer_id: int) -> str:
    """The stream of an answer's deltas; the number of each is its id, as in ``17-0``. One field ``delta``: JSON."""
    return f"berth:answer:{answer_id}"


def answer_stop(answer_id: int) -> str:
    """Set by whoever wants an answer to stop; read by the process that makes it."""
    return f"berth:answer-stop:{answer_id}"


def conversation_hints(conversation_id: int) -> str:
    """The stream of hints that a conversation has another message, for its other tabs."""
    return f"berth:conversation:{conversation_id}"
