"""A line of output as it is read: what a terminal would have done with its escapes is left out.

The module ``berth/log/ansi`` of the pages reads the same sequences and shows colours; both must agree on the text,
since the server finds what the page marks.
"""

from __future__ import annotations

import re

#: Control sequences (ECMA-48 5.4), strings such as titles and links (5.6), two-character escapes, and what is left of
#: control characters; tabs stay.
ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f]"
)


def plain(line: str) -> str:
    """``line`` without escapes; of a line that was drawn over with carriage returns, the last state."""
    last = line.rstrip("\r").rpartition("\r")[2]
    return ESCAPES.sub("", last) if not last.isprintable() else last


def matches(line: str, wanted: str) -> bool:
    """Whether ``wanted``, which is in lower case, stands in the line, as plain text."""
    return wanted in plain(line).lower()
