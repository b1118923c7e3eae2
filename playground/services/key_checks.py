"""Whether scopes and limits of a key make sense."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import Final

from django.utils.translation import gettext as _

from deployments.exceptions import InvalidInputError
from deployments.models import CatalogueModel, Config
from playground.key_rules import EndpointKind, KeyRules

#: Fits the smallest column, and what Redis counts exactly.
MOST: Final = {"requests_per_minute": 2_000_000_000, "tokens_per_minute": 10**12, "tokens_per_day": 10**12}


def check_rules(rules: KeyRules, *, known: Collection[str] = ()) -> None:
    """Raise InvalidInputError naming the field. Names in ``known`` may have left the catalogue meanwhile."""
    for field, most in MOST.items():
        value = getattr(rules, field)
        if value is not None and not 1 <= value <= most:
            sentence = _("A limit is a number between 1 and %(most)s; leave it empty for none.") % {"most": f"{most:,}"}
            raise InvalidInputError(sentence, fields={field: [sentence]})
    unknown = sorted(set(rules.endpoints) - set(EndpointKind.values))
    if unknown:
        sentence = _("There is no kind of request called %(name)s. There are: %(known)s.")
        sentence %= {"name": unknown[0], "known": ", ".join(EndpointKind.values)}
        raise InvalidInputError(sentence, fields={"endpoints": [sentence]})
    _check_models(sorted(set(rules.models) - set(known)))


def _check_models(names: Sequence[str]) -> None:
    if not names:
        return
    existing = {
        *CatalogueModel.objects.values_list("name", flat=True),
        *Config.objects.filter(archived_at=None, is_draft=False).values_list("name", flat=True),
    }
    for name in names:
        if name not in existing:
            sentence = _("The catalogue has no model or config called %(name)s.") % {"name": name}
            if near := difflib.get_close_matches(name, existing, n=3, cutoff=0.5):
                sentence += " " + _("Did you mean %(names)s?") % {"names": ", ".join(near)}
            raise InvalidInputError(sentence, fields={"models": [sentence]})
