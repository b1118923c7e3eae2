"""A name and a password on their way to a registry: never printed, never stored in the clear."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

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
        for secret in (self.password, self._basic()):
            if secret:
                text = text.replace(secret, HIDDEN)
        return text

    def _basic(self) -> str:
        if not self.password:
            return ""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
