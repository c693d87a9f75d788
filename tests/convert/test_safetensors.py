"""Reading ``.safetensors`` files: sound ones, and hostile or damaged ones."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tests.support.arrays import assert_same
from tests.support.irregular import irregular as irregular
from tests.support.random_weights import random_weights
from tests.support.torch_format import save
from vimnp.config import VimConfig
from vimnp.convert import convert_checkpoint
from vimnp.convert.formats.safetensors_file import SafetensorsFile
from vimnp.errors import CheckpointError
from vimnp.weights import WeightsFile

CONFIG = VimConfig(
    img_size=(8, 8), patch_size=4, stride=4, depth=1, embed_dim=8, d_state=2, num_classes=3
)
WEIGHTS = random_weights(CONFIG)
FLOATS = np.arange(6, dtype=np.float32)


def safetensors(header: object, data: bytes = b"", size: int | None = None) -> bytes:
    """A file of this header (bytes, or what becomes JSON), claiming any size for it if given."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + data


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    """What a header says of a tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_only_regular_files_are_opened(irregular: tuple[Path, str]) -> None:
    path, words = irregular
    with pytest.raises(CheckpointError, match=words):
        SafetensorsFile(path)


def read_all(path: Path) -> dict[str, np.ndarray]:
    with SafetensorsFile(path) as file:
        return {name: file.read(name) for name in file.shapes}


@pytest.mark.parametrize("name", ["model.safetensors", "MODEL.SafeTensors"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "module.backbone."])
def test_conversion_is_that_of_the_checkpoint(name: str, prefix: str, tmp_path: Path) -> None:
    weights = {f"{prefix}{name}": array for name, array in WEIGHTS.items()}
    save_file(weights, tmp_path / name, metadata={"format": "pt"})
    save(tmp_path / "vim.pth", {"model": WEIGHTS})
    conversion = convert_checkpoint(tmp_path / name, tmp_path / "found.npz", settings={})
    expected = convert_checkpoint(tmp_path / "vim.pth", tmp_path / "expected.npz")
    assert conversion.assumptions == expected.assumptions
    assert conversion.metadata.source == name
    assert conversion.metadata.config == expected.metadata.config
    with WeightsFile(tmp_path / "found.npz") as file:
        assert_same({name: file.read(name) for name in WEIGHTS}, WEIGHTS)


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("F32", FLOATS, FLOATS),
        ("F16", FLOATS.astype("<f2"), FLOATS),
        ("F64", FLOATS.astype("<f8"), FLOATS),
        (
            "BF16",
            np.array([0x3FC0, 0xC000, 0x7F7F, 0x0001, 0x8000, 0], "<u2"),
            [1.5, -2.0, 3.3895314e38, 9.183549615799121e-41, -0.0, 0],
        ),
    ],
)
def test_dtypes(dtype: str, values: np.ndarray, expected: Any, tmp_path: Path) -> None:
    path = tmp_path / "dtypes.safetensors"
    size = values.nbytes
    header = {
        "second": entry(dtype, [2, 3], 4, 4 + size),  # behind the first, though it stands before
        "first": entry("F32", [], 0, 4),
        "empty": entry(dtype, [0, 5], 4 + size, 4 + size),
    }
    path.write_bytes(safetensors(header, FLOATS[4:5].tobytes() + values.tobytes()))
    found = read_all(path)
    assert all(array.flags.c_contiguous and array.flags.writeable for array in found.values())
    second = np.asarray(expected, np.float32).reshape(2, 3)
    empty = np.empty((0, 5), np.float32)
    assert_same(found, {"second": second, "first": np.array(4, np.float32), "empty": empty})


def test_headers_may_be_padded_with_spaces(tmp_path: Path) -> None:
    path = tmp_path / "padded.safetensors"
    header = json.dumps({"bias": entry("F32", [6], 0, 24)}).encode() + b"     "
    path.write_bytes(safetensors(header, FLOATS.tobytes()))
    assert_same(read_all(path), {"bias": FLOATS})


# What the first bytes of the file are, which say how long its header is, and of what else.
LENGTHS = {
    "a web page": b"<",
    "a web page with a comment": b"<!",
    "a web page of capitals": b"<H",
    "a gzip file": b"\x1f\x8b",
    "a gzip file of the usual method": b"\x1f\x8b\x08",
    "a zip archive": b"PK",
}


@pytest.mark.parametrize("start", LENGTHS.values(), ids=LENGTHS)
def test_lengths_that_look_like_another_kind_of_file(start: bytes, tmp_path: Path) -> None:
    header = json.dumps({"bias": entry("F32", [6], 0, 24)}).encode()
    size = int.from_bytes(start, "little")
    size += 0x10000 * (size < len(header))
    content = safetensors(header.ljust(size), FLOATS.tobytes())
    assert content.startswith(start)
    (tmp_path / "sound.safetensors").write_bytes(content)
    assert_same(read_all(tmp_path / "sound.safetensors"), {"bias": FLOATS})
    (tmp_path / "sound.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="a safetensors file, it seems"):
        convert_checkpoint(tmp_path / "sound.pth", tmp_path / "converted.npz")


BIAS = {"bias": entry("F32", [6], 0, 24)}
DATA = FLOATS.tobytes()
SAME_TWICE = b"{%s, %s}" % ((json.dumps(BIAS).encode()[1:-1],) * 2)

# Name of the damage, the file's content, what the message must name
HOSTILE = [
    ("empty file", b"", "not a sound safetensors file"),
    ("short file", b"\0\1", "not a sound safetensors file"),
    ("no header", safetensors(b""), "not a sound safetensors file"),
    ("header too long", safetensors({}, size=1 << 40), "would have 1099511627776 bytes, expected"),
    ("longest header", safetensors({}, size=(1 << 64) - 1), "18446744073709551615 bytes"),
    ("header beyond the file", safetensors(BIAS, size=100_000), "not a sound safetensors file"),
    ("not JSON", safetensors(b"{nothing of the kind"), "not a sound safetensors file"),
    ("not UTF-8", safetensors(b'{"\xff": 1}'), "not a sound safetensors file"),
    (
        "deep, where the package does not look",
        safetensors({"bias": BIAS["bias"] | {"x": json.loads("[" * 100 + "]" * 100)}}, DATA),
        "its header is not JSON ('nested more than 64 deep')",
    ),
    ("a list", safetensors([BIAS], DATA), "not a sound safetensors file"),
    ("nested deep", safetensors(b'{"a":' + b"[" * 100_000), "not a sound safetensors file"),
    ("huge number", safetensors(b'{"a":' + b"9" * 10_000 + b"}"), "not a sound safetensors file"),
    ("no offsets", safetensors({"x": {"dtype": "F32", "shape": [6]}}, DATA), "not a sound"),
    ("unknown dtype", safetensors({"x": entry("F33", [6], 0, 24)}, DATA), "not a sound"),
    ("cut short", safetensors(BIAS, DATA[:-1]), "not a sound safetensors file"),
    ("longer", safetensors(BIAS, DATA + b"\0"), "not a sound safetensors file"),
    (
        "overlapping",
        safetensors({"a": entry("F32", [4], 0, 16), "b": entry("F32", [4], 8, 24)}, DATA),
        "not a sound safetensors file",
    ),
    (
        "gap",
        safetensors({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 20, 24)}, DATA),
        "not a sound safetensors file",
    ),
    ("other size", safetensors({"x": entry("F32", [5], 0, 24)}, DATA), "not a sound"),
    ("backwards", safetensors({"x": entry("F32", [6], 24, 0)}, DATA), "not a sound"),
    ("negative", safetensors({"x": entry("F32", [-6], 0, 24)}, DATA), "not a sound"),
    ("overflow", safetensors({"x": entry("F32", [1 << 62, 8], 0, 24)}, DATA), "not a sound"),
    ("twice", safetensors(SAME_TWICE, DATA), "'bias' stands twice in its header"),
    (
        "control characters",
        safetensors({"\x1b[2J" * 99: entry("F32", [5], 0, 24)}, DATA),
        "not a sound safetensors file",
    ),
    (
        "odd digits",
        safetensors(json.dumps(BIAS).replace("[6]", f'[6], "x": {"9" * 5000}').encode(), DATA),
        "not a sound safetensors file",
    ),
    ("dimensions", safetensors({"x": entry("F32", [1] * 99, 0, 4)}, DATA[:4]), "99 dimensions"),
    ("no tensor", safetensors({}), "no Vision Mamba: it has no tensor at all"),
    ("no Vim", safetensors(BIAS, DATA), "no Vision Mamba: it has 'bias'"),
    ("a zip", b"PK\x03\x04" + bytes(60), "a name that ends in .pth"),
    ("LFS pointer", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ("web page", b"<!DOCTYPE html>", "web page"),
    ("web page in capitals", b"<HTML>", "web page"),
    ("web page of XML", b"<?xml version='1.0'?>", "web page"),
]


@pytest.mark.parametrize(
    ("content", "culprit"), [pytest.param(*row[1:], id=row[0]) for row in HOSTILE]
)
def test_hostile_or_damaged(content: bytes, culprit: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        convert_checkpoint(path, tmp_path / "converted.npz")
    assert culprit in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 700
    assert str(caught.value).isprintable()
    assert os.listdir(tmp_path) == ["hostile.safetensors"]


def test_a_folder_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be opened: a folder; expected a regular"):
        SafetensorsFile(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be opened: No such file"):
        SafetensorsFile(tmp_path / "no.safetensors")


@pytest.mark.parametrize(
    ("bias", "culprit"),
    [
        (np.arange(3), "'head.bias': is stored as I64; expected floating point of 16, 32 or 64"),
        (np.array([True, False, True]), "'head.bias': is stored as BOOL"),
        (np.full(3, 1e300), "'head.bias': holds a double too large for float32"),
        (np.full(3, np.nan, np.float32), "head.bias: holds NaN"),
    ],
)
def test_numbers_that_do_not_go(bias: np.ndarray, culprit: str, tmp_path: Path) -> None:
    save_file(WEIGHTS | {"head.bias": bias}, tmp_path / "vim.safetensors")
    with pytest.raises(CheckpointError) as caught:
        convert_checkpoint(tmp_path / "vim.safetensors", tmp_path / "vim.npz")
    assert culprit in str(caught.value)
    assert os.listdir(tmp_path) == ["vim.safetensors"]


def test_it_holds_no_moving_average(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "vim.safetensors")
    with pytest.raises(CheckpointError, match="no model_ema; convert it without --ema"):
        convert_checkpoint(tmp_path / "vim.safetensors", tmp_path / "vim.npz", use_ema=True)


def test_the_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(WEIGHTS, tmp_path / "vim.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)  # importing it then fails
    with pytest.raises(CheckpointError, match=r"pip install 'vimnp\[safetensors\]'"):
        convert_checkpoint(tmp_path / "vim.safetensors", tmp_path / "vim.npz")


def test_the_name_says_which_format_it_is(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "vim.pth")
    with pytest.raises(CheckpointError, match=r"a name that ends in \.safetensors"):
        convert_checkpoint(tmp_path / "vim.pth", tmp_path / "vim.npz")


def sound_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save_file(WEIGHTS, Path(folder, "sound.safetensors"))
        return Path(folder, "sound.safetensors").read_bytes()


SOUND = sound_file()
HEADER_END = 8 + int.from_bytes(SOUND[:8], "little")
POSITIONS = st.one_of(st.integers(0, len(SOUND) - 1), st.integers(0, HEADER_END))
# Digits and punctuation, which leave more headers readable than any bytes would.
BYTES = st.one_of(st.integers(0, 255), st.sampled_from(b'0123456789,:"[]{}'))
MUTATIONS = st.lists(st.tuples(POSITIONS, BYTES), min_size=1, max_size=4)


@given(mutations=MUTATIONS)
@settings(deadline=None, max_examples=300)
def test_mutated_bytes(mutations: list[tuple[int, int]]) -> None:
    data = bytearray(SOUND)
    for position, byte in mutations:
        data[position] = byte
    with tempfile.TemporaryDirectory() as folder:
        source, destination = Path(folder, "m.safetensors"), Path(folder, "mutated.npz")
        source.write_bytes(data)
        try:
            convert_checkpoint(source, destination)
        except CheckpointError:
            assert os.listdir(folder) == ["m.safetensors"]
        else:
            with WeightsFile(destination) as file:
                for name in file.metadata.config.parameter_shapes():
                    file.read(name)
