"""``vimnp predict`` of many pictures, into a table."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vimnp
from tests.support.commands import Command, assert_refused
from tests.support.digits import SCANS, write_scans
from vimnp.jobs import prediction
from vimnp.models.vision import VisionModel


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_scans(tmp_path / "pictures")


def rows_of(path: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({row["file"] for row in rows}) == len(rows)
    return {row["file"]: row for row in rows}


def test_a_folder_becomes_a_table(pictures: Path, tmp_path: Path, command: Command) -> None:
    table = tmp_path / "classes.jsonl"
    run = command("predict", pictures, "--output", table, "--batch", 3, "--top-k", 2)
    assert (run.code, run.out) == (2, "")
    assert "1 of 11 pictures have no classes" in run.err
    rows = rows_of(table)
    assert len(rows) == len(SCANS) + 1
    model = vimnp.load("digits")
    for file, row in rows.items():
        if file.endswith("damaged.png"):
            assert row["predictions"] is None
            assert "truncated" in row["error"] or "cut short" in row["error"]
            continue
        best = model.predict(file, top_k=2)
        assert [each["index"] for each in row["predictions"]] == [each.index for each in best]
        assert row["predictions"][0]["label"] == Path(file).name.split("_")[1]
    assert not (tmp_path / "classes.jsonl.part").exists()


def test_without_a_damaged_one_all_is_well(
    pictures: Path, tmp_path: Path, command: Command
) -> None:
    (pictures / "damaged.png").unlink()
    run = command("predict", pictures / "more", "--output", tmp_path / "classes.csv")
    assert (run.code, run.out) == (0, "")
    assert len((tmp_path / "classes.csv").read_text().splitlines()) == 1 + len(
        list((pictures / "more").iterdir())
    )


def test_an_interrupted_run_goes_on(
    pictures: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, looked_at = tmp_path / "t.jsonl", []
    original = prediction.predict_rows

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Any]:
        yield next(iter(original(*arguments, **options)))
        raise KeyboardInterrupt

    def watched(model: VisionModel, files: Any, **options: Any) -> Iterator[Any]:
        looked_at.extend(files)
        return original(model, files, **options)

    arguments = ("predict", pictures, "--output", table, "--batch", 4)
    monkeypatch.setattr("vimnp.commands.predict_table.predict_rows", interrupted)
    run = command(*arguments)
    assert run.code == 130
    assert "--resume goes on from" in run.err
    assert not table.exists()

    monkeypatch.setattr("vimnp.commands.predict_table.predict_rows", watched)
    assert_refused(command(*arguments), "t.jsonl.part", "--resume")
    run = command(*arguments, "--resume")
    assert run.code == 2
    assert len(looked_at) == 11 - 4 + 1  # and the damaged one once more
    found = rows_of(table)
    assert command("predict", pictures, "--output", tmp_path / "again.jsonl").code == 2
    assert found == rows_of(tmp_path / "again.jsonl")


def test_rows_of_another_way_are_refused(
    pictures: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Iterator[Any]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("vimnp.commands.predict_table.predict_rows", interrupted)
    arguments = ("predict", pictures, "--output", tmp_path / "t.csv")
    assert command(*arguments).code == 130
    run = command(*arguments, "--resume", "--top-k", 1)
    assert_refused(run.__class__(run.code, run.out, run.err.splitlines(True)[-1]), "top_k was 5")


def test_a_picture_whose_logits_are_not_finite_has_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = vimnp.load("digits")
    preprocess = VisionModel.preprocess

    def spoilt(self: VisionModel, picture: Any) -> Any:
        pixels = preprocess(self, picture)
        if getattr(picture, "ndim", 0) == 0 and getattr(picture, "is_first", False):
            pixels[:] = float("nan")
        return pixels

    def read(file: str) -> Any:
        picture = prediction_read(file)
        picture.is_first = file == str(SCANS[0])
        return picture

    prediction_read = prediction.read_image
    monkeypatch.setattr(VisionModel, "preprocess", spoilt)
    monkeypatch.setattr(prediction, "read_image", read)
    (rows,) = prediction.predict_rows(model, [str(scan) for scan in SCANS[:3]])
    assert [row["error"] is None for row in rows] == [False, True, True]
    assert "finite" in rows[0]["error"]


def test_names_by_the_standard_input(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{SCANS[3]}\n{SCANS[5]}\n"))
    run = command("predict", "-", "--top-k", 1)
    assert [line for line in run.out.splitlines() if not line.startswith(" ")] == [
        str(SCANS[3]),
        str(SCANS[5]),
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--output", "t.xlsx"], "t.xlsx: ends in '.xlsx'"),
        (["--output", "no/t.csv"], "t.csv"),
        (["--output", "t.csv", "--json"], "--json with --output"),
        (["--resume"], "--resume is for a table"),
        (["--batch", "2"], "--batch is for a table"),
    ],
)
def test_wrong_use(
    options: list[str], words: str, tmp_path: Path, command: Command, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    run = command("predict", SCANS[0], *options)
    assert_refused(run, words)
    assert not list(tmp_path.iterdir())
