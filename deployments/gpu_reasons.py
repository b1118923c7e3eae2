"""Why an agent has no GPUs to tell of: it writes a sentence in English, and each reader gets it in their language."""

from __future__ import annotations

import re
from typing import Final

from django.utils.translation import gettext, gettext_noop

NOT_INSTALLED: Final = gettext_noop("The Python package nvidia-ml-py is not installed.")
NO_ANSWER: Final = gettext_noop("No NVIDIA driver answers on this host (%(error)s).")
CHANGED: Final = gettext_noop(
    "The driver was changed while it was in use: restart the host, or the agent if that was done already."
)
WAITED: Final = gettext_noop("The driver has not answered for %(seconds)s s.")
NONE_FOUND: Final = gettext_noop("The driver runs and finds no GPU.")
SWITCHED_OFF: Final = gettext_noop("This node was told to use no GPUs (BERTH_GPU_SOURCE=none).")
NOT_PLAYED: Final = gettext_noop("The recording %(path)s cannot be played: %(error)s")
NOT_MEASURED: Final = gettext_noop("The GPUs could not be measured: %(error)s")

_SENTENCES: Final = (
    *(NOT_INSTALLED, NO_ANSWER, CHANGED, WAITED),
    *(NONE_FOUND, SWITCHED_OFF, NOT_PLAYED, NOT_MEASURED),
)


def _pattern(sentence: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"%\\\((\w+)\\\)s", r"(?P<\1>.+)", re.escape(sentence)), re.DOTALL)


_PATTERNS: Final = tuple((_pattern(sentence), sentence) for sentence in _SENTENCES)


def in_words(reason: str) -> str:
    """What an agent wrote, in the active language; what it wrote in other words stays as it is."""
    for pattern, sentence in _PATTERNS:
        if found := pattern.fullmatch(reason):
            return gettext(sentence) % found.groupdict()
    return reason
