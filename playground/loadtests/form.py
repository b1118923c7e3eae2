"""The form of the page Load test: what it begins with, and what was written in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deployments.exceptions import InvalidInputError

from . import settings as bounds
from .settings import LoadSettings, in_words, read_concurrency
from .verdicts import TARGETS


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field for a whole number; ``is_more`` is shown on demand."""

    name: str
    title: Promise
    least: int
    most: int
    is_more: bool = False


NUMBERS: Final = (
    Field(name="requests", title=gettext_lazy("Requests a level"), least=1, most=bounds.MOST_REQUESTS),
    Field(name="prompt_tokens", title=gettext_lazy("Prompt tokens"), least=1, most=bounds.MOST_PROMPT_TOKENS),
    Field(name="output_tokens", title=gettext_lazy("Output tokens"), least=1, most=bounds.MOST_OUTPUT_TOKENS),
    Field(name="warm_up", title=gettext_lazy("Warm-up requests"), least=0, most=bounds.MOST_WARM_UP, is_more=True),
    Field(name="level_s", title=gettext_lazy("Seconds a level"), least=1, most=bounds.MOST_LEVEL_S, is_more=True),
    Field(name="total_s", title=gettext_lazy("Seconds in all"), least=1, most=bounds.MOST_TOTAL_S, is_more=True),
)
TARGET_TITLES: Final[dict[str, Promise]] = {
    "requests_per_s": gettext_lazy("Requests a second"),
    "concurrent_users": gettext_lazy("Users at once"),
    "first_token_ms": gettext_lazy("First token p95, ms, at most"),
    "tokens_per_s": gettext_lazy("Tokens a second"),
    "stream_tokens_per_s": gettext_lazy("Tokens a second of one answer"),
    "context_length": gettext_lazy("Context length"),
}
_LARGEST_TARGET: Final = 10**9


def begin_with(config: str) -> dict[str, str]:
    """The values of a fresh form."""
    usual = LoadSettings()
    numbers = {field.name: str(getattr(usual, field.name)) for field in NUMBERS}
    told = {"config": config, "kind": "", "concurrency": in_words(usual.concurrency), "stream": "on"}
    return {**told, **numbers, "direct": "", "smoke": "", **dict.fromkeys(TARGETS, "")}


def written_in(form: Mapping[str, str]) -> dict[str, str]:
    """What was written, to show it again."""
    return {name: form.get(name, "") for name in begin_with("")}


def read_form(form: Mapping[str, str]) -> LoadSettings:
    """Raises InvalidInputError."""
    numbers: dict[str, Any] = {field.name: _whole(form.get(field.name, ""), str(field.title)) for field in NUMBERS}
    context = read_targets(form).get("context_length", 0)
    if context > bounds.MOST_PROMPT_TOKENS:
        sentence = _("A context of more than %(most)s tokens is not tested.")
        raise InvalidInputError(sentence % {"most": f"{bounds.MOST_PROMPT_TOKENS:,}"})
    told: dict[str, Any] = {
        "kind": form.get("kind", ""),
        "concurrency": read_concurrency(form.get("concurrency", "")),
        "stream": form.get("stream") == "on",
        "direct": form.get("direct") == "on",
        "context_length": int(context),
    }
    return LoadSettings(**told, **numbers)


def read_targets(form: Mapping[str, str]) -> dict[str, float]:
    """Those that are not empty. Raises InvalidInputError."""
    written = {name: form.get(name, "").strip() for name in TARGETS}
    return {name: _positive(text, str(TARGET_TITLES[name])) for name, text in written.items() if text}


def number_fields(written: Mapping[str, str], *, is_more: bool) -> list[dict[str, Any]]:
    """For the template."""
    return [{"field": field, "value": written[field.name]} for field in NUMBERS if field.is_more == is_more]


def target_fields(written: Mapping[str, str]) -> list[dict[str, Any]]:
    """For the template."""
    return [{"name": name, "title": TARGET_TITLES[name], "value": written[name]} for name in TARGETS]


def _whole(text: str, title: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidInputError(_("%(name)s: write a whole number.") % {"name": title})
    return int(text)


def _positive(text: str, title: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= _LARGEST_TARGET:
        raise InvalidInputError(_("%(name)s: write a number above zero, or nothing.") % {"name": title})
    return value
