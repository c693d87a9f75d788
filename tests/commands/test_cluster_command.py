"""``--workers`` and ``--scheduler``: other processes look at the pictures."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Command, assert_refused
from tests.support.digits import SCANS
from vimnp.jobs import cluster


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    pytest.importorskip("distributed", reason="pip install 'vimnp[distributed]'")
    with cluster.local_cluster(1) as client:
        yield client.scheduler.address


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder for each digit, and a damaged picture."""
    folder = tmp_path / "pictures"
    for digit, scan in enumerate(SCANS):
        (folder / str(digit)).mkdir(parents=True)
        shutil.copy(scan, folder / str(digit))
    (folder / "0" / "damaged.png").write_bytes(SCANS[0].read_bytes()[:60])
    return folder


def test_a_scheduler_has_the_table_filled(
    scheduler: str, pictures: Path, tmp_path: Path, command: Command
) -> None:
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    assert command("predict", pictures, "--output", here).code == 2
    run = command("predict", pictures, "--output", there, "--scheduler", scheduler)
    assert (run.code, run.out) == (2, "")
    assert "1 of 11 pictures have no classes" in run.err
    assert there.read_bytes() == here.read_bytes()
    assert not (tmp_path / "there.jsonl.part").exists()


def test_features_come_from_a_scheduler(
    scheduler: str, pictures: Path, tmp_path: Path, command: Command
) -> None:
    here, there = tmp_path / "here.npy", tmp_path / "there.npy"
    assert command("embed", pictures, "--output", here).code == 2
    assert command("embed", pictures, "--output", there, "--scheduler", scheduler).code == 2
    assert there.read_bytes() == here.read_bytes()


def test_accuracy_comes_from_a_scheduler(
    scheduler: str, pictures: Path, tmp_path: Path, command: Command
) -> None:
    found = []
    for others in ((), ("--scheduler", scheduler)):
        results = tmp_path / f"results{len(others)}.jsonl"
        run = command("eval", pictures, "--json", "--resume", results, *others)
        assert run.code == 0
        found.append(json.loads(run.out))
        found[-1].pop("seconds_per_picture")
        found[-1]["lines"] = sorted(results.read_text().splitlines())
    assert found[0] == found[1]


def test_workers_are_processes_of_this_machine(
    pictures: Path, tmp_path: Path, command: Command
) -> None:
    pytest.importorskip("distributed", reason="pip install 'vimnp[distributed]'")
    (pictures / "0" / "damaged.png").unlink()
    table = tmp_path / "classes.jsonl"
    run = command("predict", pictures, "--output", table, "--workers", 1)
    assert (run.code, run.out) == (0, "")
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    assert [row["predictions"][0]["index"] for row in rows] == list(range(10))


def test_an_interrupted_job_goes_on(
    scheduler: str,
    pictures: Path,
    tmp_path: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = tmp_path / "classes.jsonl"
    arguments = ("predict", pictures, "--output", table, "--scheduler", scheduler)
    original = cluster.rows_by

    def interrupted(*given: Any, **options: Any) -> Iterator[Any]:
        yield next(iter(original(*given, **options)))
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "rows_by", interrupted)
    assert command(*arguments).code == 130
    monkeypatch.undo()
    assert command(*arguments, "--resume").code == 2
    here = tmp_path / "here.jsonl"
    command("predict", pictures, "--output", here)
    assert table.read_bytes() == here.read_bytes()


def test_only_tables_are_made_by_others(command: Command) -> None:
    assert_refused(command("predict", SCANS[0], "--workers", 2), "--workers", "--output")


def test_there_is_one_cluster(pictures: Path, tmp_path: Path, command: Command) -> None:
    others = ("--workers", 2, "--scheduler", "tcp://127.0.0.1:1")
    for run in (
        command("predict", pictures, "--output", tmp_path / "t.csv", *others),
        command("eval", pictures, *others),
    ):
        assert run.code == 2
        assert "--workers with --scheduler" in run.err
    assert not (tmp_path / "t.csv.part").exists()


def test_two_networks_are_compared_here(pictures: Path, command: Command) -> None:
    run = command("eval", pictures, "--compare", "float32", "--workers", 2)
    assert_refused(run, "--compare with --workers")


def test_without_dask_the_extra_is_named(
    pictures: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    run = command("predict", pictures, "--output", tmp_path / "t.csv", "--workers", 2)
    assert run.code == 2
    assert "pip install 'vimnp[distributed]'" in run.err.splitlines()[-1]
    assert "Traceback" not in run.err
