"""``vimnp embed``, ``vimnp similar``, and jobs in shards with ``vimnp merge``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vimnp
from tests.support.commands import Command, assert_refused
from tests.support.digits import SCANS, write_scans
from vimnp.jobs.embedding import Embed
from vimnp.jobs.embeddings import names_of, read_embeddings


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_scans(tmp_path / "pictures")


@pytest.fixture
def table(pictures: Path, tmp_path: Path, command: Command) -> Path:
    path = tmp_path / "features.npy"
    assert command("embed", pictures, "--output", path).code == 2  # one is damaged
    return path


def test_a_folder_becomes_a_matrix(pictures: Path, tmp_path: Path, command: Command) -> None:
    table = tmp_path / "features.npy"
    run = command("embed", pictures, "--output", table, "--batch", 3)
    assert (run.code, run.out) == (2, "")
    assert f"1 of 11 pictures have no features: the column error of {names_of(table)}" in run.err
    found = read_embeddings(table)
    model = vimnp.load("digits")
    for file, row, error in zip(found.files, found.features, found.errors, strict=True):
        if file.endswith("damaged.png"):
            assert error is not None
            assert np.isnan(row).all()
        else:
            assert error is None
            np.testing.assert_array_equal(row, model.features(file))
    assert len(found.files) == 11
    assert {path.name for path in tmp_path.iterdir()} == {
        "pictures",
        "features.npy",
        "features.npy.jsonl",
    }


def test_an_interrupted_run_goes_on(
    pictures: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "damaged.png").unlink()
    original, looked_at = Embed.batches, []

    def interrupted(self: Embed, *arguments: Any, **options: Any) -> Iterator[Any]:
        yield next(iter(original(self, *arguments, **options)))
        raise KeyboardInterrupt

    def watched(self: Embed, model: Any, files: Any, **options: Any) -> Iterator[Any]:
        looked_at.extend(files)
        return original(self, model, files, **options)

    table = tmp_path / "t.npy"
    arguments = ("embed", pictures, "--output", table, "--batch", 4)
    monkeypatch.setattr(Embed, "batches", interrupted)
    run = command(*arguments)
    assert run.code == 130
    assert "--resume goes on from" in run.err
    assert not table.exists()
    monkeypatch.setattr(Embed, "batches", watched)
    assert command(*arguments, "--resume").code == 0
    assert len(looked_at) == 10 - 4
    assert command("embed", pictures, "--output", tmp_path / "u.npy").code == 0
    assert table.read_bytes() == (tmp_path / "u.npy").read_bytes()
    assert Path(names_of(table)).read_bytes() == (tmp_path / "u.npy.jsonl").read_bytes()


def test_parquet_has_the_same(
    pictures: Path, table: Path, tmp_path: Path, command: Command
) -> None:
    pytest.importorskip("pyarrow", reason="Parquet is pyarrow's")
    other = tmp_path / "t.parquet"
    assert command("embed", pictures, "--output", other).code == 2
    found, expected = read_embeddings(other), read_embeddings(table)
    np.testing.assert_array_equal(found.features, expected.features)
    assert found[1:] == expected[1:]


# ---- similar -------------------------------------------------------------------------------------


def test_a_name_in_the_table_is_looked_up(
    table: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_embeddings(table)
    query = next(file for file in found.files if "digit_3" in file)
    monkeypatch.setattr("vimnp.commands.similar.load_model", None)  # no network is needed
    run = command("similar", query, "--table", table, "--json", "--top-k", 4)
    assert (run.code, run.err) == (0, "")
    ((answer),) = json.loads(run.out)
    assert answer["query"] == query
    others = dict(zip(found.files, found.features, strict=True))
    vector = others.pop(query).astype(np.float64)

    def cosine(file: str) -> float:
        row = others[file].astype(np.float64)
        return float(row @ vector / np.linalg.norm(row) / np.linalg.norm(vector))

    expected = sorted((file for file in others if "damaged" not in file), key=cosine)[::-1][:4]
    assert [each["file"] for each in answer["similar"]] == expected
    assert [each["score"] for each in answer["similar"]] == pytest.approx(
        [cosine(file) for file in expected]
    )


def test_a_picture_is_looked_at(table: Path, command: Command) -> None:
    run = command("similar", SCANS[3], SCANS[5], "--table", table, "--top-k", 1)
    assert run.code == 0
    first, best, *others = run.out.splitlines()
    assert first == str(SCANS[3])
    assert best.split()[0] == "1.0000"
    assert Path(best.split()[1]).name == SCANS[3].name
    assert len(others) == 2


def test_a_picture_that_cannot_be_read_is_said_and_the_others_answered(
    pictures: Path, table: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "text.png").write_text("text")
    arguments = (tmp_path / "text.png", pictures / "damaged.png", SCANS[1], "--table", table)
    run = command("similar", *arguments)
    assert run.code == 2
    assert run.out.startswith(str(SCANS[1]))
    assert "text.png: not a picture in a format" in run.err
    assert "damaged.png: has no features in the table" in run.err
    answers = json.loads(command("similar", *arguments, "--json").out)
    assert ["error" in answer for answer in answers] == [True, True, False]


def test_a_table_of_another_network_is_refused(
    table: Path, micro_npz: Path, command: Command
) -> None:
    run = command("similar", SCANS[0], "--table", table, "--weights", micro_npz)
    assert_refused(run, "features.npy: weights_sha256 is ", "expected the network")
    run = command("similar", SCANS[0], "--table", table, "--img-size", 48)
    assert_refused(run, "img_size is [32, 32] there, and [48, 48] of this network")
    run = command("similar", SCANS[0], "--table", table, "--precision", "int8")
    assert_refused(run, 'precision is null there, and "int8" of this network')


# ---- Shards --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "table"), [("predict", "t.jsonl"), ("embed", "t.npy")])
def test_shards_make_the_table_of_a_single_run(
    name: str, table: str, pictures: Path, tmp_path: Path, command: Command
) -> None:
    whole, merged = tmp_path / f"whole_{table}", tmp_path / table
    assert command(name, pictures, "--output", whole).code == 2
    codes = [
        command(name, pictures, "--output", merged, "--shard", f"{number}/3").code
        for number in (3, 1, 2)
    ]
    assert sorted(codes) == [0, 0, 2]  # one of them has the damaged picture
    run = command("merge", merged)
    assert (run.code, run.out) == (2, "")
    assert "1 of 11 pictures have no" in run.err
    assert merged.read_bytes() == whole.read_bytes()
    if name == "embed":
        assert Path(names_of(merged)).read_bytes() == Path(names_of(whole)).read_bytes()
    assert len(list(tmp_path.glob(f"{table}.shard-?-of-3"))) == 3


def test_a_shard_is_resumed(
    pictures: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Iterator[Any]:
        raise KeyboardInterrupt
        yield

    arguments = ("embed", pictures, "--output", tmp_path / "t.npy", "--shard", "1/2")
    with monkeypatch.context() as patch:
        patch.setattr(Embed, "batches", interrupted)
        assert command(*arguments).code == 130
    assert_refused(command(*arguments), "t.npy.shard-1-of-2.part", "--resume")
    (pictures / "new.png").write_bytes(SCANS[0].read_bytes())
    run = command(*arguments, "--resume")
    assert run.code == 2
    assert "pictures was 11 and is 12 now" in run.err
    (pictures / "new.png").unlink()
    assert command(*arguments, "--resume").code == 2  # the damaged one is in it
    assert not (tmp_path / "t.npy.shard-1-of-2.part").exists()


def test_a_merged_table_has_a_name_that_the_job_can_have(
    pictures: Path, tmp_path: Path, command: Command
) -> None:
    shard = tmp_path / "t.npy.shard-1-of-1"
    command("embed", pictures, "--output", tmp_path / "t.npy", "--shard", "1/1")
    run = command("merge", tmp_path / "t.csv", shard)
    assert_refused(run, "t.csv: ends in '.csv'", ".npy or .parquet")
    assert command("merge", tmp_path / "u.npy", shard).code == 2
    assert (tmp_path / "u.npy").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["embed", SCANS[0]], "--output"),
        (["embed", SCANS[0], "--output", "t.csv"], "t.csv: ends in '.csv'"),
        (["embed", SCANS[0], "--output", "no/t.npy"], "t.npy"),
        (["embed", SCANS[0], "--output", "t.npy", "--shard", "9/8"], "--shard 9/8: '9/8' is no"),
        (["predict", SCANS[0], "--shard", "1/8"], "--shard is for a table"),
        (["similar", SCANS[0], "--table", "t.npy"], "t.npy: No such file or directory"),
        (["similar", SCANS[0]], "--table"),
        (["merge", "t.npy"], "t.npy.shard-*: no file is called so"),
    ],
)
def test_wrong_use(
    arguments: list[Any], words: str, tmp_path: Path, command: Command, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(command(*arguments), words)
    assert not list(tmp_path.iterdir())
