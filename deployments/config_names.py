"""Which names a config or a model may have. A name stands in addresses, labels and requests, and never changes."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from .models import CatalogueModel, Config

#: Names that the address of a page needs for itself.
RESERVED = frozenset({"new"})
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]*")


def check_config_name(name: str) -> list[str]:
    """Why a config may not have this name; empty when it may."""
    if name in RESERVED:
        return [_("“%(name)s” is the address of a page. Choose another name.") % {"name": name}]
    try:
        Config._meta.get_field("name").clean(name, None)
    except ValidationError as error:
        return error.messages
    return []


def check_model_name(name: str) -> list[str]:
    """Why a model may not have this name; empty when it may."""
    try:
        CatalogueModel._meta.get_field("name").clean(name, None)
    except ValidationError as error:
        return error.messages
    if name in RESERVED:
        return [_("“%(name)s” is the address of a page. Choose another name.") % {"name": name}]
    if not _MODEL_NAME.fullmatch(name):
        return [_("Use letters, digits, spaces, dots, dashes, plus and underscores; begin with a letter or digit.")]
    return []
