"""A chat as it is asked, whatever the protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from playground.chat.settings import ChatSettings
from playground.pictures import Picture


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One message that was said before, or the one that is answered now."""

    role: str
    content: str
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ChatQuestion:
    """A conversation up to the message to answer, for ``model`` (a config or model by name)."""

    model: str
    turns: tuple[Turn, ...]
    settings: ChatSettings = field(default_factory=ChatSettings)

    def merged(self, body: dict[str, Any]) -> dict[str, Any]:
        """``body`` with the extra JSON parameters in it; who asks, what, and how it comes back stays as it is."""
        kept = {name: body[name] for name in ("model", "messages", "stream", "stream_options") if name in body}
        return {**body, **self.settings.extra, **kept}
