"""``entrypoint`` and ``command``: both forms, without keys, as the argv of a config."""

from __future__ import annotations

import re
import shlex

from django.utils.translation import gettext as _

from deployments.config_items import KEY_OPTIONS, has_control_characters
from deployments.secret_references import contains_token

from .environment import CREDENTIALS_IN_ADDRESS
from .proposal import Draft
from .reading import refuse
from .tree import Items, Node, Scalar

_OPTION = re.compile(r"--?[A-Za-z][\w-]*")
_KEY_NAME = r"(?:[\w-]*-)?(?:(?:api|access)[-_]?keys?|password|passwd|secret|auth|(?:auth|access|hf|hub)[-_]token)"
_KEY_OPTION = re.compile(rf"--?{_KEY_NAME}")
#: Such an option within a longer text, with a value that is no variable.
_KEY_IN_SCRIPT = re.compile(rf"\s--?{_KEY_NAME}[\s=]+[^\s$-]")


def carry_command(draft: Draft) -> None:
    """Set ``entrypoint`` and ``arguments``. Raises ComposeError for quotes that are not closed."""
    entry = draft.service.entries.get("entrypoint")
    entrypoint = [] if entry is None else _argv(draft, entry.node)
    command = _argv(draft, draft.service.get("command"))
    if refusal := _refusal(draft, entrypoint + command):
        draft.leave("command" if command else "entrypoint", *refusal)
        return
    cleared = entry is not None and not entrypoint and not (isinstance(entry.node, Scalar) and entry.node.is_null)
    if cleared:
        # An empty list takes the image's own entry point away: the command's first word is the program.
        entrypoint, command = command[:1], command[1:]
    for key, name, argv in (("entrypoint", "entrypoint", entrypoint), ("command", "arguments", command)):
        if argv:
            shown = key if key in draft.service.entries else "command"
            draft.carry(shown, name, _without_keys(draft, shown, argv), note=_note(argv))


def _argv(draft: Draft, node: Node | None) -> list[str]:
    """The words of a command; a text is split as a shell splits it, after its variables are filled in."""
    if isinstance(node, Items):
        return [draft.text(item) for item in node.nodes if isinstance(item, Scalar)]
    if not isinstance(node, Scalar) or node.is_null:
        return []
    try:
        # A shell takes a backslash at the end of a line and the line break for nothing.
        return shlex.split(draft.text(node).replace("\\\n", " "))
    except ValueError as error:
        raise refuse(node.line, _("the command has a quote that is not closed. Close it.")) from error


def _refusal(draft: Draft, argv: list[str]) -> tuple[str, str] | None:
    """Why a command is not carried over at all, and what instead."""
    if any(has_control_characters(part) for part in argv):
        why = _("It is a script of several lines, and a config writes one argument a line.")
        return why, _("Put the script into the image, or write it as one line.")
    if not draft.is_own and any(_KEY_IN_SCRIPT.search(part) for part in argv):
        why = _("It is a script with a key in it, and arguments are visible to everybody on the host.")
        return why, _("Write the command without the script, or take the key away.")
    return None


def _note(argv: list[str]) -> str:
    if argv[0].rpartition("/")[2] in {"sh", "bash", "dash"} and "-c" in argv:
        return _("It is a shell script: what it tells the engine is not looked into.")
    return ""


def _without_keys(draft: Draft, key: str, argv: list[str]) -> list[str]:
    """The argv without options that carry a key, each of which is listed by its name alone."""
    kept: list[str] = []
    position = 0
    while position < len(argv):
        argument, following = argv[position], argv[position + 1 :]
        option, equals, _value = argument.partition("=")
        position += 1
        if _carries_key(draft, argument, following):
            _leave_key(draft, key, option)
            # LMDeploy takes several keys behind one option.
            while not equals and position < len(argv) and not argv[position].startswith("-"):
                position += 1
        elif _is_key(draft, argument):
            belongs_to = kept.pop() if not equals and kept and _OPTION.fullmatch(kept[-1]) else ""
            _leave_key(draft, key, belongs_to or (option if equals else _("an argument")))
        else:
            kept.append(argument)
    return kept


def _carries_key(draft: Draft, argument: str, following: list[str]) -> bool:
    """Whether an argument is an option whose value, of whatever form, is a key."""
    option, equals, _value = argument.partition("=")
    if option in KEY_OPTIONS:
        return bool(equals or following)
    has_value = equals or (following and not following[0].startswith("-"))
    return bool(not draft.is_own and has_value and _KEY_OPTION.fullmatch(option))


def _is_key(draft: Draft, argument: str) -> bool:
    """Whether a key stands in an argument. Addresses with passwords count, but for what Berth itself wrote."""
    return contains_token(argument) or (not draft.is_own and CREDENTIALS_IN_ADDRESS.search(argument) is not None)


def _leave_key(draft: Draft, key: str, option: str) -> None:
    why = _("%(option)s holds a key, and arguments are visible to everybody on the host.") % {"option": option}
    instead = _("Nothing: Berth makes a key for each deployment where the engine takes one through its environment.")
    draft.leave(key, why, instead)
