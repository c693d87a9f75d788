"""Weights files of language models: a tokenizer beside the weights, and matrices stored small."""

from __future__ import annotations

import dataclasses
import json
import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.micro import MICRO
from vimnp.errors import ConfigError, WeightsError
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.random_weights import random_reader
from vimnp.weights import METADATA, Metadata, Rows, WeightsFile, write_weights
from vimnp.weights.encodings import Encoded, decode, encode

CONFIG = MambaConfig(
    d_model=20, n_layer=2, vocab_size=300, padded_vocab_size=304, d_state=3, d_inner=40, dt_rank=2
)
UNTIED = dataclasses.replace(CONFIG, tie_embeddings=False, bias=True, eos_ids=(0, 7))
EMBEDDING, HEAD = "backbone.embedding.weight", "lm_head.weight"
IN_PROJ = "backbone.layers.1.mixer.in_proj.weight"
A_LOG = "backbone.layers.0.mixer.A_log"
TEXT = json.dumps({"model": {"type": "BPE", "vocab": {"é": 0}}}, ensure_ascii=False).encode()
DTYPES = ("float32", "float16", "bfloat16", "int8", "int4")


def tensors(config: MambaConfig) -> dict[str, np.ndarray]:
    read = random_reader(config, 3)
    return {name: read(name) for name in config.parameter_shapes()}


def write(path: Path, config: MambaConfig = CONFIG, **values: Any) -> Path:
    tokenizer = TEXT if values.get("tokenizer") == "tokenizer.json" else None
    metadata = Metadata(config=config, preprocessing=None, **values)
    write_weights(path, metadata, tensors(config).items(), tokenizer=tokenizer)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mamba.npz"


def rewritten(path: Path, **members: bytes | None) -> None:
    """Replace, add or (None) leave out members, as any writer of zip archives would."""
    changes = {name.replace("__", "."): data for name, data in members.items()}
    with zipfile.ZipFile(path) as archive:
        content: dict[str, bytes | None] = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (content | changes).items():
            if data is not None:
                archive.writestr(name, data)


# ---- Tokenizers ----------------------------------------------------------------------------------


def test_a_network_without_pictures_says_nothing_of_them(path: Path) -> None:
    write(path)
    with WeightsFile(path) as file:
        assert file.metadata == Metadata(config=CONFIG, preprocessing=None)
        assert file.tokenizer_text() is None
    with zipfile.ZipFile(path) as archive:
        values = json.loads(archive.read(METADATA))
    assert (values["format_version"], values["family"]) == (3, "mamba")
    assert "tokenizer" not in values


def test_the_tokenizer_travels_with_the_weights(path: Path) -> None:
    template = "{% for message in messages %}…{% endfor %}"
    write(path, tokenizer="tokenizer.json", chat_template=template)
    with WeightsFile(path) as file:
        assert file.metadata.tokenizer == "tokenizer.json"
        assert file.metadata.chat_template == template
        assert file.tokenizer_text() == TEXT.decode()
        file.verify()


def test_bytes_need_no_member(path: Path) -> None:
    write(path, tokenizer="bytes")
    with WeightsFile(path) as file:
        assert file.metadata.tokenizer == "bytes"
        assert file.tokenizer_text() is None


@pytest.mark.parametrize(
    ("config", "values", "words"),
    [
        (CONFIG, {"tokenizer": "sentencepiece"}, "expected 'bytes', 'tokenizer.json' or null"),
        (CONFIG, {"tokenizer": 3}, "tokenizer is 3"),
        (CONFIG, {"chat_template": 3}, "chat_template is 3; expected text or null"),
        (CONFIG, {"chat_template": "\ud800"}, "half a character"),
        (CONFIG, {"chat_template": "x" * 131_073}, "chat_template has 131073 characters"),
        (CONFIG, {"labels": ("a",)}, "labels for a network of the family 'mamba'"),
        (
            MambaConfig(d_model=2, n_layer=1, vocab_size=255),
            {"tokenizer": "bytes"},
            "vocab_size 255; expected an id for each of the 256 bytes",
        ),
    ],
)
def test_metadata_that_mean_nothing(
    config: MambaConfig, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Metadata(config=config, preprocessing=None, **values)


@pytest.mark.parametrize("values", [{"tokenizer": "bytes"}, {"chat_template": "x"}])
def test_a_network_of_pictures_has_no_text(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="the family 'vim', which takes no text; expected null"):
        Metadata(config=MICRO, **values)


@pytest.mark.parametrize("dtype", ["bfloat16", "int4"])
def test_a_network_of_pictures_is_stored_in_16_bits_at_least(dtype: str) -> None:
    with pytest.raises(ConfigError, match=f"dtype is '{dtype}' in a file of the family 'vim'"):
        Metadata(config=MICRO, dtype=dtype)


@pytest.mark.parametrize(
    ("tokenizer", "content", "words"),
    [
        (None, TEXT, "tokenizer.json: given, and the metadata's tokenizer is None"),
        ("bytes", TEXT, "tokenizer.json: given, and the metadata's tokenizer is 'bytes'"),
        ("tokenizer.json", None, "tokenizer.json: missing"),
        ("tokenizer.json", bytes((32 << 20) + 1), "has 33554433 bytes; expected at most 33554432"),
    ],
)
def test_a_tokenizer_that_the_metadata_do_not_say(
    tokenizer: str | None, content: bytes | None, words: str, path: Path
) -> None:
    metadata = Metadata(config=CONFIG, preprocessing=None, tokenizer=tokenizer)
    with pytest.raises(WeightsError, match=words):
        write_weights(path, metadata, tensors(CONFIG).items(), tokenizer=content)
    assert not path.exists()


def test_files_whose_tokenizer_is_not_as_they_say(path: Path) -> None:
    write(path, tokenizer="tokenizer.json")
    rewritten(path, tokenizer__json=None)
    with pytest.raises(WeightsError, match=r"tokenizer\.json: missing"):
        WeightsFile(path)
    write(path)
    rewritten(path, tokenizer__json=TEXT)
    with pytest.raises(WeightsError, match=r"tokenizer\.json: not a member that this network has"):
        WeightsFile(path)
    write(path, tokenizer="tokenizer.json")
    rewritten(path, tokenizer__json=b"\xff{}")
    with WeightsFile(path) as file, pytest.raises(WeightsError, match="not UTF-8"):
        file.tokenizer_text()
    rewritten(path, tokenizer__json=bytes((32 << 20) + 1))
    with pytest.raises(WeightsError, match=r"tokenizer\.json: longer than 33554432 bytes"):
        WeightsFile(path)
    write(path, tokenizer="tokenizer.json")
    data = bytearray(path.read_bytes())
    data[data.index(TEXT) + 3] ^= 1
    path.write_bytes(data)
    with WeightsFile(path) as file, pytest.raises(WeightsError, match=r"tokenizer.json: .*CRC"):
        file.tokenizer_text()


# ---- Dtypes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [CONFIG, UNTIED])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back(dtype: str, config: MambaConfig, path: Path) -> None:
    write(path, config, dtype=dtype)
    of_head = "int8" if dtype == "int4" else dtype
    with WeightsFile(path) as file:
        assert file.metadata.config == config
        file.verify()
        for name, tensor in tensors(config).items():
            is_matrix = name in (EMBEDDING, HEAD) or (
                name.endswith("_proj.weight") and "dt_proj" not in name
            )
            stored = of_head if name in (EMBEDDING, HEAD) else dtype
            found = file.read(name)
            assert found.dtype == np.float32
            if not is_matrix or stored == "float32":
                assert not file.is_encoded(name)
                np.testing.assert_array_equal(found, tensor)
            elif stored == "float16":
                assert not file.is_encoded(name)
                np.testing.assert_array_equal(found, tensor.astype(np.float16))
            else:
                assert file.is_encoded(name)
                assert file.read_encoded(name).dtype == stored
                np.testing.assert_array_equal(found, decode(encode(stored, tensor)))


def test_sizes_of_the_files(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, d_model=256, d_inner=512, vocab_size=256)
    sizes = [
        write(tmp_path / f"{dtype}.npz", config, dtype=dtype).stat().st_size for dtype in DTYPES
    ]
    shares = np.array(sizes) / sizes[0]
    np.testing.assert_allclose(shares, [1, 0.53, 0.53, 0.3, 0.2], atol=0.05)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tensor_may_be_given_some_rows_at_a_time(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write(tmp_path / "whole.npz", UNTIED, dtype=dtype).read_bytes()
    monkeypatch.setattr("vimnp.weights.writing._AT_ONCE", 700)
    asked: list[tuple[int, int]] = []

    def in_rows() -> Iterator[tuple[str, Rows]]:
        for name, tensor in tensors(UNTIED).items():

            def read(begin: int, end: int, tensor: np.ndarray = tensor) -> np.ndarray:
                asked.append((begin, end))
                return tensor[begin:end]

            yield name, Rows(tensor.shape, read)

    metadata = Metadata(config=UNTIED, preprocessing=None, dtype=dtype)
    write_weights(tmp_path / "rows.npz", metadata, in_rows())
    assert (tmp_path / "rows.npz").read_bytes() == whole
    assert len(asked) > len(UNTIED.parameter_shapes()) + 20


@pytest.mark.parametrize("dtype", DTYPES)
def test_writing_rows_keeps_a_few_megabytes(dtype: str, path: Path) -> None:
    config = MambaConfig(d_model=1024, n_layer=1, vocab_size=1 << 15, d_inner=16)
    metadata = Metadata(config=config, preprocessing=None, dtype=dtype)

    def in_rows() -> Iterator[tuple[str, Rows]]:
        for name, shape in config.parameter_shapes().items():

            def read(begin: int, end: int, shape: tuple[int, ...] = shape) -> np.ndarray:
                return np.full((end - begin, *shape[1:]), 0.5, np.float32)

            yield name, Rows(shape, read)

    tracemalloc.start()
    try:
        write_weights(path, metadata, in_rows())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20  # the embedding has 128 MB


# ---- Mapped files --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_array_begins_at_a_multiple_of_64_bytes(dtype: str, path: Path) -> None:
    write(path, UNTIED, dtype=dtype, tokenizer="tokenizer.json")
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            assert info.extra == b""
            lengths = struct.unpack_from("<HH", data, info.header_offset + 26)
            begin = info.header_offset + 30 + sum(lengths)
            if info.filename.endswith(".npy"):
                assert begin % 64 == 0
                assert data[begin : begin + 6] == b"\x93NUMPY"
                assert (info.file_size - np.load(path)[info.filename[:-4]].nbytes) % 64 == 0


def test_a_matrix_stays_in_the_file(path: Path) -> None:
    write(path, dtype="int8")
    with WeightsFile(path) as file:
        encoded = file.read_encoded(IN_PROJ)
    assert isinstance(encoded, Encoded)
    assert (encoded.outputs, encoded.inputs) == (80, 20)
    for array in (encoded.codes, encoded.scales):
        assert array is not None
        assert not array.flags.owndata
        assert not array.flags.writeable
        assert array.ctypes.data % 64 == 0
    np.testing.assert_array_equal(decode(encoded), decode(encode("int8", tensors(CONFIG)[IN_PROJ])))


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int4"])
def test_a_file_that_another_writer_packed_is_read(dtype: str, path: Path) -> None:
    """Its arrays begin anywhere: they are copied to where kernels can read them."""
    write(path, dtype=dtype)
    with WeightsFile(path) as file:
        expected = {name: file.read(name) for name in CONFIG.parameter_shapes()}
    rewritten(path, x=None)
    with WeightsFile(path) as file:
        file.verify()
        for name, tensor in expected.items():
            np.testing.assert_array_equal(file.read(name), tensor)
        assert file.read_encoded(IN_PROJ).codes.ctypes.data % 64 == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_checksums_tell_weights_from_others(dtype: str, tmp_path: Path) -> None:
    found = []
    for changed in (False, False, True):
        weights = tensors(CONFIG)
        if changed:
            weights[IN_PROJ] = weights[IN_PROJ][::-1]
        metadata = Metadata(config=CONFIG, preprocessing=None, dtype=dtype)
        write_weights(tmp_path / "w.npz", metadata, weights.items())
        with WeightsFile(tmp_path / "w.npz") as file:
            found.append({name: file.checksum(name) for name in weights})
    assert found[0] == found[1]
    assert {name for name in found[0] if found[0][name] != found[2][name]} == {IN_PROJ}


def damaged(path: Path, member: str, at: int) -> None:
    with zipfile.ZipFile(path) as archive:
        content = archive.read(member)
    data = bytearray(path.read_bytes())
    data[data.index(content) + at] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize("member", [f"{IN_PROJ}.codes.npy", f"{A_LOG}.npy"])
def test_damage_is_found_by_verify(member: str, path: Path) -> None:
    write(path, dtype="int8")
    damaged(path, member, at=200)
    with pytest.raises(WeightsError, match=f"{member}: .*CRC"), WeightsFile(path) as file:
        file.verify()


def with_scales(scales: np.ndarray) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        rewritten(path, **{f"{IN_PROJ}.scales.npy": npy(scales)})

    return change


def with_codes(codes: np.ndarray) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        rewritten(path, **{f"{IN_PROJ}.codes.npy": npy(codes)})

    return change


def npy(array: np.ndarray) -> bytes:
    header = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}"
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + array.tobytes()


BAD_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no codes": (lambda p: rewritten(p, **{f"{IN_PROJ}.codes.npy": None}), "codes.npy: missing"),
    "no scales": (lambda p: rewritten(p, **{f"{IN_PROJ}.scales.npy": None}), "scales.npy: missing"),
    "plain": (
        lambda p: rewritten(p, **{f"{IN_PROJ}.npy": npy(np.zeros((80, 20), "<f4"))}),
        "not a member that this network has",
    ),
    "too few codes": (with_codes(np.ones((4, 1, 8, 16, 4), "u1")), "shape .*; expected"),
    "wide codes": (with_codes(np.ones((5, 1, 8, 16, 4), "<u2")), "dtype uint16; expected uint8"),
    "scales in float": (with_scales(np.ones((5, 1, 16), "<f2")), "dtype float16; expected uint16"),
    "big-endian scales": (with_scales(np.ones((5, 1, 16), ">u2")), "dtype >u2; expected uint16"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_files_that_the_preflight_refuses(case: str, path: Path) -> None:
    change, words = BAD_FILES[case]
    write(path, dtype="int8")
    change(path)
    with pytest.raises(WeightsError, match=f"mixer.in_proj.weight.*{words}"):
        WeightsFile(path)


def test_scales_that_are_not_finite_are_refused(path: Path) -> None:
    write(path, dtype="int8")
    with_scales(np.full((5, 1, 16), 0x7FC0, "<u2"))(path)
    with WeightsFile(path) as file:
        for read in (file.read, file.read_encoded):
            with pytest.raises(WeightsError, match=r"scales\.npy: holds NaN or infinity"):
                read(IN_PROJ)


def test_a_code_that_none_is_is_found_by_verify(path: Path) -> None:
    write(path, dtype="int8")
    with_codes(np.zeros((5, 1, 8, 16, 4), "u1"))(path)
    with WeightsFile(path) as file, pytest.raises(WeightsError, match=f"{IN_PROJ}: int8 codes"):
        file.verify()


def test_a_header_of_a_member_that_reaches_beyond_the_file(path: Path) -> None:
    """The list of members does not tell how long what lies behind a name is."""
    write(path, dtype="int8")
    last = f"{IN_PROJ}.codes.npy"
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(last)
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, info.header_offset + 28, 0xFFFF)
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="in_proj"):
        WeightsFile(path)
    with pytest.raises(WeightsError, match="in_proj"), WeightsFile(path) as file:
        file.read_encoded(IN_PROJ)


def test_weights_that_do_not_fit_are_refused_by_name(path: Path) -> None:
    given = tensors(CONFIG)
    given[IN_PROJ] = given[IN_PROJ].copy()
    for value, words in ((np.nan, "NaN"), (np.float32(3.2e38), "beyond 3e")):
        given[IN_PROJ][-1, -1] = value
        for dtype in ("bfloat16", "int8", "int4"):
            metadata = Metadata(config=CONFIG, preprocessing=None, dtype=dtype)
            with pytest.raises(WeightsError, match=f"{IN_PROJ}: .*{words}"):
                write_weights(path, metadata, given.items())
            assert not path.exists()


# ---- Whatever a file holds -----------------------------------------------------------------------


def sound_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "sound.npz"), tokenizer="tokenizer.json", dtype="int4")
        return path.read_bytes()


SOUND = sound_file()
LIST = SOUND.rindex(b"PK\x01\x02", 0, SOUND.index(b"PK\x01\x02") + 5)  # of the members
HEADERS = [at for at in range(len(SOUND)) if SOUND.startswith(b"PK\x03\x04", at)]
POSITIONS = st.one_of(
    st.integers(0, len(SOUND) - 1),
    st.integers(LIST, len(SOUND) - 1),
    st.builds(int.__add__, st.sampled_from(HEADERS), st.integers(0, 230)),
)
MUTATIONS = st.lists(
    st.tuples(POSITIONS, st.integers(0, 255) | st.sampled_from([0, 1, 0x7F, 0xFF])),
    min_size=1,
    max_size=4,
)


@given(mutations=MUTATIONS, cut=st.none() | st.integers(0, len(SOUND)))
@settings(deadline=None, max_examples=300)
def test_mutated_bytes(mutations: list[tuple[int, int]], cut: int | None) -> None:
    data = bytearray(SOUND)
    for position, byte in mutations:
        data[min(position, len(data) - 1)] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mutated.npz")
        path.write_bytes(data[:cut])
        try:
            with WeightsFile(path) as file:
                file.tokenizer_text()
                shapes = file.metadata.config.parameter_shapes()
                for name, shape in shapes.items():
                    array = file.read(name)
                    assert array.shape == shape
                    assert np.isfinite(array).all()
                file.verify()
        except WeightsError as error:
            message = str(error)
            assert message.isprintable()
