"""Serves the few files that pages use out of ``node_modules``, under ``vendor/``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage

from .environment import BASE_DIR

NODE_MODULES = BASE_DIR / "node_modules"
#: Public path -> path below node_modules.
FILES = {
    "vendor/tabler/tabler.min.css": "@tabler/core/dist/css/tabler.min.css",
    "vendor/marked/marked.esm.js": "marked/lib/marked.esm.js",
    "vendor/dompurify/purify.es.mjs": "dompurify/dist/purify.es.mjs",
    "vendor/katex/katex.min.js": "katex/dist/katex.min.js",
    "vendor/highlight/highlight.min.js": "@highlightjs/cdn-assets/es/highlight.min.js",
    "vendor/highlight/dockerfile.min.js": "@highlightjs/cdn-assets/es/languages/dockerfile.min.js",
    "vendor/highlight/github.min.css": "@highlightjs/cdn-assets/styles/github.min.css",
    "vendor/highlight/github-dark.min.css": "@highlightjs/cdn-assets/styles/github-dark.min.css",
    "vendor/uplot/uPlot.esm.js": "uplot/dist/uPlot.esm.js",
    "vendor/uplot/uPlot.min.css": "uplot/dist/uPlot.min.css",
    # The three name their source maps, and the manifest storage insists on them.
    "vendor/tabler/tabler.min.css.map": "@tabler/core/dist/css/tabler.min.css.map",
    "vendor/marked/marked.esm.js.map": "marked/lib/marked.esm.js.map",
    "vendor/dompurify/purify.es.mjs.map": "dompurify/dist/purify.es.mjs.map",
}


class _Renaming(FileSystemStorage):
    """A read-only storage whose names are the public paths."""

    def path(self, name: str) -> str:
        return str(NODE_MODULES / FILES[name])


class BrowserLibraryFinder(BaseFinder):
    """Finds exactly the files of :data:`FILES`."""

    storage = _Renaming(location=NODE_MODULES)

    def check(self, **kwargs: Any) -> list[Any]:
        return []

    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Django says so
        source = FILES.get(path)
        if source is None or not (NODE_MODULES / source).is_file():
            return []
        found = str(NODE_MODULES / source)
        return [found] if find_all else found

    def list(self, ignore_patterns: Any) -> Iterator[tuple[str, FileSystemStorage]]:
        for name in FILES:
            if Path(self.storage.path(name)).is_file():
                yield name, self.storage
