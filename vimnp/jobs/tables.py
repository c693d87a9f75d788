"""Tables of pictures: JSON a line each, CSV, or Parquet, by the name of the file."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from typing import IO, Any

from vimnp.errors import ConfigError
from vimnp.jobs.operation import Row
from vimnp.jobs.parquet import as_unicode, import_pyarrow
from vimnp.storage.files import whole_file

_OTHERS = ".jsonl or .csv"  # beside Parquet

_Write = Callable[[IO[bytes], Sequence[Row], int], None]


def writer_of(path: str | os.PathLike[str]) -> _Write:
    """What writes such a file: looked for before hours of work.

    Raises
    ------
    ConfigError
        If the name ends in none of ``.jsonl``, ``.csv`` and ``.parquet``, or pyarrow is missing.
    """
    ending = os.path.splitext(os.fspath(path))[1].lower()
    writer = _WRITERS.get(ending)
    if writer is None:
        raise ConfigError(
            f"{os.fspath(path)}: ends in {ending or 'nothing'!r}; expected the name of a table, "
            f"which ends in {', '.join(_WRITERS)}"
        )
    if writer is _write_parquet:
        import_pyarrow(_OTHERS)
    return writer


def write_table(path: str | os.PathLike[str], rows: Sequence[Row], top_k: int) -> None:
    """Write all rows, whole or not at all.

    In CSV and Parquet there are columns ``file`` and ``error``, and for each of `top_k` classes
    ``index``, ``label`` and ``score``, from the second on with its number: ``index_2``.

    Raises
    ------
    ConfigError
        As from :func:`writer_of`, or if a file's name is no Unicode and the table takes no other.
    OSError
        If the file cannot be written.
    """
    write = writer_of(path)
    with whole_file(path) as file:
        write(file, rows, top_k)


def _write_json(file: IO[bytes], rows: Sequence[Row], top_k: int) -> None:
    for row in rows:
        file.write(json.dumps(row).encode() + b"\n")  # ASCII: names need not be Unicode


def _write_csv(file: IO[bytes], rows: Sequence[Row], top_k: int) -> None:
    text = io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="")
    table = csv.writer(text)
    table.writerow(_columns(top_k))
    table.writerows(_cells(row, top_k) for row in rows)
    text.flush()
    text.detach()


def _write_parquet(file: IO[bytes], rows: Sequence[Row], top_k: int) -> None:
    pyarrow, parquet = import_pyarrow(_OTHERS)
    kinds = {"index": pyarrow.int32(), "score": pyarrow.float64()}
    names = _columns(top_k)
    cells = list(zip(*(_cells(row, top_k) for row in rows), strict=True)) or [()] * len(names)

    def make() -> list[Any]:
        return [
            pyarrow.array(column, kinds.get(name.partition("_")[0], pyarrow.string()))
            for name, column in zip(names, cells, strict=True)
        ]

    arrays = as_unicode(make, _OTHERS)
    parquet.write_table(pyarrow.table(arrays, names=names), file)


_WRITERS: dict[str, _Write] = {
    ".jsonl": _write_json,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}


def _columns(top_k: int) -> list[str]:
    found = ["file"]
    for place in range(top_k):
        ending = f"_{place + 1}" if place else ""
        found += [f"index{ending}", f"label{ending}", f"score{ending}"]
    return [*found, "error"]


def _cells(row: Row, top_k: int) -> list[Any]:
    found = [row["file"]]
    predictions = row["predictions"] or []
    for place in range(top_k):
        best = predictions[place] if place < len(predictions) else {}
        found += [best.get("index"), best.get("label"), best.get("score")]
    return [*found, row["error"]]
