"""A name and a password on their way to a registry: never printed, never stored in the clear."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

HIDDEN = "…"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Falsy where a registry is asked without. ``repr`` tells no password."""

    username: str = ""
    password: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.username or self.password)

    def hide_in(self, text: str) -> str:
        """``text`` without the password in any form in which a server might repeat it."""
        for secret in sorted(self._spellings(), key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text

    def _spellings(self) -> set[str]:
        """As it is, and as it stands in a header, a URL, JSON and HTML."""
        if not self.password:
            return set()
        escaped = (json.dumps(self.password)[1:-1], html.escape(self.password))
        quoted = (quote(self.password, safe=""), quote(self.password), quote_plus(self.password))
        return {self.password, self._basic(), *escaped, *quoted}

    def _basic(self) -> str:
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
