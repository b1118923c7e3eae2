"""How long a node may be silent."""

from __future__ import annotations

from datetime import timedelta

#: A node whose agent has been silent this long takes nothing new.
FRESH = timedelta(seconds=15)
