"""Features of pictures in each kind of file, and which are similar."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import vimnp
from tests.support.digits import SCANS
from vimnp.errors import ConfigError
from vimnp.jobs.embedding import Embed, unpacked
from vimnp.jobs.embeddings import (
    expect_embeddings,
    names_of,
    read_embeddings,
    write_embeddings,
)
from vimnp.jobs.similarity import cosines, most_similar

FILES = [("a.png", None), ("damaged.png", "is cut short"), ('b, "c"\n.png', None)]
VECTORS = [np.array([1, 2e-38, -3], np.float32), None, np.array([0.1, 0, 7], np.float32)]
MATRIX = np.array([[1, 2e-38, -3], [math.nan] * 3, [0.1, 0, 7]], np.float32)
SETTINGS = {"weights_sha256": "ab", "img_size": [32, 32]}


def written(path: Path) -> Path:
    write_embeddings(path, 3, FILES, VECTORS, SETTINGS)
    return path


@pytest.fixture(params=[".npy", ".parquet", ".NPY"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == ".parquet":
        pytest.importorskip("pyarrow", reason="Parquet is pyarrow's")
    return written(tmp_path / f"features{request.param}")


def test_features_are_read_as_they_were_written(table: Path) -> None:
    found = read_embeddings(table)
    np.testing.assert_array_equal(found.features, MATRIX)
    assert found.features.dtype == np.float32
    assert list(zip(found.files, found.errors, strict=True)) == FILES
    assert found.settings == SETTINGS


def test_a_table_may_have_no_pictures_or_no_features(table: Path) -> None:
    for files in ([], [("a.png", "is cut short")] * 2):
        write_embeddings(table, 3, files, [None] * len(files), {})
        assert read_embeddings(table).features.shape == (len(files), 3)
        assert np.isnan(read_embeddings(table).features).all()


def test_other_libraries_read_the_files(tmp_path: Path) -> None:
    path = written(tmp_path / "t.npy")
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), MATRIX)
    head, *rows = map(json.loads, Path(names_of(path)).read_text().splitlines())
    assert head["settings"] == SETTINGS
    assert [(row["file"], row["error"]) for row in rows] == FILES
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet is pyarrow's")
    found = parquet.read_table(written(tmp_path / "t.parquet")).to_pylist()
    assert [row["features"] for row in found] == [MATRIX[0].tolist(), None, MATRIX[2].tolist()]
    assert [(row["file"], row["error"]) for row in found] == FILES


def test_names_of_another_matrix_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "t.npy")
    names = Path(names_of(path)).read_bytes()
    write_embeddings(path, 3, FILES, [np.zeros(3, np.float32)] * 3, SETTINGS)
    Path(names_of(path)).write_bytes(names)
    with pytest.raises(ConfigError, match=r"t\.npy\.jsonl: names the pictures of another matrix"):
        read_embeddings(path)
    Path(names_of(path)).unlink()
    with pytest.raises(ConfigError, match=r"t\.npy\.jsonl: is missing"):
        read_embeddings(path)


def spoil(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"vimnp_embeddings": 1', b'"vimnp_embeddings": 2'),
        (b'{"file": "a.png", "error": null}', b'{"file": "a.png", "error": 3}'),
        (b'{"file": "a.png", "error": null}\n', b""),
        (b'{"file": "a.png", "error": null}', b"{"),
        (b'"settings": {', b'"others": {'),
    ],
)
def test_damaged_names_are_refused(old: bytes, new: bytes, tmp_path: Path) -> None:
    path = written(tmp_path / "t.npy")
    spoil(Path(names_of(path)), old, new)
    with pytest.raises(ConfigError, match="expected features that `vimnp embed` wrote"):
        read_embeddings(path)


def digest_anew(table: Path) -> None:
    """Let the names be those of the matrix, whatever that is now."""
    names = Path(names_of(table))
    head, rest = names.read_bytes().split(b"\n", 1)
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    names.write_bytes(json.dumps(json.loads(head) | {"features_sha256": digest}).encode())
    names.write_bytes(names.read_bytes() + b"\n" + rest)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"picture", np.zeros(3).tobytes()])
def test_other_files_are_refused(content: bytes, table: Path) -> None:
    table.write_bytes(content)
    if table.suffix != ".parquet":
        digest_anew(table)
    with pytest.raises(ConfigError, match="expected features that `vimnp embed` wrote"):
        read_embeddings(table)


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}] * 3, object),
        MATRIX.astype(np.float64),
        MATRIX.astype(">f4"),
        MATRIX[:2],
        MATRIX[0],
        np.asfortranarray(MATRIX),
    ],
)
def test_other_matrices_are_refused_and_no_pickle_is_run(array: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "t.npy")
    np.save(path, array, allow_pickle=True)
    digest_anew(path)
    with pytest.raises(ConfigError, match="no matrix of float32 with a row for each of 3"):
        read_embeddings(path)


@settings(max_examples=30)
@given(st.data())
def test_a_damaged_file_is_refused_or_read(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder, "t.npy"))
        content = bytearray(path.read_bytes())
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(start + 9, len(content))))
        content[start:end] = data.draw(st.binary(max_size=9))
        path.write_bytes(content)
        digest_anew(path)
        with contextlib.suppress(ConfigError):
            assert read_embeddings(path).features.shape[0] == len(FILES)


def test_a_parquet_of_others_is_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet is pyarrow's")
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet is pyarrow's")
    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"file": ["a.png"]}), path)
    with pytest.raises(ConfigError, match="expected features that `vimnp embed` wrote"):
        read_embeddings(path)


@pytest.mark.parametrize("name", ["t.csv", "table"])
def test_other_names_are_refused(name: str) -> None:
    for refused in (expect_embeddings, read_embeddings):
        with pytest.raises(ConfigError, match=rf"{name}: ends in .*expected .*\.npy or \.parquet"):
            refused(name)


def test_without_pyarrow_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'vimnp\[parquet\]'.*\.npy"):
        expect_embeddings("t.parquet")
    expect_embeddings("t.npy")


def test_rows_have_all_bits_of_the_features() -> None:
    model = vimnp.load("digits")
    embed = Embed.of(model)
    files = [str(scan) for scan in SCANS[:3]]
    rows = embed.rows(model, files)
    expected = model.features(files)
    np.testing.assert_array_equal([unpacked(row["features"]) for row in rows], expected)
    assert all(embed.is_result(json.loads(json.dumps(row))["features"]) for row in rows)
    assert Embed(embed.dim + 1).is_result(rows[0]["features"]) is False


@pytest.mark.parametrize("value", [None, 3, "", "AA", "!!!!", "AAAAAA=="])
def test_what_is_no_vector_is_no_result(value: Any) -> None:
    assert Embed(2).is_result(value) is False


def test_features_that_are_not_finite_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = vimnp.load("digits")
    embed, files = Embed.of(model), [str(scan) for scan in SCANS[:2]]
    features = model.features(files)
    features[0, 3] = math.inf
    monkeypatch.setattr(model, "features", lambda pictures: features)
    first, second = embed.rows(model, files)
    assert "1 of the picture's 64 features are not finite" in first["error"]
    assert (first["features"], second["error"]) == (None, None)


def test_a_network_with_features_of_every_token_is_refused() -> None:
    config = dataclasses.replace(
        vimnp.load("digits").config, if_cls_token=False, final_pool_type="all"
    )
    model = vimnp.VisionMamba.random(config=config)
    with pytest.raises(ConfigError, match=r"those of every token; expected a network with one"):
        Embed.of(model)


# ---- Similar ones --------------------------------------------------------------------------------

_NUMBERS = st.floats(-100, 100, width=32)
_MATRICES = arrays.arrays(np.float32, st.tuples(st.integers(0, 30), st.just(4)), elements=_NUMBERS)


@given(_MATRICES, arrays.arrays(np.float32, 4, elements=_NUMBERS), st.integers(1, 40))
def test_the_most_similar_come_first(features: np.ndarray, query: np.ndarray, top_k: int) -> None:
    def cosine(row: np.ndarray) -> float:
        row, other = row.astype(np.float64), query.astype(np.float64)
        lengths = math.sqrt(row @ row) * math.sqrt(other @ other)
        return float(row @ other / lengths) if lengths else math.nan

    expected = np.array([cosine(row) for row in features])
    np.testing.assert_allclose(cosines(features, query), expected, atol=1e-12)
    found = most_similar(features, query, top_k)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert len(found) == min(top_k, int(np.isfinite(expected).sum()))
    others = np.delete(expected, [row for row, _ in found])
    assert not (others > min(scores, default=math.inf) + 1e-12).any()


def test_the_bits_do_not_depend_on_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    features = generator.standard_normal((50, 67), np.float32)
    whole = cosines(features, features[7])
    monkeypatch.setattr("vimnp.jobs.similarity._AT_ONCE", 3)
    np.testing.assert_array_equal(cosines(features, features[7]), whole)
    np.testing.assert_array_equal(cosines(features[20:], features[7]), whole[20:])


def test_the_query_itself_and_pictures_without_features_are_left_out() -> None:
    features = np.array([[1, 0], [math.nan] * 2, [1, 1], [2, 0], [0, 0]], np.float32)
    found = most_similar(features, features[0], 9, without=0)
    assert [row for row, _ in found] == [3, 2]
    assert found[0][1] == 1
