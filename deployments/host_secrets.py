"""Keeps the values of this host's secrets out of what servers print."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from django.conf import settings

from .runtimes.base import LogLine
from .secret_references import covered

#: Shorter values stand in half of all lines, and hide nothing.
LEAST_CHARACTERS = 4


def without_secrets(lines: Iterable[LogLine]) -> list[LogLine]:
    """The lines, with every secret's value covered: a server that prints its environment shows its token to nobody.

    Only a node knows its values, so this belongs where a log leaves the node.
    """
    values = {value for value in settings.BERTH_SECRETS.values() if len(value) >= LEAST_CHARACTERS}
    return [_covered(line, values) for line in lines] if values else list(lines)


def _covered(line: LogLine, values: Collection[str]) -> LogLine:
    text = covered(line.text, values)
    return line if text == line.text else replace(line, text=text)
