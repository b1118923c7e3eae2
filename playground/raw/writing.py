"""What all code of requests shares: the placeholder, the gateway's address, values as Python and as JSON."""

from __future__ import annotations

import json
import pprint
from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings

PLACEHOLDER: Final = "berth-YOUR-KEY"
_WIDTH: Final = 96


def gateway_address(path: str = "") -> str:
    """This installation's, as its users reach it."""
    return f"{settings.BERTH_GATEWAY_URL.rstrip('/')}{path}"


def as_python(value: object, column: int) -> str:
    """``value`` as Python writes it, whose lines begin at ``column``."""
    return indented(pprint.pformat(value, width=_WIDTH - column, sort_dicts=False), column)


def as_json(body: Mapping[str, Any]) -> str:
    """Written to be read."""
    return json.dumps(dict(body), indent=2, ensure_ascii=False)


def indented(text: str, columns: int) -> str:
    """Every line but the first further right."""
    return text.replace("\n", "\n" + " " * columns)
