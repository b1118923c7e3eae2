"""The README says of each engine whether it was run for real or held against its contract only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deployments.engines import engine_named, engine_names
from tests.deployments.engines.contract import ANSWERS

ROOT = Path(__file__).resolve().parents[3]
READMES = ["README.md", "README.zh-CN.md"]


def rows(readme: str) -> dict[str, list[str]]:
    """The cells of each engine's row."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    found = re.search(r"^## (?:Engines|引擎)\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    lines = [line.strip("| ").split(" | ") for line in found[1].splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells for cells in lines}


@pytest.mark.parametrize("readme", READMES)
def test_every_engine_stands_in_the_table_with_its_key(readme: str) -> None:
    assert tuple(rows(readme)) == engine_names()
    for name, cells in rows(readme).items():
        key = engine_named(name).key_variable
        assert (f"`{key}`" in cells[3]) if key else ("`" not in cells[3])


@pytest.mark.parametrize("readme", READMES)
def test_what_is_prepared_after_the_start_is_told(readme: str) -> None:
    told = {name for name, cells in rows(readme).items() if cells[4] != "–"}
    assert told == {name for name in engine_names() if engine_named(name).prepares}


@pytest.mark.parametrize("name", sorted(set(engine_names()) - {"custom"}))
def test_every_engine_has_answers_with_their_sources_and_a_test_of_its_own(name: str) -> None:
    text = (ANSWERS / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Sources, ")
    module = Path(__file__).parent / f"test_{name.replace('.', '').replace('-', '')}_contract.py"
    assert f'name = "{name}"' in module.read_text(encoding="utf-8")
