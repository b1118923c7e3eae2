"""The fields of a key's form: what they show, and what was written into them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deployments.exceptions import InvalidInputError

from .key_rules import EndpointKind, KeyRules
from .models import GatewayKey
from .selectors import names_for_keys

LIMITS: Final = {
    "requests_per_minute": gettext_lazy("Requests per minute"),
    "tokens_per_minute": gettext_lazy("Tokens per minute"),
    "tokens_per_day": gettext_lazy("Tokens per day"),
}


@dataclass(frozen=True, kw_only=True)
class Box:
    """A checkbox; ``inner`` ones stand below their model."""

    value: str
    title: str
    checked: bool
    inner: bool = False


@dataclass(frozen=True, kw_only=True)
class Number:
    """A field for a limit, with what was written into it."""

    name: str
    title: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Scopes and limits; ``chosen`` tells whether any is set, and the form opens there."""

    models: Sequence[Box]
    endpoints: Sequence[Box]
    limits: Sequence[Number]
    chosen: bool


def read_rules(written: QueryDict) -> KeyRules:
    """What the form says. Raises InvalidInputError for a limit that is no whole number."""
    limits = {name: _whole(written.get(name, ""), name) for name in LIMITS}
    return KeyRules(
        models=tuple(dict.fromkeys(written.getlist("models"))),
        endpoints=tuple(dict.fromkeys(written.getlist("endpoints"))),
        **limits,
    )


def written_fields(written: QueryDict | Mapping[str, str], *, kept: Collection[str] = ()) -> Fields:
    """The form as it was sent; ``kept`` are names that the key has and the catalogue perhaps no longer."""
    chosen = {name: written.getlist(name) if isinstance(written, QueryDict) else [] for name in ("models", "endpoints")}
    return _fields(chosen["models"], chosen["endpoints"], {name: written.get(name, "") for name in LIMITS}, kept)


def kept_fields(key: GatewayKey) -> Fields:
    """The form of a key as it is."""
    limits = {name: "" if (value := getattr(key, name)) is None else str(value) for name in LIMITS}
    return _fields(key.allowed_models, key.allowed_endpoints, limits, key.allowed_models)


def whole_days(text: str) -> int | None:
    """The form's days; empty or 0 is never. Raises InvalidInputError."""
    try:
        return int(text or 0) or None
    except ValueError:
        sentence = _("Write the number of days that the key lasts, or choose never.")
        raise InvalidInputError(sentence, fields={"expires_in_days": [sentence]}) from None


def end_of(days: int | None) -> datetime | None:
    """When a key that lasts ``days`` from now ends."""
    return None if days is None else timezone.now() + timedelta(days=days)


def _fields(
    models: Collection[str], endpoints: Collection[str], limits: Mapping[str, Any], kept: Collection[str]
) -> Fields:
    boxes: list[Box] = []
    for model in names_for_keys():
        boxes.append(Box(value=model.name, title=model.name, checked=model.name in models))
        boxes += [
            Box(value=config, title=config, checked=config in models, inner=True)
            for config in model.configs
            if config != model.name
        ]
    known = {box.value for box in boxes}
    gone = [name for name in kept if name not in known]
    boxes += [
        Box(value=name, title=_("%(name)s (not in the catalogue)") % {"name": name}, checked=name in models)
        for name in gone
    ]
    return Fields(
        models=boxes,
        endpoints=[
            Box(value=kind.value, title=str(kind.label), checked=kind.value in endpoints) for kind in EndpointKind
        ],
        limits=[Number(name=name, title=str(title), text=limits.get(name, "")) for name, title in LIMITS.items()],
        chosen=bool(models or endpoints or any(limits.values())),
    )


def _whole(text: str, name: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not text.isdecimal() or len(text) > 15:
        sentence = _("A limit is a whole number; leave it empty for none.")
        raise InvalidInputError(sentence, fields={name: [sentence]})
    return int(text)
