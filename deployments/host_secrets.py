"""Keeps the values of this host's secrets out of what servers print."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from django.conf import settings

from .runtimes.base import LogLine

HIDDEN = "••••••"
#: Shorter values stand in half of all lines, and hide nothing.
LEAST_CHARACTERS = 4


def without_secrets(lines: Iterable[LogLine]) -> list[LogLine]:
    """The lines, with every secret's value covered: a server that prints its environment shows its token to nobody.

    Only a node knows its values, so this belongs where a log leaves the node.
    """
    known = {value for value in settings.BERTH_SECRETS.values() if len(value) >= LEAST_CHARACTERS}
    # The longest first: one value may be the beginning of another.
    values = sorted(known, key=len, reverse=True)
    return [_covered(line, values) for line in lines] if values else list(lines)


def _covered(line: LogLine, values: Iterable[str]) -> LogLine:
    text = line.text
    for value in values:
        text = text.replace(value, HIDDEN)
    return line if text == line.text else replace(line, text=text)
