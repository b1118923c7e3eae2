"""The sprite of outline icons."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from django.contrib.staticfiles import finders

SPRITE: Final = "icons/berth.svg"
_SYMBOL: Final = re.compile(r'<symbol id="([^"]+)" viewBox="([^"]+)" ([^>]+)>(.+?)</symbol>', re.DOTALL)


class Drawing(NamedTuple):
    """An icon's own SVG: its view box, the attributes that all of it shares, and its shapes."""

    view_box: str
    attributes: str
    shapes: str


@cache
def drawings() -> dict[str, Drawing]:
    """Those of the sprite, by name. Raises FileNotFoundError where Berth was copied without it."""
    found = finders.find(SPRITE)
    if found is None:
        raise FileNotFoundError(SPRITE)
    sprite = Path(found).read_text(encoding="utf-8")
    return {name: Drawing(*rest) for name, *rest in _SYMBOL.findall(sprite)}
