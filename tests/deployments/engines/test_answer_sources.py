"""Every transcribed answer says where it is from: the version, the file and the line of the engine's own source."""

from __future__ import annotations

import re

import pytest

from deployments.engines import engine_names
from tests.deployments.engines.contract import ANSWERS

VERSION = re.compile(r"\bv?\d+\.\d+|@[0-9a-f]{8}\b")
PLACE = re.compile(r"[\w./-]+\.\w+:\d+\b")
MISSING = "not found in the stored source"
NAME_COLUMN, TEXT_COLUMN = 4, 15
#: ComfyUI knows no key, and Ollama counts nothing beyond what /api/ps tells.
EXEMPT = {"comfyui": {"key"}, "ollama": {"metrics"}}
ENGINES = sorted(set(engine_names()) - {"custom"})


def header_of(engine: str) -> tuple[str, dict[str, str]]:
    """The title of an answers file's header and its sources: lines ``#   name   text`` and those that go on."""
    comments = (ANSWERS / f"{engine}.yaml").read_text(encoding="utf-8").split("\nprotocol:")[0].splitlines()
    sources: dict[str, str] = {}
    name = ""
    for line in comments[1:]:
        if not line.startswith("#   "):
            continue
        name = line[NAME_COLUMN:TEXT_COLUMN].strip() or name
        sources[name] = f"{sources.get(name, '')} {line[TEXT_COLUMN:]}".strip()
    return comments[0], sources


def is_sourced(title: str, source: str) -> bool:
    """Whether a source names a version (or its file's header does) and a line, or owns up to having none."""
    return MISSING in source or bool(PLACE.search(source) and (VERSION.search(title) or VERSION.search(source)))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_source_names_its_version_and_a_line(engine: str) -> None:
    title, sources = header_of(engine)
    assert [name for name, source in sources.items() if not is_sourced(title, source)] == []
    assert any(PLACE.search(source) for source in sources.values())


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_transcribed_has_a_source(engine: str) -> None:
    assert {"key", "metrics", "causes"} <= {*header_of(engine)[1]} | EXEMPT.get(engine, set())


@pytest.mark.parametrize(
    ("title", "source"),
    [
        ("# Sources, an engine:", "server/routes.py:12: no version anywhere"),
        ("# Sources, an engine v1.2.3:", "server/routes.py, a function without its line"),
        ("# Sources, an engine:", "server/routes.py @0123abcd, a function without its line"),
    ],
)
def test_half_a_source_is_none(title: str, source: str) -> None:
    assert not is_sourced(title, source)
