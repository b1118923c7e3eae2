"""The settings of a chat as they are sent, kept and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from django.utils.translation import gettext as _

from deployments.exceptions import InvalidInputError
from playground.parameters import PARAMETERS, Parameter

LONGEST_SYSTEM: Final = 100_000
MOST_STOPS: Final = 16
LONGEST_STOP: Final = 200
#: Of the extra JSON and of Ollama's options, written as JSON.
LARGEST_JSON: Final = 65_536
#: What extra parameters may not replace: who is asked, what, and how the answer comes.
RESERVED: Final = frozenset({"model", "messages", "stream", "stream_options"})
THINK_WORDS: Final = ("low", "medium", "high")


@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """What goes with a question. ``numbers`` are OpenAI's names; empty is not sent."""

    system: str = ""
    numbers: dict[str, float | int] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    json_mode: bool = False
    think: bool | str | None = None
    ollama_options: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it is kept: what is empty is left out."""
        kept = {each.name: getattr(self, each.name) for each in fields(self)}
        kept["stop"] = list(self.stop)
        return {name: value for name, value in kept.items() if value not in ("", {}, [], None, False)} | (
            {"think": False} if self.think is False else {}
        )


def read_settings(told: object) -> ChatSettings:
    """The settings in ``told``, JSON of a page or of the database. Raises InvalidInputError naming the field."""
    if not isinstance(told, Mapping):
        raise InvalidInputError(_("The settings are not a JSON object."))
    unknown = sorted(set(map(str, told)) - {each.name for each in fields(ChatSettings)})
    if unknown:
        raise InvalidInputError(_("There is no setting called %(name)s.") % {"name": unknown[0][:100]})
    return ChatSettings(
        system=_text(told.get("system"), "system", LONGEST_SYSTEM),
        numbers=_numbers(told.get("numbers")),
        stop=_stops(told.get("stop")),
        json_mode=told.get("json_mode") is True,
        think=_think(told.get("think")),
        ollama_options=_object(told.get("ollama_options"), "ollama_options"),
        extra=_extra(told.get("extra")),
    )


def _text(value: object, name: str, most: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(name, _("It has to be text."))
    if len(value) > most:
        raise _wrong(name, _("It has more than %(most)d characters.") % {"most": most})
    # PostgreSQL keeps no NUL.
    return value.replace("\0", "").strip()


def _numbers(value: object) -> dict[str, float | int]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _wrong("numbers", _("It has to be an object."))
    known = {each.name: each for each in PARAMETERS}
    found: dict[str, float | int] = {}
    for name, number in value.items():
        if name not in known:
            raise InvalidInputError(_("There is no parameter called %(name)s.") % {"name": str(name)[:100]})
        if number is not None:
            found[name] = _number(number, known[name])
    return found


def _number(value: object, parameter: Parameter) -> float | int:
    whole = parameter.step == "1"
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, int | float) and fits and (not whole or float(value).is_integer()):
        number: float | int = int(value) if whole else value
        if float(parameter.least) <= number <= float(parameter.most):
            return number
    raise _wrong(parameter.name, str(parameter.hint))


def _stops(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MOST_STOPS:
        raise _wrong("stop", _("It has to be a list of at most %(most)d texts.") % {"most": MOST_STOPS})
    stops = tuple(each for each in value if each)
    if any(not isinstance(each, str) or len(each) > LONGEST_STOP for each in stops):
        raise _wrong("stop", _("Each of them has at most %(most)d characters.") % {"most": LONGEST_STOP})
    return stops


def _think(value: object) -> bool | str | None:
    if value in (None, ""):
        return None
    if isinstance(value, bool) or value in THINK_WORDS:
        return value  # type: ignore[return-value]  # a bool or one of the words, as the line above says
    raise _wrong("think", _("It is true, false, low, medium or high."))


def _extra(value: object) -> dict[str, Any]:
    extra = _object(value, "extra")
    reserved = sorted(RESERVED & set(extra))
    if reserved:
        raise _wrong("extra", _("%(name)s is set by the page.") % {"name": reserved[0]})
    return extra


def _object(value: object, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(name, _("It has to be a JSON object."))
    if len(json.dumps(value)) > LARGEST_JSON:
        raise _wrong(name, _("It has more than 64 KB."))
    return value


def _wrong(name: str, reason: str) -> InvalidInputError:
    sentence = _("The setting %(name)s is wrong: %(reason)s") % {"name": name, "reason": reason}
    return InvalidInputError(sentence, fields={name: [reason]})
