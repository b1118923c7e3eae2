"""What may stand in a config's arguments, environment and volumes: one check for each list."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from django.utils.translation import gettext as _

from .host_paths import host_path_problem
from .images import IMAGE_VARIABLES
from .secret_references import contains_token, is_secret_name, only_references, referred_names

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_OPTION_AND_VALUE = re.compile(r"--?[A-Za-z][\w-]*\s+\S")
KEY_OPTIONS = frozenset({"--api-key", "--api-keys", "--api-auth", "--hf-token"})
#: Set by the runtime for the GPUs that a deployment was given.
RESERVED_VARIABLES = frozenset({"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"})


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why a field was refused, or what is odd about it, in a sentence.

    ``item`` says where: the number of the line from 1, or the name of the variable.
    """

    field: str
    message: str
    item: int | str | None = None

    @property
    def sentence(self) -> str:
        """The message with the number of its line before it."""
        if isinstance(self.item, int):
            return _("Line %(number)d: %(message)s") % {"number": self.item, "message": self.message}
        return self.message


def argument_problems(arguments: Sequence[str], *, field: str = "arguments") -> Iterator[Problem]:
    """One problem for each argument that cannot be meant like this."""
    previous = ""
    for number, argument in enumerate(arguments, start=1):
        reason = _argument_reason(argument, previous)
        if reason:
            yield Problem(field=field, message=reason, item=number)
        previous = argument


def _argument_reason(argument: str, previous: str) -> str:
    option, equals, _value = argument.partition("=")
    if not argument.strip():
        return _("it is empty. Take it away.")
    if has_control_characters(argument):
        return _("it holds a line break or another control character. Write one argument a line.")
    if argument.strip().startswith("-") and argument != argument.strip():
        return _("“%(argument)s” has a space before or after it.") % {"argument": argument}
    if _OPTION_AND_VALUE.match(argument):
        return _("“%(argument)s” is an option and its value. Write them on two lines, or with “=” between them.") % {
            "argument": argument
        }
    if contains_token(argument) or previous in KEY_OPTIONS or (equals and option in KEY_OPTIONS):
        return _(
            "arguments are visible to everybody on the host. "
            "Give the key through the environment, as in NAME=${SECRET}."
        )
    return ""


def environment_problems(environment: Mapping[str, str]) -> Iterator[Problem]:
    """One problem for each variable with a wrong name or a secret written out."""
    for name, value in environment.items():
        reason = _variable_reason(name, value)
        if reason:
            yield Problem(field="environment", message=f"{name or '“”'}: {reason}", item=name)


def _variable_reason(name: str, value: str) -> str:
    if not VARIABLE.fullmatch(name):
        return _("a name has letters, digits and underscores, and begins with no digit.")
    if name in RESERVED_VARIABLES:
        return _("Berth sets it itself, for the GPUs that the deployment was given.")
    if has_control_characters(value, allowed="\n\t" if name in IMAGE_VARIABLES else ""):
        return _("the value holds a line break or another control character.")
    if contains_token(value) or (value and is_secret_name(name) and not only_references(value)):
        return _(
            "this looks like a secret. Write a reference such as %(reference)s and set the secret on the host."
        ) % {"reference": "${" + (name.upper() if is_secret_name(name) else "HF_TOKEN") + "}"}
    if "${" in value and value.count("${") != len(referred_names(value)):
        return _("a reference is written ${NAME}, with capitals, digits and underscores.")
    return ""


def volume_problems(volumes: Sequence[str]) -> Iterator[Problem]:
    """One problem for each volume that is neither ``name:/path`` nor an allowed folder, or whose path is taken."""
    targets: set[PurePosixPath] = set()
    for number, volume in enumerate(volumes, start=1):
        name, _colon, path = volume.removesuffix(":ro").partition(":")
        target = PurePosixPath(path)
        reason = ""
        if name.startswith((".", "~")):
            reason = _("write the whole path of a folder of the host, or name a volume.")
        elif name.startswith("/") and (refused := host_path_problem(name)):
            reason = refused
        elif not (name.startswith("/") or VOLUME_NAME.fullmatch(name)) or not path.startswith("/") or path == "/":
            reason = _("write name:/path, as in hf-cache:/root/.cache/huggingface.")
        elif ".." in target.parts or ":" in path or has_control_characters(path):
            reason = _("the path holds “..”, “:” or a control character.")
        elif target in targets:
            reason = _("another volume is mounted at %(path)s already.") % {"path": path}
        targets.add(target)
        if reason:
            yield Problem(field="volumes", message=reason, item=number)


def has_control_characters(text: str, *, allowed: str = "") -> bool:
    """Whether ``text`` holds a character below space, or DEL, that is not in ``allowed``."""
    return any((character < " " or character == "\x7f") and character not in allowed for character in text)
