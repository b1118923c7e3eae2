"""Refuses a second name of the model: engines in Go read members without regard to case, and the last one counts.

So ``{"model": "…", "Model": "…"}`` would be checked, limited and routed by the one and answered by the other, whatever
Ollama or LocalAI have on their disk (encoding/json, Unmarshal).
"""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext_lazy as _

from playground.exceptions import BadRequestError


def is_other_spelling(name: str) -> bool:
    """Whether ``name`` is ``model`` but for its case."""
    return len(name) == 5 and name != "model" and name.casefold() == "model"


def refuse_other_spellings(names: Iterable[str]) -> None:
    """Raise BadRequestError for a member that some engines take for ``model``."""
    for name in names:
        if is_other_spelling(name):
            raise BadRequestError(
                _("Some engines would take '%(name)s' for 'model'. Leave it out."), param=name, name=name
            )
