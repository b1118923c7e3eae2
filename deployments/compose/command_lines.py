"""``entrypoint`` and ``command``: both forms, without keys, as the argv of a config."""

from __future__ import annotations

import shlex

from django.utils.translation import gettext as _

from deployments.config_items import KEY_OPTIONS, has_control_characters
from deployments.secret_references import contains_token

from .proposal import Draft
from .reading import refuse
from .tree import Items, Node, Scalar


def carry_command(draft: Draft) -> None:
    """Set ``entrypoint`` and ``arguments``. Raises ComposeError for quotes that are not closed."""
    entry = draft.service.entries.get("entrypoint")
    entrypoint = [] if entry is None else _argv(draft, entry.node)
    command = _argv(draft, draft.service.get("command"))
    if any(has_control_characters(part) for part in entrypoint + command):
        why = _("It is a script of several lines, and a config writes one argument a line.")
        instead = _("Put the script into the image, or write it as one line.")
        draft.leave("command" if command else "entrypoint", why, instead)
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


def _note(argv: list[str]) -> str:
    if argv[0].rpartition("/")[2] in {"sh", "bash", "dash"} and "-c" in argv:
        return _("It is a shell script: what it tells the engine is not looked into.")
    return ""


def _without_keys(draft: Draft, key: str, argv: list[str]) -> list[str]:
    """The argv without options that carry a key, each of which is listed by its name alone."""
    kept: list[str] = []
    dropped: list[str] = []
    position = 0
    while position < len(argv):
        argument = argv[position]
        option, equals, _value = argument.partition("=")
        position += 1
        if option in KEY_OPTIONS and (equals or position < len(argv)):
            dropped.append(option)
            # LMDeploy takes several keys behind one option.
            while not equals and position < len(argv) and not argv[position].startswith("-"):
                position += 1
        elif contains_token(argument):
            dropped.append(option if equals else _("an argument"))
            if not equals and kept and kept[-1].startswith("--") and "=" not in kept[-1]:
                dropped[-1] = kept.pop()
        else:
            kept.append(argument)
    for option in dropped:
        why = _("%(option)s holds a key, and arguments are visible to everybody on the host.") % {"option": option}
        instead = _(
            "Nothing: Berth makes a key for each deployment where the engine takes one through its environment."
        )
        draft.leave(key, why, instead)
    return kept
