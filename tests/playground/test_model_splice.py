"""The model's name is replaced in place, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.gateway.model_splice import splice_model

MEMBER = b'"stream_options":{"include_usage":true},'
WORDS = st.sampled_from(["model", '"model"', '"model":"x"', "\\", "m", "", "模型", "\\u006dodel", "\ud800"])
VALUES = st.recursive(
    WORDS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@given(
    content=st.dictionaries(WORDS, VALUES, max_size=5),
    model=WORDS,
    at=st.integers(0, 5),
    options=st.fixed_dictionaries({"indent": st.sampled_from([None, 1]), "ensure_ascii": st.booleans()}),
    member=st.sampled_from([b"", MEMBER]),
)
def test_what_is_spliced_means_the_same_but_for_the_model(
    content: dict[str, Any], model: str, at: int, options: dict[str, Any], member: bytes
) -> None:
    items = [item for item in content.items() if item[0] not in ("model", "stream_options")]
    sent = dict([*items[:at], ("model", model), *items[at:]])
    raw = json.dumps(sent, **options).encode("utf-8", "surrogatepass")
    spliced = splice_model(raw, 'new "name" 你', member)
    if spliced is not None:
        expected = {**sent, "model": 'new "name" 你'}
        if member:
            expected = {"stream_options": {"include_usage": True}, **expected}
        got = json.loads(spliced.decode("utf-8", "surrogatepass"))
        assert got == expected
        assert list(got) == list(expected)


@pytest.mark.parametrize(
    ("raw", "spliced"),
    [
        (b'{"model":"a"}', b'{"model":"new"}'),
        (b' {\n "temperature": 2.50, "model" :\t"a\\"b\\u00e9" }', b' {\n "temperature": 2.50, "model" :\t"new" }'),
        (
            bytearray(b'{"messages":"\\"model\\":\\"x\\"","model":"a"}'),
            b'{"messages":"\\"model\\":\\"x\\"","model":"new"}',
        ),
        # Two, or one that is not the key.
        (b'{"model":"a","x":{"model":"b"}}', None),
        (b'{"model":"a","model":"b"}', None),
        (b'{"x":"model","model":"b"}', None),
        (b'{"\\u006dodel":"a","x":{"model":"a"}}', None),
        (b'{"mo\\u0064el":"a","x":{"model":"a"}}', None),
    ],
)
def test_only_a_plain_place_is_spliced(raw: bytes, spliced: bytes | None) -> None:
    assert splice_model(raw, "new", b"") == spliced
