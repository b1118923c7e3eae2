"""Finding and replacing the model in a body without parsing the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playground.gateway.large_json import LargeJsonError, find_model

values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("model"), inner, max_size=4),
    max_leaves=20,
)


@given(
    content=st.dictionaries(st.text() | st.just("model"), values, max_size=6),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
)
@settings(deadline=None)
def test_it_finds_what_the_json_parser_finds(content: dict[str, Any], indent: int | None, ascii_only: bool) -> None:
    raw = json.dumps(content, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    spans = find_model(raw)
    assert spans.value == content.get("model")
    replaced = json.loads(spans.replaced(raw, b'"new"'))
    assert replaced == ({**content, "model": "new"} if "model" in content else content)


@given(content=st.dictionaries(st.text(), values, max_size=4), cut=st.floats(0, 0.999))
@settings(deadline=None)
def test_a_body_cut_short_is_refused(content: dict[str, Any], cut: float) -> None:
    raw = json.dumps(content).encode()
    with pytest.raises(LargeJsonError):
        find_model(raw[: int(len(raw) * cut)])


def test_every_place_of_a_repeated_key_is_replaced() -> None:
    raw = rb'{"model": "a", "\u006dodel": "b", "deep": {"model": "c"}}'
    spans = find_model(raw)
    assert spans.value == "b"
    assert spans.replaced(raw, b'"n"') == rb'{"model": "n", "\u006dodel": "n", "deep": {"model": "c"}}'


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'"x"',
        b"{",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b'{"a":[}',
        b'{"a":1} x',
        b"{,}",
        b'{"a":{"b":[}]}',
    ],
)
def test_what_is_not_an_object_is_refused(raw: bytes) -> None:
    with pytest.raises(LargeJsonError, match="at byte"):
        find_model(raw)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(LargeJsonError):
        find_model(b'{"a":' + b"[" * 100_000)
