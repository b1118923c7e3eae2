"""Which address a module of the pages has: bare names, so that hashed file names need no rewriting."""

from __future__ import annotations

import json
from functools import cache

from django.conf import settings
from django.contrib.staticfiles import finders
from django.templatetags.static import static

#: Bare names of browser libraries, mapped as far as they are installed.
LIBRARIES = {
    "marked": "vendor/marked/marked.esm.js",
    "dompurify": "vendor/dompurify/purify.es.mjs",
    "katex": "vendor/katex/katex.min.js",
    "highlight.js": "vendor/highlight/highlight.min.js",
    "highlight.js/dockerfile": "vendor/highlight/dockerfile.min.js",
    "uplot": "vendor/uplot/uPlot.esm.js",
}


def import_map_json() -> str:
    """The import map. ``<`` is escaped, so that no path can end the script element."""
    known = _find_modules() if settings.DEBUG else _modules()
    return json.dumps({"imports": known}).replace("<", "\\u003c")


@cache
def _modules() -> dict[str, str]:
    """The files do not change while the process runs."""
    return _find_modules()


def _find_modules() -> dict[str, str]:
    root = settings.BASE_DIR / "static" / "js"
    paths = (path.relative_to(root) for path in root.rglob("*.js"))
    own = {f"berth/{path.with_suffix('')}": f"js/{path}" for path in paths}
    libraries = {name: path for name, path in LIBRARIES.items() if finders.find(path)}
    return {name: static(path) for name, path in sorted({**own, **libraries}.items())}
