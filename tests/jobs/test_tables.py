"""Tables of pictures, in each kind of file."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from vimnp.errors import ConfigError
from vimnp.jobs.rows import Row
from vimnp.jobs.tables import write_table, writer_of

ROWS: list[Row] = [
    {
        "file": 'a, "b"\n.png',
        "predictions": [
            {"index": 3, "label": "cat; dog", "score": 0.75},
            {"index": 0, "label": None, "score": 0.125},
        ],
        "error": None,
    },
    {"file": "c.png", "predictions": None, "error": "is cut short"},
]
CELLS = [
    ['a, "b"\n.png', 3, "cat; dog", 0.75, 0, None, 0.125, None],
    ["c.png", None, None, None, None, None, None, "is cut short"],
]
COLUMNS = ["file", "index", "label", "score", "index_2", "label_2", "score_2", "error"]


def test_json_has_a_row_a_line(tmp_path: Path) -> None:
    write_table(tmp_path / "t.jsonl", ROWS, 2)
    assert [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()] == ROWS


def test_csv_has_columns_for_each_class(tmp_path: Path) -> None:
    write_table(tmp_path / "t.CSV", ROWS, 2)
    with open(tmp_path / "t.CSV", newline="", encoding="utf-8") as file:
        columns, *rows = csv.reader(file)
    assert columns == COLUMNS
    assert rows == [["" if cell is None else str(cell) for cell in row] for row in CELLS]


def test_parquet_has_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet is pyarrow's")
    write_table(tmp_path / "t.parquet", ROWS, 2)
    found = parquet.read_table(tmp_path / "t.parquet")
    assert found.column_names == COLUMNS
    assert [list(row.values()) for row in found.to_pylist()] == CELLS
    write_table(tmp_path / "none.parquet", [], 1)
    assert parquet.read_table(tmp_path / "none.parquet").num_rows == 0
    with pytest.raises(ConfigError, match=r"no Unicode.*\.csv"):
        write_table(tmp_path / "no.parquet", [{**ROWS[1], "file": "\udcff.png"}], 1)
    assert not (tmp_path / "no.parquet").exists()


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_names_need_not_be_unicode(ending: str, tmp_path: Path) -> None:
    write_table(tmp_path / f"t{ending}", [{**ROWS[1], "file": "\udcff.png"}], 1)
    assert {".csv": b"\xff.png", ".jsonl": b"\\udcff.png"}[ending] in (
        tmp_path / f"t{ending}"
    ).read_bytes()


def test_without_pyarrow_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'vimnp\[parquet\]'"):
        writer_of("t.parquet")


@pytest.mark.parametrize(("name", "words"), [("t.xlsx", "'.xlsx'"), ("table", "'nothing'")])
def test_other_files_are_refused_by_name(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}: ends in {words}; expected .*\.jsonl, \.csv"):
        writer_of(name)
