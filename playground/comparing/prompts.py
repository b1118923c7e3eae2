"""Reads a set of prompts: one a line, or several lines each between lines of ``---``."""

from __future__ import annotations

import re
from typing import Final

from django.utils.translation import gettext as _

from deployments.exceptions import InvalidInputError

MOST_PROMPTS: Final = 100
#: Prompts times columns.
MOST_ANSWERS: Final = 300
LONGEST_PROMPT: Final = 100_000
_BETWEEN: Final = re.compile(r"^---[ \t]*$", re.MULTILINE)


def read_prompts(text: str, *, columns: int) -> list[str]:
    """The prompts in ``text``, without empty ones. Raises InvalidInputError naming the bound."""
    text = text.replace("\0", "").replace("\r\n", "\n")
    parts = _BETWEEN.split(text) if _BETWEEN.search(text) else text.split("\n")
    prompts = [part.strip() for part in parts if part.strip()]
    if not prompts:
        raise _wrong(_("Write at least one prompt."))
    most = min(MOST_PROMPTS, MOST_ANSWERS // max(1, columns))
    if len(prompts) > most:
        numbers = {"n": len(prompts), "most": most, "columns": columns}
        raise _wrong(_("These are %(n)d prompts; %(columns)d columns take at most %(most)d at once.") % numbers)
    if any(len(prompt) > LONGEST_PROMPT for prompt in prompts):
        raise _wrong(_("A prompt of a set has at most 100,000 characters."))
    return prompts


def _wrong(sentence: str) -> InvalidInputError:
    return InvalidInputError(sentence, fields={"prompts": [sentence]})
