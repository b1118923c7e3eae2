"""What a gateway key may be used for, and how much: shared by its row, its form and the gateway."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import models
from django.utils.translation import gettext_lazy as _


class EndpointKind(models.TextChoices):
    """What is asked of a model, whatever the protocol. The gateway's table of addresses names these.

    METRICS is asked of Berth itself, at ``/metrics``, and only a key that names it may: no choice does not include it.
    """

    CHAT = "chat", _("chat")
    COMPLETIONS = "completions", _("text completion")
    EMBEDDINGS = "embeddings", _("embeddings")
    RERANK = "rerank", _("reranking")
    IMAGES = "images", _("images")
    AUDIO = "audio", _("audio")
    METRICS = "metrics", _("metrics")


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyLimits:
    """The most that a key may use; None is no limit. A minute and a day are those of the clock, in UTC."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None

    def __bool__(self) -> bool:
        """Whether there is any limit."""
        return not (self.requests_per_minute is self.tokens_per_minute is self.tokens_per_day is None)


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyScopes:
    """What a key may ask for; an empty set means everything. ``models`` are case-folded names of models and configs."""

    models: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Whether anything is closed to the key."""
        return bool(self.models or self.endpoints)

    def allows_model(self, name: str) -> bool:
        """Whether the model or config ``name`` may be asked."""
        return not self.models or name.casefold() in self.models

    def allows_endpoint(self, kind: str) -> bool:
        """Whether requests of this kind may be sent."""
        return not self.endpoints or kind in self.endpoints


@dataclass(frozen=True, kw_only=True)
class KeyRules:
    """Scopes and limits as people write them. Empty means everything, None means no limit."""

    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None


#: Those of a key that was made without any.
NO_RULES = KeyRules()
