"""Conditions on the scores of classes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimnp.errors import ConfigError
from vimnp.watch.conditions import Beginnings, Condition, parse_condition

LABELS = ("tabby, tabby cat", "a>b", "3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tabby>0.6", (0, ">", 0.6)),
        ("tabby, tabby cat >= .5", (0, ">=", 0.5)),
        ("a>b<1", (1, "<", 1.0)),
        ("a>b>0.25", (1, ">", 0.25)),
        (" 3 <= 0 ", (2, "<=", 0.0)),
        ("0>0.9", (0, ">", 0.9)),
    ],
)
def test_a_class_a_sign_and_a_score(text: str, expected: tuple[int, str, float]) -> None:
    found = parse_condition(text, LABELS, 3)
    assert (found.index, found.sign, found.bound) == expected


@pytest.mark.parametrize(
    "text", ["tabby", "tabby>", ">0.5", "tabby>1.5", "tabby>60%", "tabby=1", ""]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a class and a score from 0 to 1"):
        parse_condition(text, LABELS, 3)


def test_a_class_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no class 'dog'"):
        parse_condition("dog>0.5", LABELS, 3)


@given(st.text(max_size=30))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert 0 <= parse_condition(text, LABELS, 3).bound <= 1


@given(st.lists(st.floats(0, 1)))
def test_it_begins_once_until_it_has_not_held(scores: list[float]) -> None:
    above = Condition("0>0.5", 0, ">", 0.5)
    beginnings = Beginnings([above])
    found = [bool(beginnings.of({0: score})) for score in scores]
    before = [0.0, *scores]
    assert found == [last <= 0.5 < now for last, now in zip(before, scores, strict=False)]
