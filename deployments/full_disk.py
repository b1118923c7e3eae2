"""Whether an error means that a disk is full: each part says so in words of its own."""

from __future__ import annotations

#: SQLite ("database or disk is full"), the system and PostgreSQL, and Redis, which then refuses writes.
SIGNS = ("disk is full", "no space left", "unable to persist to disk")


def is_disk_full(error: BaseException) -> bool:
    """Judged by what ``error`` says."""
    said = str(error).lower()
    return any(sign in said for sign in SIGNS)
