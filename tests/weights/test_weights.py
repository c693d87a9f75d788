"""The ``.npz`` weights file: round trips, whole or not at all, and every file that is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import json
import math
import os
import re
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import torch_format
from tests.support.arrays import assert_same
from tests.support.full_disk import full_disk
from tests.support.irregular import irregular as irregular
from vimnp import VisionMamba
from vimnp.config import VimConfig
from vimnp.errors import ConfigError, WeightsError
from vimnp.images.preprocessing import Preprocessing
from vimnp.storage.archive import BoundedReader
from vimnp.weights import METADATA, Metadata, WeightsFile, write_weights

TINY = VimConfig(
    img_size=(4, 4), patch_size=2, stride=2, depth=1, embed_dim=2, d_state=2, num_classes=3
)
LABELS = ("cat", "dog", "été")
METADATA_OF_TINY = Metadata(config=TINY, labels=LABELS, source="a.pth", source_sha256="ab" * 32)
Tensors = Mapping[str, np.ndarray]


def random_tensors(config: VimConfig, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal(shape, dtype=np.float32)
        for name, shape in config.parameter_shapes().items()
    }


TENSORS = random_tensors(TINY)


def read_all(path: Path) -> tuple[Metadata, dict[str, np.ndarray]]:
    with WeightsFile(path) as file:
        names = file.metadata.config.parameter_shapes()
        return file.metadata, {name: file.read(name) for name in names}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tiny.npz"


@pytest.fixture
def tiny(path: Path) -> Path:
    write_weights(path, METADATA_OF_TINY, TENSORS.items())
    return path


# ---- Writing and reading -------------------------------------------------------------------------


def test_float32_comes_back_bit_for_bit(tiny: Path) -> None:
    metadata, found = read_all(tiny)
    assert metadata == METADATA_OF_TINY
    assert_same(found, TENSORS)


def test_float16_comes_back_rounded_once(path: Path) -> None:
    metadata = dataclasses.replace(METADATA_OF_TINY, dtype="float16")
    write_weights(path, metadata, TENSORS.items())
    found_metadata, found = read_all(path)
    assert found_metadata == metadata
    rounded = {name: a.astype(np.float16).astype(np.float32) for name, a in TENSORS.items()}
    assert_same(found, rounded)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_extreme_values_survive(dtype: str, path: Path) -> None:
    limits = np.finfo(dtype)
    values = [limits.max, limits.min, limits.tiny, limits.smallest_subnormal, -0.0, 0.0]
    tensors = TENSORS | {"head.weight": np.array(values, np.float32).reshape(3, 2)}
    write_weights(path, Metadata(config=TINY, dtype=dtype), tensors.items())
    _, found = read_all(path)
    assert found["head.weight"].tobytes() == tensors["head.weight"].tobytes()


@pytest.mark.parametrize(
    "metadata",
    [
        Metadata(config=TINY),
        Metadata(config=dataclasses.replace(TINY, rms_norm=False, if_cls_token=False)),
        Metadata(config=TINY, preprocessing=Preprocessing(1.0, (0.5, 0.25, 0.0), (1.0, 2.0, 0.5))),
        Metadata(config=TINY, preprocessing=Preprocessing(1, (0, 0, 0), (1, 1, 1))),
        Metadata(config=TINY, labels=("", 'a"b\\c\nd', "猫 \U0001f431")),
        Metadata(config=dataclasses.replace(TINY, channels=1)),
        Metadata(config=dataclasses.replace(TINY, channels=5, num_classes=0)),
        Metadata(
            config=dataclasses.replace(TINY, channels=2, patch_size=(4, 2), expand=1.5, bias=True),
            preprocessing=Preprocessing(1.0, (0.5, 0.25), (1.0, 2.0)),
        ),
    ],
)
def test_metadata_come_back(metadata: Metadata, path: Path) -> None:
    write_weights(path, metadata, random_tensors(metadata.config).items())
    assert read_all(path)[0] == metadata


def test_any_floating_dtype_layout_and_order_is_taken(path: Path) -> None:
    def awkward() -> Iterator[tuple[str, np.ndarray]]:
        for name, array in reversed(TENSORS.items()):
            yield name, np.asfortranarray(array, dtype=">f8")

    write_weights(path, METADATA_OF_TINY, awkward())
    assert_same(read_all(path)[1], TENSORS)


def test_a_generator_is_asked_for_one_tensor_at_a_time(path: Path) -> None:
    config = dataclasses.replace(TINY, embed_dim=64, depth=12, dt_rank=4)
    shapes = config.parameter_shapes()
    total = sum(4 * math.prod(shape) for shape in shapes.values())
    tracemalloc.start()
    try:
        tensors = ((name, np.ones(shape, np.float32)) for name, shape in shapes.items())
        write_weights(path, Metadata(config=config), tensors)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > total
    assert peak < total / 4


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        write_weights(tmp_path / name, METADATA_OF_TINY, TENSORS.items())
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_numpy_opens_the_file(tiny: Path) -> None:
    with np.load(tiny, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files if name != METADATA}
        assert json.loads(archive[METADATA])["labels"] == list(LABELS)
    assert_same(found, TENSORS)


def test_a_file_that_numpy_wrote_is_read(path: Path) -> None:
    np.savez(path, **TENSORS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA, METADATA_OF_TINY.to_json())
    assert_same(read_all(path)[1], TENSORS)


def test_a_path_may_be_text(tiny: Path) -> None:
    with WeightsFile(str(tiny)) as file:
        assert file.path == tiny
    write_weights(str(tiny), METADATA_OF_TINY, TENSORS.items())


def test_a_size_and_a_crop_that_make_too_large_a_picture_are_refused() -> None:
    """A file of 5 KB took 1.6 GB for each picture."""
    config = dataclasses.replace(TINY, img_size=(2048, 2048), patch_size=16, stride=16)
    with pytest.raises(ConfigError, match=r"img_size 2048x2048 and crop_pct 0\.1 .*20480x20480"):
        Metadata(config=config, preprocessing=Preprocessing(crop_pct=0.1))
    Metadata(config=config, preprocessing=Preprocessing(crop_pct=0.5))
    sound = Metadata(config=TINY, preprocessing=Preprocessing(crop_pct=0.1))
    with pytest.raises(ConfigError, match="crop_pct"):  # what another img_size at loading does
        dataclasses.replace(sound, config=config)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 64])
def test_the_preprocessing_fits_the_channels(channels: int) -> None:
    config = dataclasses.replace(TINY, channels=channels)
    assert Metadata(config=config).preprocessing == Preprocessing.of_channels(channels)
    for other in {1, 3, 64} - {channels}:
        words = f"of {other} channels, and the network takes {channels}; expected one number each"
        with pytest.raises(ConfigError, match=words):
            Metadata(config=config, preprocessing=Preprocessing.of_channels(other))


@pytest.mark.parametrize("labels", [(), ("a",)])
def test_a_network_without_a_head_has_no_labels(labels: tuple[str, ...]) -> None:
    config = dataclasses.replace(TINY, num_classes=0)
    assert Metadata(config=config).labels is None
    with pytest.raises(ConfigError, match="labels for a network without a head"):
        Metadata(config=config, labels=labels)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"dtype": "float64"}, "float64"),
        ({"dtype": None}, "float32"),
        ({"labels": ("a", "b")}, "2 labels for 3 classes"),
        ({"labels": ("a", "b", 3)}, "labels"),
        ({"labels": ("a", "b", "\ud800")}, "Unicode"),
        ({"source": 3}, "source is 3"),
        ({"source": "\udcff.pth"}, "Unicode"),
        ({"source_sha256": b"ab"}, "source_sha256"),
    ],
)
def test_wrong_metadata_are_named(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        dataclasses.replace(METADATA_OF_TINY, **changes)


# ---- Whole or not at all -------------------------------------------------------------------------


class SourceError(Exception):
    """What a source of tensors may raise half way."""


def interrupted() -> Iterator[tuple[str, np.ndarray]]:
    yield from list(TENSORS.items())[:5]
    raise SourceError


def with_tensor(name: str, array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    return iter((TENSORS | {name: array}).items())


def filled(name: str, value: float) -> Iterator[tuple[str, np.ndarray]]:
    array = TENSORS[name].astype(np.float64)
    array.flat[-1] = value
    return with_tensor(name, array)


def without(name: str) -> Iterator[tuple[str, np.ndarray]]:
    return ((n, array) for n, array in TENSORS.items() if n != name)


# (what is given, dtype, exception, words of its message)
FAILURES: list[tuple[Callable[[], Iterator[tuple[str, np.ndarray]]], str, type, list[str]]] = [
    (interrupted, "float32", SourceError, []),
    (lambda: iter(()), "float32", WeightsError, ["cls_token", "missing"]),
    (lambda: without("head.bias"), "float32", WeightsError, ["head.bias", "missing"]),
    (
        lambda: with_tensor("head.gain", np.ones(3)),
        "float32",
        WeightsError,
        ["head.gain", "not a tensor"],
    ),
    (
        lambda: iter([*TENSORS.items(), ("head.bias", TENSORS["head.bias"])]),
        "float32",
        WeightsError,
        ["head.bias", "twice"],
    ),
    (
        lambda: with_tensor("head.weight", TENSORS["head.weight"].T),
        "float32",
        WeightsError,
        ["head.weight", "(2, 3)", "(3, 2)"],
    ),
    (lambda: filled("head.bias", np.nan), "float32", WeightsError, ["head.bias", "NaN"]),
    (lambda: filled("head.bias", -np.inf), "float32", WeightsError, ["head.bias", "infinity"]),
    (lambda: filled("norm_f.weight", 1e39), "float32", WeightsError, ["norm_f.weight", "1e+39"]),
    (
        lambda: filled("norm_f.weight", -65536.0),
        "float16",
        WeightsError,
        ["norm_f.weight", "65536", "float16"],
    ),
]


@pytest.mark.parametrize("existing", [None, b"the file before"])
@pytest.mark.parametrize(("tensors", "dtype", "kind", "words"), FAILURES)
def test_a_failure_leaves_everything_as_it_was(
    tensors: Callable[[], Iterator[tuple[str, np.ndarray]]],
    dtype: str,
    kind: type[Exception],
    words: list[str],
    existing: bytes | None,
    path: Path,
) -> None:
    if existing is not None:
        path.write_bytes(existing)
    with pytest.raises(kind) as caught:
        write_weights(path, Metadata(config=TINY, dtype=dtype), tensors())
    assert all(word in str(caught.value) for word in words)
    assert [p.read_bytes() for p in path.parent.iterdir()] == ([existing] if existing else [])


def test_a_full_disk_leaves_everything_as_it_was(path: Path) -> None:
    path.write_bytes(b"the file before")
    with full_disk(), pytest.raises(OSError, match="File too large"):
        write_weights(path, METADATA_OF_TINY, TENSORS.items())
    assert [p.read_bytes() for p in path.parent.iterdir()] == [b"the file before"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_of_the_last_step_leaves_everything_as_it_was(
    failing: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    path.write_bytes(b"the file before")
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="the disk is broken"):
        write_weights(path, METADATA_OF_TINY, TENSORS.items())
    assert [p.read_bytes() for p in path.parent.iterdir()] == [b"the file before"]


def test_an_unwritable_destination_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for destination in ("missing/tiny.npz", "file/tiny.npz", "folder"):
        with pytest.raises(OSError, match=destination.split("/")[0]):
            write_weights(tmp_path / destination, METADATA_OF_TINY, TENSORS.items())
    assert {p.name for p in tmp_path.iterdir()} == {"file", "folder"}
    assert not list((tmp_path / "folder").iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows' folders have no such permission")
@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_an_oserror(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        write_weights(tmp_path / "tiny.npz", METADATA_OF_TINY, TENSORS.items())
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_replaced_only_by_a_whole_one(tiny: Path) -> None:
    before = tiny.read_bytes()
    seen = []

    def watching() -> Iterator[tuple[str, np.ndarray]]:
        for name, array in TENSORS.items():
            seen.append(tiny.read_bytes() == before)
            yield name, array + 1

    write_weights(tiny, METADATA_OF_TINY, watching())
    assert seen == [True] * len(TENSORS)
    assert_same(read_all(tiny)[1], {name: array + 1 for name, array in TENSORS.items()})
    assert list(tiny.parent.iterdir()) == [tiny]


# ---- Hostile and damaged files -------------------------------------------------------------------


@dataclasses.dataclass
class Member:
    """A member of a zip, and what its headers say of it where that is not the truth."""

    name: str
    data: bytes
    method: int = zipfile.ZIP_STORED
    flags: int = 0
    crc: int | None = None
    declared: int | None = None  # size
    unpacked: int | None = None  # size once it is unpacked, where that is another one
    zip64: tuple[int, ...] = ()  # sizes, once unpacked and stored, that need 64 bits
    version: int = 20  # of the zip format
    offset: int | None = None  # where it is said to lie
    step: int | None = None  # how far into its data the next member begins

    @property
    def stored(self) -> bytes:
        if self.method == zipfile.ZIP_STORED:
            return self.data
        return zlib.compress(self.data, wbits=-zlib.MAX_WBITS)


def good_members() -> list[Member]:
    members = [Member(METADATA, METADATA_OF_TINY.to_json())]
    return members + [Member(f"{name}.npy", npy(array)) for name, array in TENSORS.items()]


def npy(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that only NumPy reads versions after the first
        np.lib.format.write_array(file, array, version)
    return file.getvalue()


def npy_with_header(header: str, data: bytes = b"") -> bytes:
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def declaring(shape: str, descr: object = "<f4", size: int = 12) -> bytes:
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}"
    return npy_with_header(header, bytes(size))


def write_zip(path: Path, members: list[Member]) -> None:
    """Write a zip by hand, since zipfile would not write most of these."""
    path.write_bytes(zipped(members))


def zipped(members: list[Member]) -> bytes:
    body, starts, position = bytearray(), [], 0
    for member in members:
        starts.append(position)
        position += 30 + len(member.name.encode())
        body.extend(bytes(max(position - len(body), 0)))  # room for the header
        body[position:] = member.stored
        position += len(member.stored) if member.step is None else member.step
    directory = b""
    for member, start in reversed([*zip(members, starts, strict=True)]):  # from the inside out
        name = member.name.encode()
        begin = start + 30 + len(name)
        offset = start if member.offset is None else member.offset
        stored, plain = len(member.stored), len(member.data)
        if member.declared is not None:
            stored = plain = member.declared
        if member.unpacked is not None:
            plain = member.unpacked
        extra = b""
        if member.zip64:
            stored = plain = 0xFFFFFFFF
            extra = struct.pack(f"<HH{len(member.zip64)}Q", 1, 16, *member.zip64)
        crc = member.crc
        if crc is None:
            crc = zlib.crc32(member.data if member.step is None else body[begin : begin + plain])
        numbers = (member.version, member.flags, member.method, 0, 33, crc, stored, plain)
        header = struct.pack("<HHHHHIIIH", *numbers, len(name))
        body[start:begin] = b"PK\x03\x04" + header + b"\0\0" + name
        attributes = struct.pack("<HHHHII", len(extra), 0, 0, 0, 0o600 << 16, offset)
        entry = b"PK\x01\x02\x14\x03" + header + attributes + name + extra
        directory = entry + directory
    count = len(members)
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body) + directory + b"PK\x05\x06" + end


def crafted(change: Callable[[list[Member]], object]) -> Callable[[Path], None]:
    """A writer of the good file with its list of members changed."""

    def write(path: Path) -> None:
        members = good_members()
        change(members)
        write_zip(path, members)

    return write


def changed(name: str, **changes: Any) -> Callable[[Path], None]:
    """A writer of the good file with one member changed."""

    def change(members: list[Member]) -> None:
        index = [member.name for member in members].index(name)
        members[index] = dataclasses.replace(members[index], **changes)

    return crafted(change)


def added(name: str, data: bytes = b"") -> Callable[[Path], None]:
    return crafted(lambda members: members.append(Member(name, data)))


def removed(name: str) -> Callable[[Path], None]:
    return crafted(lambda members: members.remove(next(m for m in members if m.name == name)))


def json_text(text: str | bytes) -> Callable[[Path], None]:
    """A writer of the good file with another ``vimnp.json``."""
    return changed(METADATA, data=text.encode() if isinstance(text, str) else text)


def json_values(**changes: Any) -> Callable[[Path], None]:
    values = json.loads(METADATA_OF_TINY.to_json())
    return json_text(json.dumps(values | changes))


def json_without(field: str) -> Callable[[Path], None]:
    values = json.loads(METADATA_OF_TINY.to_json())
    del values[field]
    return json_text(json.dumps(values))


def json_inside(field: str, **changes: Any) -> Callable[[Path], None]:
    """A writer of the good file with something changed inside config or preprocessing."""
    values = json.loads(METADATA_OF_TINY.to_json())
    return json_values(**{field: values[field] | changes})


def json_of(config: VimConfig) -> dict[str, Any]:
    """What the metadata of another network say, without labels."""
    return json.loads(Metadata(config=config).to_json())  # type: ignore[no-any-return]


def cut(share: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        write_zip(path, good_members())
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return write


def renamed_inside(path: Path) -> None:
    """The directory and the member's own header disagree about its name."""
    write_zip(path, good_members())
    data = path.read_bytes()
    path.write_bytes(data.replace(b"head.bias.npy", b"head.bIas.npy", 1))


def huge_network(path: Path) -> None:
    """Configuration, headers and directory agree on 1.6 GB, of which next to nothing is there."""
    config = dataclasses.replace(TINY, embed_dim=8192, dt_rank=1)
    members = [Member(METADATA, Metadata(config=config).to_json())]
    for name, shape in config.parameter_shapes().items():
        size = 4 * math.prod(shape)
        member = Member(f"{name}.npy", declaring(str(shape), size=min(size, 1 << 20)))
        member.declared = len(member.data) + max(size - (1 << 20), 0)
        members.append(member)
    write_zip(path, members)


def nested_members(path: Path) -> None:
    """One member lies inside another, as in archives that unpack to far more than their size."""
    config = dataclasses.replace(TINY, embed_dim=4, d_state=256)
    members = [Member(METADATA, Metadata(config=config).to_json())]
    shapes = config.parameter_shapes()
    outer, inner = "layers.0.mixer.A_log", "layers.0.mixer.A_b_log"
    members += [
        Member(f"{name}.npy", npy(np.zeros(shapes[name], np.float32)))
        for name in [*(shapes.keys() - {outer, inner}), outer, inner]
    ]
    members[-2].step = 128  # behind the header
    write_zip(path, members)


def write_nothing(path: Path) -> None:
    assert not path.exists()


class Attack:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


def good_file() -> bytes:
    return zipped(good_members())


def behind_a_good_one(write: Callable[[Path], object]) -> Callable[[Path], None]:
    """A writer of a sound archive with this one behind it."""

    def write_both(path: Path) -> None:
        write(path)
        path.write_bytes(good_file() + path.read_bytes())

    return write_both


def within_a_zip(path: Path) -> None:
    write_zip(path, [Member("tiny.npz", good_file())])


def crowd(path: Path, directory_size: int) -> None:
    """An archive of empty members without a name, as many as its directory has room for."""
    count = directory_size // 46
    entry = b"PK\x01\x02" + bytes(42)
    end = struct.pack("<HHHHIIH", 0, 0, count % 65536, count % 65536, count * 46, 0, 0)
    path.write_bytes(entry * count + b"PK\x05\x06" + end)


BIAS = "head.bias.npy"
WEIGHT = "head.weight.npy"
DEEP = "[" * 100_000
ATTACKS = np.array([Attack()] * 3, object)
ZEROS = bytes(1 << 25)  # 33 KB when they are deflated
DEFLATED = zipfile.ZIP_DEFLATED
FEW = len(zlib.compress(ZEROS, wbits=-15))
GB_40 = (40 << 30, 40 << 30)

# A value of each wrong kind for every field of the configuration, by the type of the field.
WRONG_VALUES: dict[str, list[Any]] = {
    "bool": [None, 1, 0.0, "true", [True], {}],
    "int": [None, True, 1.0, "1", [1], {}, 0, -1, 10**30],
    "int | None": [True, 1.0, "1", [1], {}, 0, -1, 10**30],
    "float": [None, True, 1, "1e-5", [1e-5], {}, -1e-5, 1.0],
    "str": [None, True, 1, "v3", ["v2"], {}],
    "tuple[int, int]": [None, 4, "44", {}, [4], [4, True], [4.0, 4], [0, 4], [4, -4]],
    "int | tuple[int, int]": [None, True, 1.0, "4", {}, 0, [4], [4, 4, 4], [4, True], [0, 4]],
}
# Fields of another range than that of the others of their kind.
WRONG_NUMBERS: dict[str, list[Any]] = {
    "flip_img_sequences_ratio": [None, True, "1", [1.0], {}, 0.5, -1.0, 2],
    "expand": [None, True, "2", [2], {}, 0, 0.0, -1.5, 65, 10**30, math.nan, math.inf],
    "num_classes": [None, True, 1.0, "1", [1], {}, -1, 10**30],
    "channels": [None, True, 1.0, "1", [1], {}, 0, -1, 65],
}
WRONG_FIELDS = [
    (field.name, value)
    for field in dataclasses.fields(VimConfig)
    for value in WRONG_NUMBERS.get(field.name) or WRONG_VALUES[str(field.type)]
]

# (name of the case, how the file is made, what the message must name, what it must say)
BAD_FILES: list[tuple[str, Callable[[Path], object], str, str]] = [
    ("missing file", write_nothing, "", "No such file"),
    ("directory", Path.mkdir, "", "a folder"),
    ("empty file", Path.touch, "", "not a complete .npz"),
    ("text", lambda path: path.write_text("weights\n" * 100), "", "not a complete .npz"),
    ("a .npy file", lambda path: path.write_bytes(npy(np.ones(9))), "", "not a complete .npz"),
    ("cut after 1 %", cut(0.01), "", "not a complete .npz"),
    ("cut after 30 %", cut(0.3), "", "not a complete .npz"),
    ("cut after 90 %", cut(0.9), "", "not a complete .npz"),
    ("cut by a byte", cut(0.9999), "", "not a complete .npz"),
    ("no members", crafted(list.clear), METADATA, "missing"),
    ("of np.savez alone", removed(METADATA), METADATA, "no vimnp weights file"),
    ("a tensor missing", removed(BIAS), BIAS, "missing"),
    ("a member too many", added("head.gain.npy", npy(np.ones(3))), "head.gain.npy", "remove"),
    ("a member outside", added("../x", b"x"), "../x", "not a member"),
    ("an absolute name", added("/etc/x", b"x"), "/etc/x", "not a member"),
    ("a folder", added("head/"), "head/", "not a member"),
    ("a name of control characters", added("\x1b[2J\n"), r"'\x1b[2J\n'", "not a member"),
    ("a name without end", added("n" * 60_000), "n" * 100 + "...", "not a member"),
    ("control characters without end", added("\x1b" * 60_000), r"\x1b...", "not a member"),
    ("a tensor twice", added(BIAS, npy(TENSORS["head.bias"])), BIAS, "twice"),
    ("metadata twice", added(METADATA, METADATA_OF_TINY.to_json()), METADATA, "twice"),
    ("a tensor twice, by a zero", added(f"{BIAS}\0x", b""), BIAS, "twice"),
    ("another case of letters", added("HEAD.BIAS.npy"), "HEAD.BIAS.npy", "not a member"),
    ("a member outside, for Windows", added("..\\x", b"x"), "..\\x", "not a member"),
    ("members inside members", nested_members, ".mixer.A", ""),
    ("members without end", lambda path: crowd(path, 2 << 20), "", "its directory takes"),
    ("zip in zip", within_a_zip, METADATA, "no vimnp weights file"),
    ("a zip for a tensor", changed(BIAS, data=good_file()), BIAS, "header"),
    ("a zip for the metadata", json_text(good_file()), METADATA, "not JSON"),
    ("a zip too many", added("tiny.npz", good_file()), "tiny.npz", "not a member"),
    ("lacking what lies before it", behind_a_good_one(removed(BIAS)), BIAS, "missing"),
    ("worse than what lies before it", behind_a_good_one(removed(METADATA)), METADATA, "missing"),
    ("a tensor compressed", changed(BIAS, method=zipfile.ZIP_DEFLATED), BIAS, "compressed"),
    ("metadata compressed", changed(METADATA, method=zipfile.ZIP_DEFLATED), METADATA, "compressed"),
    ("an unknown method", changed(BIAS, method=99), BIAS, "compressed"),
    ("a tensor encrypted", changed(BIAS, flags=1), BIAS, "encrypted"),
    ("metadata encrypted", changed(METADATA, flags=1), METADATA, "encrypted"),
    ("encrypted with AES", changed(BIAS, flags=1, method=99), BIAS, "encrypted"),
    ("strongly encrypted", changed(BIAS, flags=0x41), BIAS, "encrypted"),
    ("a later zip format", changed(BIAS, version=99), "", "zip file version 9.9"),
    ("a member before the file", changed(BIAS, offset=0xFFFFFFF0), BIAS, "longer"),
    ("a member at another's place", changed(BIAS, offset=0), BIAS, "differ"),
    ("40 GB of a tensor", changed(BIAS, method=DEFLATED, zip64=(40 << 30, FEW)), BIAS,
     "compressed"),
    ("40 GB of metadata", changed(METADATA, method=DEFLATED, zip64=GB_40), METADATA, "compressed"),
    ("more than it says", changed(BIAS, data=ZEROS, method=DEFLATED, unpacked=FEW), BIAS,
     "compressed"),
    ("more metadata than they say", changed(METADATA, data=ZEROS, method=DEFLATED, unpacked=FEW),
     METADATA, "compressed"),
    ("40 GB that are stored", changed(BIAS, zip64=GB_40), BIAS, "longer than the file"),
    ("40 GB that are stored, of metadata", changed(METADATA, zip64=GB_40), METADATA, "longer than"),
    ("a negative size", changed(BIAS, zip64=(2**64 - 1,) * 2), BIAS, "longer than the file"),
    ("a size cut short", changed(BIAS, zip64=(12,)), "", "not a complete .npz"),
    ("patched data", changed(BIAS, flags=0x20), BIAS, "patched"),
    ("wrong CRC of a tensor", changed(WEIGHT, crc=1), WEIGHT, "CRC"),
    ("wrong CRC of the metadata", changed(METADATA, crc=1), METADATA, "CRC"),
    ("another name in the member's own header", renamed_inside, BIAS, "header"),
    ("a member past the end", changed(BIAS, declared=1 << 30), "", "longer than the file"),
    ("metadata past the end", changed(METADATA, declared=1 << 19), METADATA, "cannot be read"),
    ("endless metadata", json_text(b" " * (1 << 21)), METADATA, "longer than"),
    ("huge and consistent", huge_network, "", "longer than the file"),
    ("no header", changed(BIAS, data=b""), BIAS, "header"),
    ("half a header", changed(BIAS, data=npy(TENSORS["head.bias"])[:40]), BIAS, "header"),
    ("no magic", changed(BIAS, data=bytes(140)), BIAS, "header"),
    ("version 2", changed(BIAS, data=npy(TENSORS["head.bias"], (2, 0))), BIAS, "version 1.0"),
    ("version 3", changed(BIAS, data=npy(TENSORS["head.bias"], (3, 0))), BIAS, "version 1.0"),
    ("a header that is code", changed(BIAS, data=npy_with_header("exit()")), BIAS, "header"),
    ("a deep header", changed(BIAS, data=npy_with_header("(" * 900)), BIAS, "header"),
    ("a long header", changed(BIAS, data=npy_with_header(" " * 60_000)), BIAS, "header"),
    ("Python 2's header", changed(BIAS, data=declaring("(3L,)")), BIAS, "header"),
    ("a huge shape", changed(BIAS, data=declaring(f"({2**62},)")), BIAS, "shape"),
    ("huge sides", changed(BIAS, data=declaring(f"({2**40}, {2**40})")), BIAS, "shape"),
    ("a negative side", changed(BIAS, data=declaring("(-1,)")), BIAS, "shape (-1,)"),
    ("wrong shape", changed(WEIGHT, data=npy(np.ones((2, 3), "<f4"))), WEIGHT, "expected (3, 2)"),
    ("a scalar", changed(BIAS, data=npy(np.float32(1))), BIAS, "expected (3,)"),
    ("Fortran order", changed(WEIGHT, data=npy(np.ones((2, 3), "<f4").T)), WEIGHT, "Fortran"),
    ("big-endian", changed(BIAS, data=npy(np.ones(3, ">f4"))), BIAS, ">f4"),
    ("float64", changed(BIAS, data=npy(np.ones(3))), BIAS, "float64"),
    ("float16", changed(BIAS, data=npy(np.ones(3, "<f2"))), BIAS, "float16"),
    ("int32", changed(BIAS, data=npy(np.ones(3, "<i4"))), BIAS, "int32"),
    ("complex", changed(BIAS, data=npy(np.ones(3, "<c8"))), BIAS, "complex64"),
    ("objects", changed(BIAS, data=declaring("(3,)", "|O")), BIAS, "object"),
    ("objects that run code", changed(BIAS, data=npy(ATTACKS)), BIAS, "object"),
    ("objects in a record", changed(BIAS, data=declaring("(3,)", [("a", "|O")])), BIAS, "dtype"),
    ("a pickle that runs code", changed(BIAS, data=ATTACKS.dumps()), BIAS, "header"),
    ("a pickle of metadata", json_text(ATTACKS.dumps()), METADATA, "not JSON"),
    ("arrays in an array", changed(BIAS, data=declaring("()", ("<f4", (3,)))), BIAS, "shape ()"),
    ("a shape of floats", changed(BIAS, data=declaring("(3.0,)")), BIAS, "header"),
    ("a huge dtype", changed(BIAS, data=declaring("(3,)", "|V2000000000")), BIAS, "dtype"),
    ("no dtype", changed(BIAS, data=declaring("(3,)", "?!")), BIAS, "header"),
    ("too long", changed(BIAS, data=npy(TENSORS["head.bias"]) + b"x"), BIAS, "141 bytes"),
    ("too short", changed(BIAS, data=npy(TENSORS["head.bias"])[:-1]), BIAS, "139 bytes"),
    ("NaN", changed(BIAS, data=npy(np.array([1, np.nan, 2], "<f4"))), BIAS, "NaN"),
    ("infinity", changed(BIAS, data=npy(np.array([1, 2, -np.inf], "<f4"))), BIAS, "infinity"),
    ("metadata: nothing", json_text(""), METADATA, "not JSON"),
    ("metadata: no JSON", json_text("{'config': 1}"), METADATA, "not JSON"),
    ("metadata: no text", json_text(b"\xff\xfe\x00"), METADATA, "not JSON"),
    ("metadata: a list", json_text("[1]"), METADATA, "not a JSON object"),
    ("metadata: deep", json_text(DEEP), METADATA, "not JSON (nested more than 64 deep)"),
    ("metadata: a hundred deep", json_values(source=json.loads("[" * 100 + "]" * 100)), METADATA,
     "not JSON (nested more than 64 deep)"),
    ("metadata: a long number", json_text("9" * 50_000), METADATA, "not JSON"),
    ("metadata: empty", json_text("{}"), METADATA, "format_version is None"),
    ("a later version", json_values(format_version=4), METADATA,
     "format_version is 4; this vimnp reads versions 2 and 3: "),
    ("an earlier version", json_values(format_version=1), METADATA, "format_version is 1"),
    ("a version of text", json_values(format_version="2"), METADATA, "format_version is '2'"),
    ("a version of true", json_values(format_version=True), METADATA, "format_version is True"),
    ("a version of 2.0", json_values(format_version=2.0), METADATA, "format_version is 2.0"),
    ("a family of another's", json_values(family="toy"), METADATA,
     "family is 'toy'; this vimnp reads 'vim'"),
    ("no family", json_without("family"), METADATA, "family is None"),
    ("a family of lists", json_values(family=[["vim"]]), METADATA, "family is [['vim']]"),
    ("a family without end", json_values(family="\x1b" + "n" * 60_000), METADATA,
     r"family is '\x1bnnn"),
    ("a family in version 2", json_values(format_version=2), METADATA, "'family'"),
    ("metadata: a field too many", json_values(pickle="x"), METADATA, "pickle"),
    ("metadata: a field missing", json_without("dtype"), METADATA, "expected"),
    ("dtype unknown", json_values(dtype="float64"), METADATA, "float64"),
    ("dtype not that of the tensors", json_values(dtype="float16"), "cls_token.npy", "float32"),
    ("dtype a list", json_values(dtype=["float32"]), METADATA, "dtype"),
    ("config a list", json_values(config=[]), METADATA, "config"),
    ("config with a field too many", json_inside("config", x=1), METADATA, "'x'"),
    ("config without a field", json_values(config={}), METADATA, "lacks"),
    ("config of another network", json_inside("config", depth=2), "layers.1.", "missing"),
    ("config of text", json_inside("config", depth="1"), METADATA, "depth is '1'"),
    ("config of floats", json_inside("config", depth=1.0), METADATA, "depth is 1.0"),
    ("config of booleans", json_inside("config", depth=True), METADATA, "depth is True"),
    ("config of numbers", json_inside("config", rms_norm=1), METADATA, "rms_norm is 1"),
    ("config of null", json_inside("config", d_conv=None), METADATA, "d_conv is None"),
    ("config of NaN", json_inside("config", norm_epsilon=math.nan), METADATA, "norm_epsilon"),
    ("config of infinity", json_inside("config", norm_epsilon=math.inf), METADATA, "norm_epsilon"),
    ("config beyond bounds", json_inside("config", embed_dim=10**9), METADATA, "embed_dim"),
    ("config of very many tokens", json_inside("config", img_size=[9999] * 2), METADATA, "patches"),
    *[
        (f"{name} of {value!r}", json_inside("config", **{name: value}), METADATA, f"{name} is ")
        for name, value in WRONG_FIELDS
    ],
    ("max with a class token", json_inside("config", final_pool_type="max"), METADATA,
     "final_pool_type is 'max'"),
    ("rope of odd pairs", json_inside("config", if_rope=True), METADATA, "embed_dim is 2"),
    ("rope with two class tokens",
     json_inside("config", if_rope=True, embed_dim=4, use_double_cls_token=True), METADATA,
     "use_double_cls_token is true"),
    ("one layer of a pair", json_inside("config", if_bidirectional=True), METADATA, "depth is 1"),
    ("a patch beyond the picture", json_inside("config", patch_size=5), METADATA, "4x4"),
    ("config with rope", json_inside("config", if_rope=True, embed_dim=4), "rope.", "missing"),
    ("config with gamma", json_inside("config", if_layer_scale=True), "mixer.gamma", "missing"),
    ("config one way", json_inside("config", bimamba_type="none"), ".mixer.A_b_log.npy", "remove"),
    ("config of v1", json_inside("config", bimamba_type="v1"), ".mixer.D_b.npy", "remove"),
    ("config of two class tokens", json_inside("config", use_double_cls_token=True),
     "cls_token_head.npy", "missing"),
    ("img_size of three", json_inside("config", img_size=[4, 4, 4]), METADATA, "img_size"),
    ("img_size of text", json_inside("config", img_size="44"), METADATA, "img_size"),
    ("preprocessing null", json_values(preprocessing=None), METADATA, "preprocessing"),
    ("preprocessing empty", json_values(preprocessing={}), METADATA, "crop_pct"),
    ("crop_pct of NaN", json_inside("preprocessing", crop_pct=math.nan), METADATA, "crop_pct"),
    ("crop_pct tiny", json_inside("preprocessing", crop_pct=1e-9), METADATA, "crop_pct"),
    ("crop_pct true", json_inside("preprocessing", crop_pct=True), METADATA, "crop_pct"),
    ("mean of two", json_inside("preprocessing", mean=[0.5, 0.5]), METADATA, "mean"),
    ("mean of none", json_inside("preprocessing", mean=[], std=[]), METADATA, "mean is ()"),
    ("mean of 65", json_inside("preprocessing", mean=[0.5] * 65, std=[1.0] * 65), METADATA,
     "of 1 to 64"),
    ("mean and std of one", json_inside("preprocessing", mean=[0.5], std=[1.0]), METADATA,
     "of 1 channels, and the network takes 3"),
    ("mean of three for four", json_inside("config", channels=4), METADATA,
     "of 3 channels, and the network takes 4"),
    ("channels of another network",
     json_values(**json_of(dataclasses.replace(TINY, channels=4))), "patch_embed", "(2, 4, 2, 2)"),
    ("config without a head", json_values(**json_of(dataclasses.replace(TINY, num_classes=0))),
     "head.bias.npy", "remove"),
    ("labels without a head", json_inside("config", num_classes=0), METADATA,
     "labels for a network without a head"),
    ("mean of lists", json_inside("preprocessing", mean=[[1.0]] * 3), METADATA, "mean"),
    ("std of 0", json_inside("preprocessing", std=[1.0, 0.0, 1.0]), METADATA, "std"),
    ("std next to 0", json_inside("preprocessing", std=[1.0, 1e-300, 1.0]), METADATA, "std"),
    ("labels too few", json_values(labels=["a", "b"]), METADATA, "2 labels for 3 classes"),
    ("labels of text", json_values(labels="abc"), METADATA, "labels"),
    ("labels of numbers", json_values(labels=[1, 2, 3]), METADATA, "labels"),
    ("labels of half characters", json_values(labels=["a", "b", "\ud800"]), METADATA, "Unicode"),
    ("source a number", json_values(source=1), METADATA, "source is 1"),
]  # fmt: skip

# What a refusal may take: a sound file read whole twice over and this file once, and Python's own
# objects, which are many beside a network of a hundred weights.
ALLOWANCE = 2_000_000


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Fails if there is a warning, but without raising it: that could pass for a refusal."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert not caught


@pytest.fixture(scope="module")
def size_of_a_good_file() -> int:
    return len(good_file())


@pytest.mark.parametrize(
    ("write", "culprit", "word"), [pytest.param(*row[1:], id=row[0]) for row in BAD_FILES]
)
def test_a_bad_file_is_refused_by_name_and_takes_no_memory(
    write: Callable[[Path], object],
    culprit: str,
    word: str,
    path: Path,
    size_of_a_good_file: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(path.parent)
    write(path)
    before = os.listdir()
    problem, peak = refusal(path)
    assert culprit in problem
    assert word in problem
    own_size = path.stat().st_size if path.is_file() else 0
    assert peak < ALLOWANCE + 2 * size_of_a_good_file + own_size
    assert os.listdir() == before  # nothing written, nothing executed


def refusal(path: Path) -> tuple[str, int]:
    """What the error says behind the file's name, and the peak of what was allocated."""
    tracemalloc.start()
    try:
        with quiet(), pytest.raises(WeightsError) as caught:
            read_all(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: ")
    problem = str(caught.value).removeprefix(f"{path}: ")
    assert problem.isprintable()
    return problem, peak


# Each as long as it may be, of what takes Python the most memory for a byte of the file.
@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda path: crowd(path, 1 << 20), id="members"),
        pytest.param(json_text("[" + "[]," * 340_000 + "1]"), id="lists"),
        pytest.param(json_text(json.dumps({f"{i}": {} for i in range(80_000)})), id="dicts"),
        pytest.param(json_values(labels=[f"{i}" for i in range(80_000)]), id="labels"),
        pytest.param(json_inside("config", bimamba_type=[[]] * 250_000), id="a field"),
    ],
)
def test_the_longest_lists_take_a_bounded_number_of_objects(
    write: Callable[[Path], object], path: Path
) -> None:
    write(path)
    assert refusal(path)[1] < 40_000_000


def test_the_largest_network_has_a_shorter_directory_than_the_longest(path: Path) -> None:
    largest = VimConfig(depth=512, rms_norm=False, if_layer_scale=True, bimamba_type="v2")
    write_zip(path, [Member(f"{name}.npy", b"") for name in largest.parameter_shapes()])
    with pytest.raises(WeightsError, match=f"{METADATA}: missing"):
        WeightsFile(path)


def test_a_good_file_behind_another_archive_is_read(path: Path) -> None:
    behind_a_good_one(lambda path: write_zip(path, good_members()))(path)
    path.write_bytes(zipped([Member("other", b"archive")]) + path.read_bytes())
    assert_same(read_all(path)[1], TENSORS)


def test_sizes_of_64_bits_are_read(path: Path) -> None:
    members = good_members()
    for member in members:
        member.zip64 = (len(member.data),) * 2
    write_zip(path, members)
    assert_same(read_all(path)[1], TENSORS)


# ---- Memory of sound files -----------------------------------------------------------------------

# A few MB; its largest tensor is longer than a directory may be, and no large part of it.
LARGER = VimConfig(img_size=(32, 32), patch_size=8, stride=8, depth=4, num_classes=1500)


@pytest.fixture(scope="module", params=["float32", "float16"])
def larger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("larger") / f"{request.param}.npz"
    metadata = Metadata(config=LARGER, dtype=request.param)
    write_weights(path, metadata, random_tensors(LARGER).items())
    return path


def peak_of(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        result = action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        del result


def test_reading_takes_the_memory_of_the_largest_tensor(larger: Path) -> None:
    def read_each() -> None:
        with WeightsFile(larger) as file:
            for name in LARGER.parameter_shapes():
                file.read(name)

    largest = max(map(math.prod, LARGER.parameter_shapes().values()))
    assert peak_of(read_each) < ALLOWANCE + 4 * 2 * largest


def test_reading_everything_takes_less_than_the_model_twice(larger: Path) -> None:
    assert peak_of(lambda: read_all(larger)) < 2 * 4 * LARGER.num_parameters


@pytest.mark.usefixtures("way")
def test_loading_a_model_takes_less_memory_than_the_model_twice(larger: Path) -> None:
    assert peak_of(lambda: VisionMamba.from_npz(larger)) < 2 * 4 * LARGER.num_parameters


def test_the_zips_written_by_hand_are_read_where_nothing_is_wrong(path: Path) -> None:
    write_zip(path, good_members())
    metadata, found = read_all(path)
    assert metadata == METADATA_OF_TINY
    assert_same(found, TENSORS)


def test_names_of_members_are_cut(path: Path) -> None:
    added("n" * 60_000)(path)
    with pytest.raises(WeightsError) as caught:
        WeightsFile(path)
    assert len(str(caught.value)) < len(str(path)) + 700


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vim.pth", None),  # of torch.save
        ("weights.npz", None),  # so too, by another name
        ("legacy.pth", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M"),
        ("vim.PT", b"damaged"),
        ("vim.safetensors", b"\x02\0\0\0\0\0\0\0{}"),
    ],
)
def test_a_checkpoint_is_to_be_converted_first(
    name: str, content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is None:
        torch_format.save(path, {"model": TENSORS})
    else:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"checkpoint.*first: vimnp convert {path}") as caught:
        WeightsFile(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_only_regular_files_are_opened(irregular: tuple[Path, str]) -> None:
    path, words = irregular
    with pytest.raises(WeightsError, match=words):
        WeightsFile(path)


def test_metadata_of_any_depth_are_refused(path: Path) -> None:
    text = METADATA_OF_TINY.to_json()
    for depth in (1, 10, *range(800, 1020, 10), 10_000):
        json_text(text.replace(b'"a.pth"', b"[" * depth + b"]" * depth))(path)
        with pytest.raises(WeightsError, match=METADATA):
            WeightsFile(path)


def test_a_file_cut_while_it_is_open_is_refused(path: Path) -> None:
    config = dataclasses.replace(TINY, embed_dim=64, dt_rank=4)  # more than a buffer holds
    write_weights(path, Metadata(config=config), random_tensors(config).items())
    name, size = "layers.0.mixer.in_proj.weight", path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(f"{name}.npy").header_offset
    for cut in (size - 1, start + 200, start + 40, start + 10, start, 1000, 0):
        write_weights(path, Metadata(config=config), random_tensors(config).items())
        with WeightsFile(path) as file:
            os.truncate(path, cut)
            if cut == size - 1:
                file.read(name)  # which stands before
                continue
            with pytest.raises(WeightsError, match=rf"tiny\.npz: {re.escape(name)}"):
                file.read(name)


def test_a_card_that_fails_is_an_error_that_names_the_member(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with WeightsFile(tiny) as file:
        monkeypatch.setattr(BoundedReader, "read", fail)
        with pytest.raises(WeightsError, match=r"head\.bias\.npy: cannot be read \(Input/output"):
            file.read("head.bias")


def test_a_file_is_closed_whatever_happens(tiny: Path, tmp_path: Path) -> None:
    def open_files() -> list[str]:
        return [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]

    bad = tmp_path / "bad.npz"
    json_values(dtype="float64")(bad)
    with pytest.raises(WeightsError):
        WeightsFile(bad)
    with WeightsFile(tiny):
        assert str(tiny) in open_files()
    assert not {str(bad), str(tiny)} & set(open_files())


# ---- Anything at all -----------------------------------------------------------------------------

FUZZING = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def read_or_refuse(path: Path) -> tuple[Metadata, dict[str, np.ndarray]] | None:
    """The content, or None if it was refused as it should be."""
    with quiet():
        try:
            return read_all(path)
        except WeightsError:
            return None


def assert_refused_or_unchanged(path: Path) -> None:
    found = read_or_refuse(path)
    if found is not None:
        assert found[0] == METADATA_OF_TINY
        assert_same(found[1], TENSORS)


@FUZZING
@given(data=st.data())
def test_changed_bytes_are_refused_or_change_nothing(data: st.DataObject, path: Path) -> None:
    write_weights(path, METADATA_OF_TINY, TENSORS.items())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1) | st.integers(-200, -1))
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    assert_refused_or_unchanged(path)


@FUZZING
@given(data=st.data())
def test_a_cut_or_longer_file_is_refused_or_whole(data: st.DataObject, path: Path) -> None:
    write_weights(path, METADATA_OF_TINY, TENSORS.items())
    content = path.read_bytes()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=50)) + content[end:])
    assert_refused_or_unchanged(path)


@FUZZING
@given(data=st.data())
def test_repeated_and_moved_pieces_are_refused_or_change_nothing(
    data: st.DataObject, path: Path
) -> None:
    content = good_file()
    start = data.draw(st.integers(0, len(content)))
    piece = content[start : start + data.draw(st.sampled_from((1, 4, 30, 100, 1000, 10_000)))]
    rest = content[:start] + content[start + len(piece) :] if data.draw(st.booleans()) else content
    target = data.draw(st.integers(0, len(rest)) | st.just(start))
    path.write_bytes(rest[:target] + piece + rest[target:])
    assert_refused_or_unchanged(path)


@FUZZING
@given(data=st.data())
def test_changed_members_with_matching_checksums_are_refused_or_sound(
    data: st.DataObject, path: Path
) -> None:
    members = good_members()
    member = members[data.draw(st.sampled_from((0, len(members) - 1)))]
    content = bytearray(member.data)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.sampled_from(b"{}[]()':,\\-0129LeEuf<>|O \x00\xff"))
    member.data = bytes(content)
    write_zip(path, members)
    found = read_or_refuse(path)
    if found is not None:
        metadata, tensors = found
        assert {name: a.shape for name, a in tensors.items()} == metadata.config.parameter_shapes()
        assert all(a.dtype == np.float32 and np.isfinite(a).all() for a in tensors.values())
