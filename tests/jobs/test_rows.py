"""Rows of a table that is not complete."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimnp.errors import ConfigError
from vimnp.jobs.operation import Row
from vimnp.jobs.prediction import Predict
from vimnp.jobs.rows import Rows

PREDICT = Predict(1)


def good(file: str, index: int = 3) -> Row:
    return PREDICT.row(file, [{"index": index, "label": None, "score": 0.5}], None)


def bad(file: str) -> Row:
    return PREDICT.row(file, None, "is cut short")


def test_rows_are_read_again_in_any_order(tmp_path: Path) -> None:
    rows = [good("a"), bad("b"), good("\udcff\n", 10**6), good("d")]
    with Rows(tmp_path / "t.csv", PREDICT, {}) as first:
        first.add(rows[:2])
        first.add([])
        first.add(rows[2:])
    for kept in (first, Rows(tmp_path / "t.csv", PREDICT, {})):
        assert [*kept.of([row["file"] for row in rows])] == rows
        found = kept.of(["d", "b", "a"])
        assert [*found] == [*found] == [rows[3], rows[1], rows[0]]
        assert (len(found), found[1], found[-1]) == (3, rows[1], rows[0])
        assert [*found[1:]] == [rows[1], rows[0]]
        with pytest.raises(IndexError):
            found[3]
        assert [kept.has_result(file) for file in ("a", "b", "c")] == [True, False, False]


def test_a_picture_that_is_looked_at_again_has_its_last_row(tmp_path: Path) -> None:
    with Rows(tmp_path / "t.csv", PREDICT, {}) as kept:
        kept.add([bad("a"), good("b", 1)])
        kept.add([good("a"), good("b", 2)])
        assert [*kept.of(["a", "b"])] == [good("a"), good("b", 2)]
        assert kept.has_result("a")
    again = Rows(tmp_path / "t.csv", PREDICT, {})
    assert [*again.of(["a", "b"])] == [good("a"), good("b", 2)]


@given(st.integers(0, 400))
def test_a_file_that_was_cut_goes_on(cut: int) -> None:
    """Wherever the process ended."""

    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "t.csv")
        with Rows(table, PREDICT, {"more": 1}) as kept:
            kept.add([good("a"), bad("b"), good("c")])
        content = kept.path.read_bytes()
        kept.path.write_bytes(content[:cut])
        again = Rows(table, PREDICT, {"more": 1})
        whole = content[:cut].count(b"\n") - 1  # the first line is what rows depend on
        assert [again.has_result(file) for file in "ac"] == [whole >= 1, whole >= 3]
        with again:
            again.add([good("c", 7), good("d")])
        assert [*again.of(["c", "d"])] == [good("c", 7), good("d")]
        lines = kept.path.read_bytes().splitlines()
        assert all(map(json.loads, lines))
        assert len(lines) == max(whole, 0) + 3


def test_what_another_process_added_before_the_first_row_is_seen(tmp_path: Path) -> None:
    late = Rows(tmp_path / "t.csv", PREDICT, {})
    with Rows(tmp_path / "t.csv", PREDICT, {}) as fast:
        fast.add([good("a"), good("b")])
    with late:
        late.add([bad("c")])
        assert [*late.of(["c", "a", "b"])] == [bad("c"), good("a"), good("b")]


@pytest.mark.parametrize("row", [{}, [], {"file": "a"}, {**good("a"), "error": "none"}])
def test_other_rows_are_refused(row: object, tmp_path: Path) -> None:
    with Rows(tmp_path / "t.csv", PREDICT, {}) as kept:
        kept.add([good("b")])
    with open(kept.path, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(ConfigError, match=r"t\.csv\.part: line 3 is damaged"):
        Rows(tmp_path / "t.csv", PREDICT, {})
