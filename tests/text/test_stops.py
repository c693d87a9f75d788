"""Stop strings in a text that comes in pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimnp.errors import ConfigError
from vimnp.text.stops import StopStrings, checked_stops

TEXT = st.text(alphabet="ab", max_size=12)
STOPS = st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=3)


def cut_before_a_stop(text: str, stops: list[str]) -> tuple[str, str | None]:
    """Character by character: the first end of a stop string, and of several the longest."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            longest = max(found, key=len)
            return text[: end - len(longest)], longest
    return text, None


@given(TEXT, STOPS, st.lists(st.integers(0, 12), max_size=6))
def test_a_text_ends_before_a_stop_string_however_it_is_cut(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    given_on = StopStrings(stops)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]
    told = ""
    expected, found = cut_before_a_stop(text, stops)
    for piece in pieces:
        told += given_on.push(piece)
        assert expected.startswith(told)  # nothing is told that a stop string takes back
    assert (told + given_on.finish(), given_on.found) == (expected, found)


@given(TEXT, STOPS)
def test_only_what_may_begin_a_stop_string_is_held_back(text: str, stops: list[str]) -> None:
    given_on = StopStrings(stops)
    told = "".join(given_on.push(character) for character in text)
    if given_on.found is None:
        held = text[len(told) :]
        assert text.startswith(told)
        assert not held or any(stop.startswith(held) for stop in stops)


def test_after_a_stop_string_nothing_is_told() -> None:
    given_on = StopStrings(checked_stops(["\n\n"]))
    assert [given_on.push(piece) for piece in ("a\n", "b\n", "\nc", "d")] == ["a", "\nb", "", ""]
    assert (given_on.finish(), given_on.found) == ("", "\n\n")


def test_what_is_no_stop_string_is_refused() -> None:
    assert checked_stops(None) == ()
    assert checked_stops("ab") == ("ab",)
    assert checked_stops(iter(["a", "b"])) == ("a", "b")
    for wrong in ("", [""], ["a", 3], [b"a"], [None]):
        with pytest.raises(ConfigError, match=r"stop has .*; expected texts"):
            checked_stops(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="stop is 3; expected text, or a list"):
        checked_stops(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at most 64"):
        checked_stops(["a"] * 65)
