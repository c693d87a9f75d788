"""Which class somebody means."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimnp.errors import ConfigError
from vimnp.models.classes import as_target, class_index

LABELS = ("tabby, tabby cat", "crane", "crane, bird", "7", "tabby cat")


@pytest.mark.parametrize(
    ("target", "index"),
    [("tabby, tabby cat", 0), ("tabby", 0), ("tabby cat", 4), ("crane", 1), ("bird", 2), (3, 3)],
)
def test_an_index_a_label_or_one_of_its_names(target: int | str, index: int) -> None:
    assert class_index(target, LABELS, 5) == index


def test_a_name_of_several_classes_is_refused_by_their_labels() -> None:
    with pytest.raises(ConfigError, match=r"2 classes are called 'x'; expected 0 \('x, a'\) or 1 "):
        class_index("x", ("x, a", "x, b"), 2)


def test_a_name_of_none_is_refused_with_some_that_are_near() -> None:
    with pytest.raises(ConfigError, match="no class 'tabbi cat'; expected one such as 'tabby cat'"):
        class_index("tabbi cat", LABELS, 5)


def test_digits_are_a_label_first() -> None:
    assert as_target("7", LABELS) == "7"
    assert as_target("2", LABELS) == 2
    assert as_target("2", None) == 2


@given(st.text(alphabet="0123456789a ", min_size=1) | st.just("9" * 5000))
def test_any_text_is_a_class_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert 0 <= class_index(as_target(text, LABELS), LABELS, 5) < 5
