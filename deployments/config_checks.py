"""The one place that says whether a config's values are valid: for catalogue files, our form and the admin."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.utils.translation import gettext as _

from .config_agreement import agreement_warnings
from .config_items import (
    Problem,
    argument_problems,
    environment_problems,
    has_control_characters,
    volume_problems,
)
from .config_values import FIELD_NAMES, REQUIRED, ConfigValues, column
from .engines import engine_named, engine_names
from .exceptions import InvalidInputError, LaunchError, NotFoundError
from .images.settings import setting_faults
from .models.catalogue import RuntimeName

_INTEGERS = frozenset(
    {
        "port",
        "gpus",
        "context_tokens",
        "load_timeout_s",
        "grace_s",
        "max_attempts",
        "concurrent_requests",
        "stop_after_idle_minutes",
    },
)
#: Where the column itself bounds nothing: what time can be reckoned with, and what every database's column holds.
_MOST = {
    "load_timeout_s": 7 * 24 * 3600,
    "max_attempts": 1000,
    "context_tokens": 2**31 - 1,
    "concurrent_requests": 2**31 - 1,
}
_NUMBERS = frozenset({"memory_gib", "weights_gb"})
_NULLABLE = frozenset({"context_tokens", "weights_gb", "stop_after_idle_minutes"})
_FLAGS = frozenset({"gated", "restart_unhealthy", "start_on_request"})
_LISTS = frozenset({"entrypoint", "arguments", "volumes"})
#: registry/repository:tag@digest, as containers name images; the repository is in lower case.
_CONTAINER_IMAGE = re.compile(
    r"(?:(?:localhost|[a-zA-Z0-9-]+\.[a-zA-Z0-9.-]+|[a-zA-Z0-9-]+(?=:\d))(?::\d+)?/)?"
    r"[a-z0-9][a-z0-9._/-]*(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
_BUNDLE = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The outcome of a check: ``values`` unless there are ``problems``. Warnings refuse nothing."""

    values: ConfigValues | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()

    def accepted(self) -> ConfigValues:
        """The values. Raises InvalidInputError naming every field and its reasons."""
        if self.values is not None:
            return self.values
        fields: dict[str, list[str]] = {}
        for problem in self.problems:
            fields.setdefault(problem.field, []).append(problem.sentence)
        told = " ".join(f"{problem.field}: {problem.sentence}" for problem in self.problems)
        raise InvalidInputError(told, fields=fields)


def check_values(raw: Mapping[str, Any], *, models: Collection[str], unread: Collection[str] = ()) -> Checked:
    """Check typed ``raw`` values by field name; ``models`` are the names of all models there are.

    ``unread`` are fields that the caller refused already: they are not reported again. Pure: no query.
    """
    problems = [Problem(field=name, message=_unknown_field(name)) for name in raw if name not in FIELD_NAMES]
    clean: dict[str, Any] = {}
    for name in FIELD_NAMES:
        if name in unread or (name not in raw and name not in REQUIRED):
            continue
        try:
            clean[name] = _clean(name, raw.get(name))
        except ValidationError as error:
            problems.extend(Problem(field=name, message=text) for text in error.messages)
    problems.extend(_item_problems(clean))
    problems.extend(_cross_problems(clean, models))
    if problems or unread:
        return Checked(values=None, problems=tuple(problems))
    values = ConfigValues.from_json(clean)
    return Checked(values=values, problems=(), warnings=tuple(agreement_warnings(values)))


def _unknown_field(name: str) -> str:
    near = difflib.get_close_matches(name, FIELD_NAMES, n=1)
    if near:
        return _("There is no such field. Do you mean “%(near)s”?") % {"near": near[0]}
    return _("There is no such field. Known fields: %(known)s.") % {"known": ", ".join(FIELD_NAMES)}


def _clean(name: str, value: Any) -> Any:
    """``value`` in its exact type, by the rules of the column. Raises ValidationError."""
    if value is None and name not in _NULLABLE:
        raise ValidationError(_("It is missing."))
    if name in _LISTS:
        items = _clean_list(value)
        return [item.strip() for item in items] if name == "volumes" else items
    if name == "environment":
        return _clean_environment(value)
    if name in _INTEGERS | _NUMBERS:
        value = _clean_number(value, whole=name in _INTEGERS, most=_MOST.get(name))
    elif name in _FLAGS:
        if not isinstance(value, bool):
            raise ValidationError(_("Write true or false."))
    elif not isinstance(value, str):
        raise ValidationError(_("It must be text; put it in quotes."))
    else:
        value = value.replace("\r\n", "\n").strip()
        if has_control_characters(value, allowed="\n\t" if name == "notes" else ""):
            raise ValidationError(_("It holds a line break or another control character."))
    if name == "model":
        return value
    return column(name).clean(value, None)


def _clean_number(value: Any, *, whole: bool, most: int | None) -> int | float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValidationError(_("It must be a number, without quotes."))
    if not math.isfinite(value) or value < 0:
        raise ValidationError(_("It must be a number from 0 on."))
    if whole and not isinstance(value, int):
        raise ValidationError(_("It must be a whole number."))
    if most is not None:
        MaxValueValidator(most)(value)
    return value if whole else float(value)


def _clean_list(value: Any) -> list[str]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValidationError(_("It must be a list."))
    for number, item in enumerate(value, start=1):
        if not isinstance(item, str):
            raise ValidationError(
                _("Item %(number)d, %(item)s, must be text; put it in quotes."),
                params={"number": number, "item": item},
            )
    return list(value)


def _clean_environment(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValidationError(_("It must hold names and values."))
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise ValidationError(_("The value of %(name)s must be text; put it in quotes."), params={"name": name})
    return dict(value)


def _item_problems(clean: Mapping[str, Any]) -> Iterator[Problem]:
    yield from argument_problems(clean.get("entrypoint", ()), field="entrypoint")
    yield from argument_problems(clean.get("arguments", ()))
    environment = clean.get("environment", {})
    yield from environment_problems(environment)
    for name, sentence in setting_faults(environment):
        yield Problem(field="environment", message=f"{name}: {sentence}", item=name)
    yield from volume_problems(clean.get("volumes", ()))


def _cross_problems(clean: Mapping[str, Any], models: Collection[str]) -> Iterator[Problem]:
    model, image = clean.get("model"), clean.get("image")
    if model is not None and model not in models:
        yield Problem(field="model", message=_unknown_model(model, models))
    runtime = clean.get("runtime", RuntimeName.DOCKER)
    if image and runtime == RuntimeName.DOCKER and not _CONTAINER_IMAGE.fullmatch(image):
        yield Problem(field="image", message=_("Write an image as in vllm/vllm-openai:v0.32.0."))
    if image and runtime == RuntimeName.PROCESS and not _BUNDLE.fullmatch(image):
        yield Problem(field="image", message=_("The process runtime wants the name of a bundle, as in smollm2-135m."))
    if runtime == RuntimeName.PROCESS and clean.get("entrypoint"):
        message = _("A process has no image whose entry point could be replaced. Take it away.")
        yield Problem(field="entrypoint", message=message)
    path = clean.get("readiness_path")
    if path and (not path.startswith("/") or " " in path):
        yield Problem(field="readiness_path", message=_("A path begins with “/” and holds no space."))
    yield from _engine_problems(clean)


def _unknown_model(name: str, models: Collection[str]) -> str:
    if not name:
        return _("It is missing.")
    near = difflib.get_close_matches(name, models, n=3, cutoff=0.4)
    told = ", ".join(near) if near else _("none is near")
    return _("There is no model “%(name)s”. Near names: %(near)s.") % {"name": name, "near": told}


def _engine_problems(clean: Mapping[str, Any]) -> Iterator[Problem]:
    name, protocol = clean.get("engine"), clean.get("protocol")
    if not name:
        return
    try:
        engine = engine_named(name)
    except NotFoundError:
        known = ", ".join(engine_names())
        message = _("There is no engine “%(name)s”. Known engines: %(known)s.") % {
            "name": name,
            "known": known,
        }
        yield Problem(field="engine", message=message)
        return
    if protocol and protocol not in engine.protocols:
        message = _("%(engine)s does not speak %(protocol)s; it speaks %(spoken)s.") % {
            "engine": engine.title,
            "protocol": protocol,
            "spoken": ", ".join(engine.protocols),
        }
        yield Problem(field="protocol", message=message)
    if clean.get("runtime") == RuntimeName.PROCESS and clean.keys() >= REQUIRED:
        try:
            engine.process_command(ConfigValues.from_json(clean).serving_spec("new"))
        except LaunchError as error:
            yield Problem(field="runtime", message=str(error))
