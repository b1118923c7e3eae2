"""The table of support is whole: every engine, and for every row a source with its version and the day it was read."""

from __future__ import annotations

from datetime import date

import pytest

from deployments.deliveries.quantisations import PLAIN, quantisation_of
from deployments.deliveries.requirement import AskedProtocol, Task
from deployments.deliveries.support import About, EngineSupport, SupportRow, SupportSource, support_table
from deployments.deliveries.support_words import NOTES
from deployments.engines import engine_names

SOURCE = SupportSource(title="A document", url="https://example.org", version="1", read=date(2026, 11, 28))
#: Everything that a server must be judged by.
JUDGED = {About.TASK, About.PROTOCOL, About.ARCHITECTURE, About.QUANTISATION, About.LICENCE}


def test_every_engine_but_the_custom_one_is_in_it() -> None:
    assert {engine.name for engine in support_table()} == set(engine_names()) - {"custom"}


@pytest.mark.parametrize("engine", support_table(), ids=lambda engine: engine.name)
def test_every_row_has_a_source_and_says_something(engine: EngineSupport) -> None:
    assert {row.about for row in engine.rows} >= JUDGED
    for row in engine.rows:
        assert row.yes or row.no
        assert row.source.title
        assert row.source.version
        assert row.source.url.startswith("https://")
        assert date(2026, 1, 1) <= row.source.read
        assert not row.note or row.note in NOTES


@pytest.mark.parametrize("engine", support_table(), ids=lambda engine: engine.name)
def test_tasks_protocols_and_quantisations_are_ones_that_a_requirement_can_name(engine: EngineSupport) -> None:
    for row in engine.about(About.TASK):
        assert {*row.yes, *row.no} <= set(Task.values)
    for row in engine.about(About.PROTOCOL):
        assert {*row.yes, *row.no} <= set(AskedProtocol.values)
    for row in engine.about(About.QUANTISATION):
        for method in (*row.yes, *row.no):
            assert method == PLAIN or quantisation_of(method).method == method


def test_no_value_is_answered_twice() -> None:
    for engine in support_table():
        said = [(row.about, value) for row in engine.rows for value in (*row.yes, *row.no)]
        assert len(said) == len(set(said)), engine.name


def _engine(*rows: tuple[list[str], list[str], bool]) -> EngineSupport:
    made = [
        SupportRow(about=About.TASK, yes=yes, no=no, others_no=others_no, note="", source=SOURCE)
        for yes, no, others_no in rows
    ]
    return EngineSupport(name="one", rows=made)


@pytest.mark.parametrize(
    ("engine", "value", "supported"),
    [
        (_engine((["text"], [], False)), "TEXT", True),
        (_engine((["text"], ["image"], False)), "image", False),
        (_engine((["text"], [], False)), "image", None),
        (_engine((["text"], [], True)), "image", False),
        (_engine((["text"], [], True), (["image"], [], False)), "image", True),
        (_engine(), "text", None),
    ],
)
def test_what_is_not_named_is_not_known_unless_a_row_closes_the_list(
    engine: EngineSupport, value: str, supported: bool | None
) -> None:
    assert engine.answer(About.TASK, value).supported is supported


@pytest.mark.parametrize(
    ("name", "method", "gb_of_70b"),
    [
        ("", PLAIN, 140),
        ("BF16", PLAIN, 140),
        ("fp8", "fp8", 70.875),
        ("FP8-dynamic", "fp8", 70.875),
        ("awq-int4-g128", "awq", 39.8125),
        ("GPTQ-Int4", "gptq", 39.8125),
        ("Q4_K_M", "gguf", 42.826),
        ("Q4_1", "gguf", 43.75),
        ("IQ2_XXS", "gguf", None),
        ("gguf-q8_0", "gguf", 74.382),
        ("gguf", "gguf", None),
        ("w8a8", "int8", 70.875),
        ("exl2", "exl2", None),
    ],
)
def test_names_of_quantisations_are_understood(name: str, method: str, gb_of_70b: float | None) -> None:
    found = quantisation_of(name)
    assert found.method == method
    assert found.weights_gb(70) == (None if gb_of_70b is None else pytest.approx(gb_of_70b))
    assert found.weights_gb(None) is None


@pytest.mark.parametrize(("parameters_b", "gb"), [(111.2, 61.5), (72.7, 41.6), (70.6, 39.8)])
def test_the_sizes_of_quantised_weights_are_near_what_hubs_hold(parameters_b: float, gb: float) -> None:
    assert quantisation_of("awq").weights_gb(parameters_b) == pytest.approx(gb, rel=0.03)
