"""JSON within bounds: what json.loads gives, or a ValueError, whatever the text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimnp.storage.json_text import DEEPEST, parse_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=values, ascii_only=st.booleans())
def test_what_is_json_is_parsed(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    try:
        encoded = text.encode()
    except UnicodeEncodeError:  # half a character
        encoded = json.dumps(value).encode()
    assert parse_json(text) == value
    assert parse_json(encoded) == value


@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_depth_is_bounded(begin, end):
    assert parse_json(begin * DEEPEST + "0" + end * DEEPEST)
    with pytest.raises(ValueError, match=f"nested more than {DEEPEST} deep"):
        parse_json(begin * (DEEPEST + 1) + "0" + end * (DEEPEST + 1))
    with pytest.raises(ValueError, match="nested more than"):
        parse_json(begin * 1_000_000)


def test_brackets_beside_each_other_and_in_text_are_not_nested():
    assert parse_json("[" + "[]," * 1000 + "[]]") == [[]] * 1001
    assert parse_json(json.dumps("[" * 1000 + '"' + "{" * 1000)) == "[" * 1000 + '"' + "{" * 1000
    assert parse_json(json.dumps(["\\", "[" * 100])) == ["\\", "[" * 100]


@pytest.mark.parametrize("text", ["", "nan", "[", "]", '"', '"\\', '"a" "b"', b"\xff", "]" * 99])
def test_what_is_not_json_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the parser's own words
        parse_json(text)


def test_text_without_an_end_takes_no_longer_than_its_length():
    """By its square, these would take hours."""
    for text in ('"' + '\\"' * 500_000, '"' * 500_001, '\\"' * 500_000):
        with pytest.raises(ValueError):  # noqa: PT011
            parse_json(text)
