"""``x-berth``: what a config says and Compose has no words for, kept in a Compose file so that it comes back whole."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from django.utils.translation import gettext as _

from deployments.config_values import FIELD_NAMES, ConfigValues
from deployments.images import IMAGE_VARIABLES
from deployments.secret_references import contains_token

from .proposal import EXTENSION, Draft
from .tree import Node, Scalar, Table

#: Fields that a service says in Compose's own words.
IN_COMPOSE = frozenset(
    {
        "runtime",
        "image",
        "entrypoint",
        "arguments",
        "environment",
        "volumes",
        "port",
        "gpus",
        "shared_memory",
        "grace_s",
        "max_attempts",
    }
)
#: Variables that the engine does not get; see :mod:`deployments.images`.
SETTINGS = "settings"
_TEXTS = frozenset(field.name for field in dataclasses.fields(ConfigValues) if field.type == "str")
_ALWAYS = ("model", "protocol", "engine", "served_name", "readiness_path", "load_timeout_s")


def extension_of(values: ConfigValues) -> dict[str, Any]:
    """The extension for a config: what Compose cannot say, and differs from what a config has by itself."""
    plain = values.to_json()
    defaults = {name: getattr(ConfigValues, name, None) for name in FIELD_NAMES}
    told = {
        name: plain[name]
        for name in FIELD_NAMES
        if name not in IN_COMPOSE and (name in _ALWAYS or plain[name] != defaults[name])
    }
    settings = {name: text for name, text in values.environment if name in IMAGE_VARIABLES}
    return {**told, SETTINGS: settings} if settings else told


def is_own(service: Table) -> bool:
    """Whether Berth wrote the service."""
    return isinstance(service.get(EXTENSION), Table)


def take_extension(draft: Draft) -> None:
    """Set the fields that the extension tells; they replace what was guessed. Nothing that Compose says is taken."""
    node = draft.service.get(EXTENSION)
    if not isinstance(node, Table):
        return
    _forget_guesses(draft)
    taken = set()
    for name, entry in node.entries.items():
        if name == SETTINGS:
            _take_settings(draft, entry.node)
        elif name in FIELD_NAMES and name not in IN_COMPOSE and not _holds_token(entry.node):
            draft.values[name] = _value(draft, name, entry.node)
            taken.add(name)
        else:
            why = _("%(extension)s tells no such field.") % {"extension": EXTENSION}
            draft.leave(f"{EXTENSION}.{name[:60]}", why, _("Look at the field in the form."), line=entry.line)
    draft.guesses = [guess for guess in draft.guesses if guess.field not in taken]
    draft.note(EXTENSION, "", _("What Compose has no words for, as Berth wrote it."))


def _forget_guesses(draft: Draft) -> None:
    """Take guesses back where the extension's silence means a field's own default."""
    for guess in [guess for guess in draft.guesses if guess.field not in IN_COMPOSE.union(_ALWAYS)]:
        draft.guesses.remove(guess)
        del draft.values[guess.field]


def _take_settings(draft: Draft, node: Node) -> None:
    environment = dict(draft.values.get("environment", {}))
    for name, entry in node.entries.items() if isinstance(node, Table) else ():
        if name in IMAGE_VARIABLES and isinstance(entry.node, Scalar):
            environment[name] = draft.text(entry.node)
    draft.values["environment"] = dict(sorted(environment.items()))


def _holds_token(node: Node) -> bool:
    return isinstance(node, Scalar) and contains_token(node.text)


def _value(draft: Draft, name: str, node: Node) -> Any:
    """The text of a field for text; for others what the notation means in JSON. Whether it fits is checked later."""
    text = draft.text(node)
    if name in _TEXTS or not isinstance(node, Scalar):
        return text
    if node.is_null:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
