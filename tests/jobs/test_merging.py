"""Parts of a job, and the table that they make together."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vimnp.errors import ConfigError
from vimnp.jobs.merging import merge, write_shard
from vimnp.jobs.operation import Row
from vimnp.jobs.prediction import Predict
from vimnp.jobs.shard import Shard, find_shards

FILES = [f"{number}.png" for number in range(7)]
SETTINGS = {"weights_sha256": "ab", "img_size": [32, 32]}


def row_of(file: str) -> Row:
    best = {"index": len(file), "label": None, "score": 0.5}
    return Predict(1).row(file, [best], None)


def written(
    folder: Path, of: int = 3, files: list[str] = FILES, table: str = "t.csv", **changes: Any
) -> list[str]:
    """The files of all shards."""
    paths = []
    for number in range(1, of + 1):
        shard = Shard(number, of)
        path = shard.path(str(folder / table))
        settings = SETTINGS | shard.settings(files) | changes
        write_shard(path, Predict(1), map(row_of, shard.part(files)), settings)
        paths.append(path)
    return paths


@pytest.mark.parametrize(("text", "shard"), [("3/8", (3, 8)), (" 1/1 ", (1, 1))])
def test_a_shard_is_so_many_of_so_many(text: str, shard: tuple[int, int]) -> None:
    assert Shard.parse(text) == shard


@pytest.mark.parametrize("text", ["", "3", "0/8", "9/8", "3/8/9", "-1/8", "a/b", "1/0", "³/8"])
def test_other_shards_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected 3/8 for the third of eight"):
        Shard.parse(text)


@given(st.integers(1, 12), st.lists(st.text(max_size=2), unique=True, max_size=15))
def test_each_picture_is_in_one_shard(of: int, files: list[str]) -> None:
    parts = [Shard(number, of).part(files) for number in range(1, of + 1)]
    assert sorted(itertools.chain.from_iterable(parts)) == sorted(files)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("of", [1, 2, 3, 7, 9])
def test_merged_shards_are_all_rows_in_their_order(of: int, tmp_path: Path) -> None:
    paths = written(tmp_path, of)
    assert sorted(find_shards(str(tmp_path / "t.csv"))) == sorted(paths)
    for each in (paths, paths[::-1]):
        found = merge(each)
        assert [*found.rows] == [row_of(file) for file in FILES]
        assert found.operation == Predict(1)
        assert found.settings == SETTINGS


def test_names_need_not_be_unicode(tmp_path: Path) -> None:
    files = ["\udcff.png", "a\nb.png"]
    assert [row["file"] for row in merge(written(tmp_path, 2, files)).rows] == files


def test_missing_shards_are_named(tmp_path: Path) -> None:
    paths = written(tmp_path)
    with pytest.raises(ConfigError, match="of 3 shards 2 are missing: 1, 3; expected"):
        merge(paths[1:2])
    with pytest.raises(ConfigError, match=r"shard 2 of 3, as .*shard-2-of-3 is"):
        merge([*paths, paths[1]])
    with pytest.raises(ConfigError, match=r"u\.csv\.shard-\*: no file is called so"):
        find_shards(str(tmp_path / "u.csv"))


def test_of_many_missing_shards_some_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, 1)[0]
    head, *rows = lines_of(path)
    write_lines(path, [head | {"shard": [3, 10**12]}, *rows])
    words = "of 1000000000000 shards 999999999999 are missing: 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, ...;"
    with pytest.raises(ConfigError, match=words):
        merge([path])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights_sha256": "cd"}, 'weights_sha256 is "cd", and "ab" in'),
        ({"files": FILES[1:]}, "pictures is 6, and 7 in"),
        ({"files": [*FILES[1:], "b.png"]}, "pictures_sha256 is "),
        ({"of": 2}, "shards is 2, and 3 in"),
        ({"precision": "int8"}, 'precision is "int8", and null in'),
    ],
)
def test_shards_of_other_jobs_are_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    paths, others = written(tmp_path), written(tmp_path, table="u.csv", **changes)
    with pytest.raises(ConfigError, match=words):
        merge([paths[0], *others[1:], *paths[2:]])


def lines_of(path: str) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def write_lines(path: str, lines: list[Any]) -> None:
    Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("change", ["missing", "twice", "order", "another"])
def test_each_picture_must_be_there_once_and_in_its_place(change: str, tmp_path: Path) -> None:
    paths = written(tmp_path)
    head, *rows = lines_of(paths[1])
    changed = {
        "missing": rows[:-1],
        "twice": [*rows, rows[0]],
        "order": rows[::-1],
        "another": [*rows[:-1], row_of("b.png")],
    }[change]
    write_lines(paths[1], [head, *changed])
    with pytest.raises(ConfigError, match="not each of the 7 pictures is there once"):
        merge(paths)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        "{}\n",
        "[]\n",
        '{"vimnp_rows": 1}\n',
        "index,label\n",
        '{"vimnp_rows": 2, "operation": "predict", "top_k": 1}\n',
        '{"vimnp_rows": 2, "operation": "predict", "top_k": 0, "shard": [1, 1], "pictures": 0, '
        '"pictures_sha256": ""}\n',
        '{"vimnp_rows": 2, "operation": "eval", "shard": [1, 1], "pictures": 0, '
        '"pictures_sha256": ""}\n',
        '{"vimnp_rows": 2, "operation": "predict", "top_k": 1, "shard": [1, 1], "pictures": 0, '
        '"pictures_sha256": ""}\n{"file": "a.png"}\n',
        '{"vimnp_rows": 2, "operation": "predict", "top_k": 1, "shard": [1, 1], "pictures": 0, '
        '"pictures_sha256": ""}\n{"file": "a.png", "predictions": [{}], "error": null}\n',
        '{"vimnp_rows": 2, "operation": "predict", "top_k": 1, "shard": [1, 1], "pictures": 0, '
        '"pictures_sha256": ""}',
    ],
)
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv.shard-1-of-1"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"shard-1-of-1: .*expected what `vimnp predict`"):
        merge([str(path)])
