"""``environment``: both forms. A secret is never kept, only a reference to one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deployments.config_items import RESERVED_VARIABLES, VARIABLE, has_control_characters
from deployments.images import IMAGE_VARIABLES
from deployments.secret_references import REFERENCE, contains_token, is_secret_name

from .interpolation import Piece
from .proposal import Draft, Weight
from .tree import Entry, Items, Node, Scalar, Table

#: What programs call the token of the model hub; on a host of Berth it is ``HF_TOKEN``.
HUB_TOKENS = frozenset(
    {
        "HF_TOKEN",
        "HF_API_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HUGGINGFACE_HUB_TOKEN",
        "HUGGINGFACEHUB_API_TOKEN",
        "HUGGINGFACE_TOKEN",
    }
)
CREDENTIALS_IN_ADDRESS = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_REFERENCE_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
#: The runtime's own: which GPUs a container sees. :mod:`deployments.compose.devices` counts them.
_GPU_CHOICES = RESERVED_VARIABLES


_DO_WITHOUT = gettext_lazy(
    "Take the variable away if the model does without it: the reference was kept, and cannot start."
)


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A variable of the service. Without ``value`` it is passed on from whoever starts it."""

    name: str
    value: Scalar | None
    line: int


def variables_of(service: Table) -> Iterator[Variable]:
    """The variables of a service in either form."""
    node = service.get("environment")
    if isinstance(node, Table):
        for name, entry in node.entries.items():
            yield Variable(name=name, value=_scalar(entry), line=entry.line)
    for item in node.nodes if isinstance(node, Items) else ():
        if isinstance(item, Scalar):
            name, equals, value = item.text.partition("=")
            scalar = Scalar(text=value, line=item.line, plain=False) if equals else None
            yield Variable(name=name.strip(), value=scalar, line=item.line)


def _scalar(entry: Entry) -> Scalar | None:
    node: Node = entry.node
    return node if isinstance(node, Scalar) and not node.is_null else None


def variable(draft: Draft, name: str) -> str:
    """The value of a variable, as the last line that names it says; empty when there is none."""
    found = ""
    for item in variables_of(draft.service):
        if item.name == name and item.value is not None:
            found = draft.text(item.value, note_missing=False)
    return found


def carry_environment(draft: Draft) -> None:
    """Set ``environment``."""
    kept: dict[str, str] = {}
    for item in variables_of(draft.service):
        kept.pop(item.name, None)  # the last line that names it counts
        if refused := _refusal(draft, item):
            why, instead, weight = refused
            draft.leave(_key(item), why, instead, weight=weight, line=item.line)
        elif (value := _value(draft, item)) is not None:
            kept[item.name] = value
    if kept:
        draft.carry("environment", "environment", dict(sorted(kept.items())))


def _key(item: Variable) -> str:
    return f"environment: {item.name[:60]}" if not contains_token(item.name) else "environment"


def _refusal(draft: Draft, item: Variable) -> tuple[str, str, Weight] | None:
    """Why a variable is not carried over whatever it holds, and what instead."""
    if contains_token(item.name):
        why = _("A secret stands in the place of a name.")
        return why, _("Write NAME=value. Change the secret if others could read the file."), Weight.LOSS
    if not VARIABLE.fullmatch(item.name):
        return _("Its name has characters other than letters, digits and “_”."), _("Rename it."), Weight.LOSS
    if item.name in _GPU_CHOICES:
        why = _("Berth sets it itself, for the GPUs that the deployment was given.")
        return why, _("Nothing: the number of GPUs is what the config says."), Weight.HARMLESS
    if item.name == draft.engine.key_variable and not draft.is_own:
        why = _("Berth makes a key for each deployment and gives it through this variable.")
        return why, _("Nothing: people get keys of the gateway."), Weight.HARMLESS
    return None


def _value(draft: Draft, item: Variable) -> str | None:
    """The value as a config writes it; None when there is none to be had, which is listed."""
    scalar = item.value or Scalar(text=f"${{{item.name}}}", line=item.line)
    pieces = draft.variables.pieces(scalar)
    literal = "".join(piece.text for piece in pieces if not piece.is_reference)
    if _is_secret(item.name, literal, draft):
        value = f"${{{_reference(item.name, literal)}}}"
        why = _("A secret was written out here, and it was not kept: the config refers to %(reference)s.")
        instead = _("Set it on the host. Change the secret if others could read the file.")
        if unknown := _unknown(draft, value):
            instead = unknown + " " + _DO_WITHOUT
        draft.leave(_key(item), why % {"reference": value}, str(instead), line=item.line)
        return value
    value = "".join(_written(piece, draft) for piece in pieces)
    if why := _fault(item.name, literal, value):
        draft.leave(_key(item), why, _("Give the value in another way, as in a file of the image."), line=item.line)
        return None
    if draft.is_own:
        return value
    missing = [piece for piece in pieces if piece.is_reference and not _is_secret_reference(piece.text, item.name)]
    if missing:
        draft.variables.note_missing(missing, item.line)
        why = _("%(names)s has no value here.") % {"names": ", ".join(map(str, missing))}
        draft.leave(_key(item), why, _("Give it under Variables."), line=item.line)
        return None
    if unknown := _unknown(draft, value):
        draft.leave(_key(item), unknown, str(_DO_WITHOUT), line=item.line)
    return value


def _fault(name: str, literal: str, value: str) -> str:
    """Why a config cannot hold a value; empty when it can."""
    if "${" in literal:
        return _("Its value holds “${” as text, which a config takes for a reference.")
    if has_control_characters(value, allowed="\n\t\r" if name in IMAGE_VARIABLES else ""):
        return _("Its value holds a line break or another control character.")
    return ""


def _is_secret(name: str, literal: str, draft: Draft) -> bool:
    """Whether a literal secret stands in a value. Addresses with passwords count, but for what Berth itself wrote."""
    if contains_token(literal) or (not draft.is_own and CREDENTIALS_IN_ADDRESS.search(literal)):
        return True
    return is_secret_name(name) and literal.strip() not in {"", "Bearer", "Basic", "Token"}


def _reference(name: str, literal: str = "") -> str:
    """The secret that stands in for a variable's value."""
    if name.upper() in HUB_TOKENS or (literal.startswith("hf_") and not is_secret_name(name)):
        return "HF_TOKEN"
    return name.upper() if _REFERENCE_NAME.fullmatch(name.upper()) else f"SECRET_{name.upper().lstrip('_')}"


def _written(piece: Piece, draft: Draft) -> str:
    if not piece.is_reference or draft.is_own:
        return str(piece)
    return f"${{{_reference(piece.text)}}}"


def _unknown(draft: Draft, value: str) -> str:
    """A sentence that names references to secrets which this host cannot have: a start would be refused."""
    unknown = [name for name in REFERENCE.findall(value) if name not in draft.known_secrets]
    if not unknown or draft.is_own:
        return ""
    told = {"names": ", ".join(unknown), "known": ", ".join(sorted(draft.known_secrets)) or "–"}
    return _("%(names)s is a secret that this host does not know. It knows: %(known)s.") % told


def _is_secret_reference(referred: str, variable_name: str) -> bool:
    return is_secret_name(referred) or is_secret_name(variable_name) or referred in HUB_TOKENS
