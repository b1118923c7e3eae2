"""What a page and the command line show of an import."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from deployments.compose.proposal import LeftOut, Proposal, Weight
from deployments.config_values import field_label

_ICONS = {Weight.DANGEROUS: "alert-circle", Weight.LOSS: "circle-minus", Weight.HARMLESS: "info-circle"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a list: the key of the file or the field, the value, a sentence."""

    key: str
    line: int | None = None
    label: str = ""
    value: str = ""
    sentence: str = ""
    icon: str = ""
    weight: str = ""


@dataclass(frozen=True, kw_only=True)
class ImportView:
    """The three lists, and what the form will ask for before it can be saved."""

    proposal: Proposal
    left_out: Sequence[Row]
    carried: Sequence[Row]
    guesses: Sequence[Row]
    questions: Sequence[Row]
    variables: Sequence[Row]

    @property
    def summary(self) -> str:
        """One sentence with the three numbers."""
        lost, dangerous = len(self.left_out), sum(row.weight == "dangerous" for row in self.left_out)
        carried = ngettext("%(n)d key is carried over", "%(n)d keys are carried over", len(self.carried))
        guessed = ngettext("%(n)d field is a guess", "%(n)d fields are guesses", len(self.guesses))
        left_out = ngettext("%(n)d thing is not carried over", "%(n)d things are not carried over", lost)
        told = {
            "carried": carried % {"n": len(self.carried)},
            "guessed": guessed % {"n": len(self.guesses)},
            "left": left_out % {"n": lost},
        }
        if not dangerous:
            return _("%(carried)s, %(guessed)s, %(left)s.") % told
        told["danger"] = ngettext("%(n)d of them dangerous", "%(n)d of them dangerous", dangerous) % {"n": dangerous}
        return _("%(carried)s, %(guessed)s, %(left)s, %(danger)s.") % told


def import_view(proposal: Proposal, *, models: Collection[str]) -> ImportView:
    """What is shown of a proposal; ``models`` are the names of the catalogue's models."""
    values = proposal.values
    return ImportView(
        proposal=proposal,
        left_out=[_left_out(item) for item in proposal.left_out],
        carried=[
            Row(
                key=item.key,
                line=item.line,
                label=field_label(item.field) if item.field else "",
                value=shown(item.field, values.get(item.field)) if item.field else "",
                sentence=item.note,
            )
            for item in proposal.carried
        ],
        guesses=[
            Row(key=item.field, label=field_label(item.field), value=shown(item.field, item.value), sentence=item.why)
            for item in proposal.guesses
        ],
        questions=_questions(proposal, models),
        variables=[Row(key=name, line=line) for name, line in proposal.variables.items()],
    )


def _left_out(item: LeftOut) -> Row:
    return Row(
        key=item.key,
        line=item.line,
        value=item.why,
        sentence=item.instead,
        icon=_ICONS[item.weight],
        weight=item.weight.name.lower(),
    )


def _questions(proposal: Proposal, models: Collection[str]) -> list[Row]:
    problems = proposal.checked(models=models).problems
    told = [(problem.field, problem.sentence) for problem in problems]
    if proposal.values.get("gpus") and "memory_gib" not in proposal.values:
        told.append(("memory_gib", _("No Compose file says it. Placement looks for so much before it starts.")))
    return [Row(key=name, label=field_label(name), sentence=sentence) for name, sentence in told]


def shown(name: str, value: Any) -> str:
    """A field's value as text: variables and volumes one a line, arguments as a shell takes them."""
    if isinstance(value, dict):
        return "\n".join(f"{variable}={text}" for variable, text in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(value) if name == "volumes" else shlex.join(value)
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return "" if value is None else str(value)
