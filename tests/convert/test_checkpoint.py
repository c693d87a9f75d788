"""Reading checkpoints: sound ones of every kind, and hostile or damaged ones."""

from __future__ import annotations

import os
import pickle
import re
import struct
import sys
import tempfile
import tracemalloc
import types
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.irregular import irregular as irregular
from tests.support.random_weights import random_weights
from tests.support.torch_format import (
    Built,
    Call,
    Filled,
    Global,
    Persistent,
    Raw,
    Tensor,
    TorchWriter,
    patched,
    save,
    training_dump,
)
from vimnp.config import VimConfig
from vimnp.convert import convert_checkpoint
from vimnp.convert.formats.checkpoint import Checkpoint
from vimnp.errors import CheckpointError
from vimnp.storage.archive import Archive
from vimnp.weights import WeightsFile

CONFIG = VimConfig(
    img_size=(8, 8), patch_size=4, stride=4, depth=1, embed_dim=8, d_state=2, num_classes=3
)
WEIGHTS = random_weights(CONFIG)
FLOATS = np.arange(12, dtype=np.float32)

Writer = Callable[[Path], None]


def holding(content: object, **options: object) -> Writer:
    """A writer of a checkpoint with this content."""
    return lambda path: save(path, content, **options)  # type: ignore[arg-type]


def beside(value: object) -> Writer:
    """A writer of a sound checkpoint that also holds this value."""
    return holding({"args": value, "model": WEIGHTS})


def with_bias(tensor: object, **options: object) -> Writer:
    """A writer of a sound checkpoint but for ``head.bias``."""
    return holding({"model": WEIGHTS | {"head.bias": tensor}}, **options)


def pickled(code: bytes) -> Writer:
    """A writer of a checkpoint with these pickle instructions."""
    return holding(b"\x80\x02" + code)


def raw(data: bytes) -> Writer:
    """A writer of a file that is no checkpoint."""

    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


def said(write: Writer, member: str, **properties: int) -> Writer:
    """A writer of the same archive, whose directory says something else of a member."""

    def write_said(path: Path) -> None:
        write(path)
        with zipfile.ZipFile(path, "a") as archive:
            info = archive.getinfo(f"archive/{member}")
            for name, value in properties.items():
                setattr(info, name, value)
            archive.comment = b"written again"

    return write_said


def wrapped(path: Path) -> None:
    """A sound checkpoint inside a zip."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vim_tiny.pth", SOUND)


def nested(path: Path) -> None:
    """A sound checkpoint where the pickle should be."""
    save(path, SOUND)


def followed(path: Path) -> None:
    """A sound checkpoint, and a bad archive behind it."""
    save(path, {"model": {}})
    path.write_bytes(SOUND + path.read_bytes())


def weights_file(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*CONFIG.parameter_shapes(), "vimnp.json"):
            archive.writestr(f"{name}.npy", b"")


def crowded(path: Path) -> None:
    """A list of members of 8 MB, of which none is there."""
    count = (8 << 20) // 46
    numbers = (0, 0, count % 65536, count % 65536, count * 46, 0, 0)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", *numbers)
    path.write_bytes((b"PK\x01\x02" + bytes(42)) * count + end)


def members_in_members(path: Path) -> None:
    """One storage's numbers are the whole record of another, with sound checksums of both."""
    inner, name = FLOATS[:3].tobytes(), b"archive/data/inner"
    numbers = (20, 0, 0, 0, 33, zlib.crc32(inner), len(inner), len(inner), len(name), 0)
    record = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", *numbers) + name + inner
    outer = np.frombuffer(record, np.float32)
    tensors = {
        "head.bias": Tensor(FLOATS[:3], key="inner"),
        "norm_f.weight": Tensor(outer, key="outer", shape=(8,)),
    }
    save(path, {"model": WEIGHTS | tensors})
    with zipfile.ZipFile(path, "a") as archive:
        archive.getinfo(name.decode()).header_offset = path.read_bytes().index(record)
        archive.comment = b"written again"


def storage(*identity: object) -> Persistent:
    return Persistent(("storage", *identity))


def truncated(path: Path) -> None:
    save(path, {"model": WEIGHTS})
    path.write_bytes(path.read_bytes()[:-30])


def two_folders(path: Path) -> None:
    save(path, {"model": WEIGHTS})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", b"N.")


FLOAT = Global("torch", "FloatStorage")
REBUILD = Global("torch._utils", "_rebuild_tensor_v2")
ORDERED_DICT = Global("collections", "OrderedDict")
NAMESPACE = Call(Global("argparse", "Namespace"), new=True)
TOUCH = ("touch executed",)
DEEP = 200_000
HUGE = Raw(b"\x8b\x00\x00\x10\x00" + b"\x01" * (1 << 20))  # a number of a megabyte
# Numbers whose hash is 0: a dict looks at all that it holds for each one more.
COLLIDING = (
    b"}("
    + b"".join(
        b"\x8a\x0a" + (((1 << 61) - 1) * n).to_bytes(10, "little") + b"N" for n in range(1, 5000)
    )
    + b"u."
)
# A tuple of 50,000 that a function is called with, or that is a tensor's shape, 30,000 times.
LONG_TUPLE = b"(" + b"K\x01" * 50_000 + b"tq\x00"
CALLED_WITH_IT = LONG_TUPLE + b"ctorch\nSize\nq\x01" + b"h\x01h\x00R0" * 30_000 + b"."
DOUBLING = b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(100))  # t = (t, t), 100 times
LONG_MEMBER = patched(  # head.bias: 12 bytes that claim to be 2^30
    with_bias(Tensor(FLOATS[:3], numel=1 << 28)),
    struct.pack("<II", 12, 12),
    struct.pack("<II", 1 << 30, 1 << 30),
)
ELSEWHERE = with_bias(Tensor(FLOATS[:3], key="../version"), storages={"../version": None})
LONGEST = (4 << 20) - 10  # bytes of a pickle
TWO_TYPES = holding(
    {
        "model": {
            "head.bias": Tensor(FLOATS, key="shared", shape=(3,)),
            "norm_f.weight": Tensor(FLOATS.view(np.float16), key="shared", shape=(8,)),
        }
    }
)
ABSOLUTE = with_bias(Tensor(FLOATS[:3], key="/etc/x"), storages={"/etc/x": None})
ZEROS = with_bias(  # 32 MB in 33 KB
    Tensor(np.zeros(1 << 23, np.float32), key="zeros", shape=(3,)),
    compression={"data/zeros": zipfile.ZIP_DEFLATED},
)
BIAS = with_bias(Tensor(FLOATS[:3], key="bias"))
EMPTY = holding({})

# Name of the attack or the damage, who writes it, what the message must name
HOSTILE = [
    # Calls of what is not admitted
    ("os.system", beside(Call(Global("os", "system"), TOUCH)), "'os.system'"),
    ("posix.system", beside(Call(Global("posix", "system"), TOUCH)), "'posix.system'"),
    ("eval", beside(Call(Global("builtins", "eval"), ("1",))), "'builtins.eval'"),
    ("old name", beside(Call(Global("__builtin__", "eval"), ("1",))), "'__builtin__.eval'"),
    ("getattr", beside(Global("builtins", "getattr")), "'builtins.getattr'"),
    ("dotted", beside(Global("collections", "OrderedDict.pop")), "'collections.OrderedDict.pop'"),
    ("neighbour", beside(Global("collections", "_sys")), "'collections._sys'"),
    (
        "our own module",
        beside(Global("vimnp.convert.formats.tensors", "np")),
        "'vimnp.convert.formats.tensors.np'",
    ),
    ("torch prefix", beside(Global("torch.hub", "load")), "'torch.hub.load'"),
    ("quantised", beside(Global("torch._utils", "_rebuild_qtensor")), "_rebuild_qtensor'"),
    ("whole module", beside(Call(Global("models_mamba", "VisionMamba"))), "model.state_dict()"),
    ("stack global", beside(Raw(b"\x8c\x02os\x8c\x06system\x93")), "'os.system'"),
    ("reconstruct", beside(Global("numpy.core.multiarray", "_reconstruct")), "_reconstruct'"),
    ("import by name", beside(Global("torch._utils", "_import_dotted_name")), "_import_dotted"),
    ("module's module", beside(Global("argparse", "_os")), "'argparse._os'"),
    ("module's module's function", beside(Global("argparse", "_os.system")), "'argparse._os.sys"),
    ("codec", beside(Call(Global("_codecs", "lookup"), ("zip",))), "'_codecs.lookup'"),
    ("path's module", beside(Global("pathlib", "os")), "'pathlib.os'"),
    ("empty name", beside(Global("", "")), "'.'"),
    ("number for a name", beside(Raw(b"NK\x01\x93")), "whose name is no text"),
    ("control characters", beside(Global("os\x1b[2J", "system")), r"'os\x1b[2J.system'"),
    # Instructions and arguments that torch.save does not write
    ("INST", beside(Raw(b"(X\x01\x00\x00\x00aios\nsystem\n")), "INST"),
    ("OBJ", beside(Raw(b"(cargparse\nNamespace\no")), "OBJ"),
    ("EXT1", beside(Raw(b"\x82\x01")), "EXT1"),
    ("FROZENSET", beside(Raw(b"(\x91")), "FROZENSET"),
    ("NEWOBJ_EX", beside(Raw(b"cargparse\nNamespace\n)}\x92")), "NEWOBJ_EX"),
    ("state of a tensor", beside(Built(FLOATS, {"shape": (9,)})), "TensorRecord"),
    ("state of a function", beside(Built(REBUILD, {"__code__": 1})), "function"),
    ("state of a type", beside(Built(FLOAT, (None, {"dtype": 1}))), "StorageType"),
    ("item of Namespace", beside(Filled(NAMESPACE, {"a": 1})), "Discarded"),
    ("append to a dict", beside(Raw(b"}Na")), "dict"),
    ("call of a type", beside(Call(FLOAT)), "calls a value of type StorageType"),
    ("call of text", beside(Call("os.system", TOUCH)), "calls 'os.system'"),
    ("call without tuple", beside(Raw(b"cargparse\nNamespace\nNR")), "calls"),
    ("filled OrderedDict", beside(Call(ORDERED_DICT, ([],))), "OrderedDict"),
    # Programs that would crash, hang or fill the memory
    ("key nested deep", pickled(b"})" + b"\x85" * DEEP + b"Ns."), "key is a value of type tuple"),
    ("dict in itself", pickled(b"}q\x00X\x05\x00\x00\x00modelh\x00s."), "'model' is a value of"),
    ("key that doubles", pickled(b"}" + DOUBLING + b"Ns."), "key is a value of type tuple"),
    ("key that is huge", pickled(b"}" + HUGE.code + b"Ns."), "key is a huge number; expected text"),
    ("key that is large", pickled(b"}J\x01\x00\x10\x00Ns."), "key is 1048577; expected text"),
    ("key far below 0", pickled(b"}J\xff\xff\xef\xffNs."), "key is -1048577; expected text"),
    ("keys that collide", pickled(COLLIDING), "key is 2305843009213693951; expected text"),
    ("called with thousands", pickled(CALLED_WITH_IT), "is called with 50000 values"),
    ("shape of thousands", with_bias(Tensor(FLOATS, shape=(1,) * 9999, stride=())), "9999 dim"),
    ("lists nested deep", pickled(b"]" * DEEP + b"a" * (DEEP // 4) + b"."), "type list"),
    ("dicts without end", pickled(b"}" * LONGEST), "more than 262144 instructions"),
    ("lists without end", pickled(b"]" * LONGEST), "more than 262144 instructions"),
    ("memo without end", pickled(b"N" + b"\x94" * LONGEST), "more than 262144 instructions"),
    ("marks without end", pickled(b"(" * DEEP + b"."), "damaged"),
    ("too long", pickled(b"N0" * (3 << 20) + b"."), "expected at most 4194304"),
    ("text beyond the end", pickled(b"X\xff\xff\xff\x7fa."), "damaged"),
    ("huge number", beside(storage(FLOAT, "0", "cpu", HUGE)), "size is a huge number"),
    ("number in digits", pickled(b"L" + b"9" * 100_000 + b"L\n."), "damaged"),
    # Damaged programs
    ("empty pickle", holding(b""), "damaged"),
    ("no STOP", pickled(b"}"), "damaged"),
    ("empty stack", pickled(b"."), "damaged"),
    ("unknown memo", pickled(b"h\x07."), "damaged"),
    ("no mark", pickled(b"t."), "damaged"),
    ("odd items", pickled(b"}(Nu."), "damaged"),
    ("no such escape", pickled(b"S'\\\x9a'\n."), "damaged"),
    ("no such escape, but ASCII", pickled(b"S'\\j'\n."), "the instruction STRING"),
    ("number that is a control character", pickled(b"I\x1b[31m\n."), "damaged"),
    # Persistent ids
    ("id is text", beside(Persistent("storage")), "persistent id"),
    ("id is short", beside(storage(FLOAT, "0", "cpu")), "persistent id"),
    ("id of a module", beside(Persistent(("module", FLOAT, "0", "cpu", 1))), "persistent id"),
    ("type is text", beside(storage("FloatStorage", "0", "cpu", 1)), "type is 'FloatStorage'"),
    ("type is a dict", beside(storage({}, "0", "cpu", 1)), "type dict"),
    ("key is a number", beside(storage(FLOAT, 0, "cpu", 1)), "key is 0"),
    ("numel negative", beside(storage(FLOAT, "0", "cpu", -1)), "size is -1"),
    ("numel true", beside(storage(FLOAT, "0", "cpu", True)), "size is True"),
    ("numel huge", beside(storage(FLOAT, "0", "cpu", 1 << 63)), "size is 9223372036854775808"),
    # Tensors that reach out of their storage, or say nonsense
    ("offset beyond", with_bias(Tensor(FLOATS, offset=10, shape=(3,))), "'head.bias'"),
    ("offset negative", with_bias(Tensor(FLOATS[:3], offset=-1)), "offset is -1"),
    ("offset is text", with_bias(Tensor(FLOATS[:3], offset="0")), "offset is '0'"),
    ("shape beyond", with_bias(Tensor(FLOATS[:3], shape=(4,))), "'head.bias'"),
    ("shape negative", with_bias(Tensor(FLOATS[:3], shape=(-3,))), "shape"),
    ("shape overflows", with_bias(Tensor(FLOATS, shape=(1 << 62, 8), stride=(0, 0))), "beyond"),
    ("shape is a list", with_bias(Tensor(FLOATS[:3], shape=[3])), "shape"),
    ("stride beyond", with_bias(Tensor(FLOATS, shape=(3,), stride=(6,))), "'head.bias'"),
    ("stride negative", with_bias(Tensor(FLOATS[:3], stride=(-1,))), "stride"),
    ("stride overflows", with_bias(Tensor(FLOATS, shape=(3,), stride=(1 << 62,))), "'head.bias'"),
    ("strides missing", with_bias(Tensor(FLOATS[:3], stride=())), "0 strides"),
    ("too many", with_bias(Tensor(FLOATS, shape=(1,) * 99, stride=(1,) * 99)), "99 dimensions"),
    ("repeated", with_bias(Tensor(FLOATS[:1], shape=(1 << 40,), stride=(0,))), "'head.bias'"),
    ("negative bit", with_bias(Tensor(FLOATS[:3], metadata={"neg": True})), "negative bit"),
    ("conjugate bit", with_bias(Tensor(FLOATS[:3], metadata={"conj": True})), "conjugate bit"),
    ("unknown bit", with_bias(Tensor(FLOATS[:3], metadata={"a\x1b": True})), r"'a\x1b'"),
    ("bits that are none", with_bias(Tensor(FLOATS[:3], metadata=(1,))), "of type tuple"),
    ("of 5 values", beside(Call(REBUILD, (None,) * 5)), "5 values"),
    ("in no storage", beside(Call(REBUILD, (None, 0, (), (), False, None))), "storage is None"),
    ("parameter of text", beside(Call(Global("torch._utils", "_rebuild_parameter"))), "parameter"),
    ("numel too small", with_bias(Tensor(FLOATS, numel=3, shape=(3,))), "has 48 bytes"),
    ("numel too large", with_bias(Tensor(FLOATS, numel=1 << 60)), "has 48 bytes"),
    ("storage missing", with_bias(FLOATS[:3], storages={"0": None}), "'archive/data/0' is missing"),
    ("storage of two types", TWO_TYPES, "the storage 'shared' for a HalfStorage"),
    ("storage elsewhere", ELSEWHERE, "'archive/data/../version' is missing"),
    ("storage of the system", ABSOLUTE, "'archive/data//etc/x' is missing"),
    ("integers", with_bias(np.arange(3)), "LongStorage"),
    ("double too large", with_bias(np.full(3, 1e300)), "'head.bias': holds a double too large"),
    ("NaN", with_bias(np.full(3, np.nan, np.float32)), "head.bias: holds NaN"),
    # Archives
    ("compressed storage", with_bias(FLOATS[:3], compression={"data/0": 8}), "'archive/data/0'"),
    ("compressed pickle", holding({}, compression={"data.pkl": 8}), "data.pkl' is compressed"),
    ("twice", holding({"model": WEIGHTS}, extra=[("data/0", b"")]), "data/0' stands twice"),
    ("CRC", patched(holding({"model": WEIGHTS}), WEIGHTS["head.bias"].tobytes(), b"\0" * 12),
     "CRC"),
    ("longer than the file", LONG_MEMBER, "longer than the file"),
    ("encrypted", said(BIAS, "data/bias", flag_bits=1), "data/bias' is encrypted"),
    ("encrypted pickle", said(EMPTY, "data.pkl", flag_bits=1), "data.pkl' is encrypted"),
    ("unknown method", said(BIAS, "data/bias", compress_type=99), "data/bias' is compressed"),
    ("wrong CRC", said(BIAS, "data/bias", CRC=1), "data/bias' cannot be read"),
    ("wrong CRC of the pickle", said(EMPTY, "data.pkl", CRC=1), "data.pkl' cannot be read"),
    ("32 MB in 33 KB", ZEROS, "data/zeros' is compressed"),
    ("40 GB", said(ZEROS, "data/zeros", file_size=40 << 30), "data/zeros' has 42949672960 bytes"),
    ("more than it says", said(ZEROS, "data/zeros", file_size=12), "data/zeros' has 12 bytes"),
    ("40 GB stored", said(BIAS, "data/bias", file_size=40 << 30, compress_size=40 << 30),
     "data/bias' has 42949672960 bytes"),
    ("40 GB of pickle", said(EMPTY, "data.pkl", file_size=40 << 30), "its pickle has 42949672960"),
    ("1 MB of pickle", said(EMPTY, "data.pkl", file_size=1 << 20, compress_size=1 << 20),
     "data.pkl' is longer than the file"),
    ("beyond the file", said(BIAS, "data/bias", header_offset=1 << 40), "data/bias' is longer"),
    ("at another's place", said(BIAS, "data/bias", header_offset=0), "data/bias' cannot be read"),
    ("members without end", crowded, "its directory takes"),
    ("members inside members", members_in_members, "outer' reaches into the next member"),
    ("zip in zip", wrapped, "'vim_tiny.pth'; expected exactly one NAME/data.pkl"),
    ("zip for the pickle", nested, "damaged"),
    ("sound one before it", followed, "no tensor at all"),
    ("weights file", weights_file, "exactly one NAME/data.pkl"),
    ("byteorder", holding({"model": WEIGHTS}, byteorder=b"middle"), "byteorder is 'middle'"),
    ("TorchScript", holding({}, extra=[("constants.pkl", b"")]), "TorchScript"),
    ("two folders", two_folders, "exactly one"),
    ("cut short", truncated, "not a complete zip"),
    ("not a zip", raw(b"nothing of the kind"), "not a complete zip"),
    ("empty file", raw(b""), "not a complete zip"),
    ("empty zip", raw(b"PK\x05\x06" + b"\0" * 18), "nothing"),
    ("legacy format", raw(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M"), "legacy"),
    ("LFS pointer", raw(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
    ("web page", raw(b"<!DOCTYPE html>"), "web page"),
    ("folder", lambda path: path.mkdir(), "a folder"),
    ("missing", lambda path: None, "No such file"),
    # Layouts
    ("a list", holding([WEIGHTS]), "it holds a value of type list"),
    ("nothing", holding({}), "it holds nothing"),
    ("no weights", holding({"epoch": 1, "lr": 2}), "it holds 'epoch', 'lr'; expected"),
    ("weights are text", holding({"model": "vim"}), "it holds 'model'"),
    ("a weight is a dict", holding({"model": WEIGHTS | {"ema": {}}}), "'ema' is a value of type"),
    ("a name is a number", holding({"model": {7: FLOATS}}), "7"),
]  # fmt: skip


# What a refusal may take: a sound file read twice over and this file once, and Python's own objects
# for a program that makes very many of them.
ALLOWANCE = 24_000_000


@pytest.mark.parametrize(("name", "write", "culprit"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_hostile_or_damaged(
    name: str, write: Writer, culprit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "hostile.pth"
    write(source)
    before = os.listdir(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as caught:
            convert_checkpoint(source, tmp_path / "converted.npz")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert culprit in str(caught.value)
    assert str(caught.value).startswith(f"{source}: ")
    assert len(str(caught.value)) < 700
    assert str(caught.value).isprintable()
    assert os.listdir(tmp_path) == before  # nothing written, nothing executed
    own_size = source.stat().st_size if source.is_file() else 0
    assert peak < ALLOWANCE + 2 * len(SOUND) + own_size


@pytest.mark.parametrize("kind", ["f4", "f2", "f8"])
def test_converting_takes_less_memory_than_the_model_twice(kind: str, tmp_path: Path) -> None:
    config = VimConfig(img_size=(32, 32), patch_size=8, stride=8, depth=4, num_classes=10)
    weights = {name: array.astype(kind) for name, array in random_weights(config).items()}
    save(tmp_path / "sound.pth", {"model": weights})
    del weights
    tracemalloc.start()
    try:
        convert_checkpoint(tmp_path / "sound.pth", tmp_path / "converted.npz")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * config.num_parameters  # once, even


def test_only_regular_files_are_opened(irregular: tuple[Path, str]) -> None:
    path, words = irregular
    with pytest.raises(CheckpointError, match=words):
        Checkpoint(path)


def test_members_of_no_tensor_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    source, converted = tmp_path / "folder" / "sound.pth", tmp_path / "folder" / "sound.npz"
    extra = [("../../x", b"outside"), ("data/99", b"of no tensor"), ("inner.zip", SOUND)]
    save(source, {"model": WEIGHTS}, extra=extra)
    convert_checkpoint(source, converted)
    assert {path.name for path in tmp_path.rglob("*")} == {"folder", source.name, converted.name}


@pytest.mark.parametrize(
    "value",
    [
        Raw(b"Nr\xff\xff\xff\x7f"),  # gigabytes in a machine with a list for a memo
        Raw(b"]q\x63h\x63a"),  # a list in itself
        Raw(b"\x95\xff\xff\xff\xff\xff\xff\xff\x7fN"),  # a frame of 2^63 - 1 bytes
        Raw(b"\x8c\x08argparse\x8c\x09Namespace\x93)\x81\x94}\x8c\x09__class__Nsb"),
        Built(NAMESPACE, (None, {"__class__": FLOAT})),
        Built(Call(ORDERED_DICT), {"items": 1, "__class__": NAMESPACE}),
        Call(Global("torch", "device"), ("cuda", 0)),
        Call(Global("numpy.core.multiarray", "scalar"), (Call(Global("numpy", "dtype")), b"12")),
        Call(Global("torch._utils", "_rebuild_parameter"), (FLOATS, True, Call(ORDERED_DICT))),
        {0: 1, 1048576: 1, -1048576: 1},
        [1, -1, 1 << 40, 1.5, True, None, "text", b"bytes", (), (1, 2), [[]], {"a": {1: 2}}],
    ],
)
def test_harmless_beside_the_weights(value: object, tmp_path: Path) -> None:
    source = tmp_path / "harmless.pth"
    beside(value)(source)
    with Checkpoint(source) as checkpoint:
        assert checkpoint.shapes == CONFIG.parameter_shapes()


HISTORY_BUFFER = "mmengine.logging.history_buffer"


class HistoryBuffer:
    """As mmengine's: the values that a training has logged, and how many each is the sum of."""

    def __init__(self, values: list[float]) -> None:
        self.max_length = 1000000
        self._log_history = np.array(values)
        self._count_history = np.array([1] * len(values))


def test_the_log_of_a_training_is_harmless_beside_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``message_hub`` of mmengine, as Python pickles it: nothing is run, and it is dropped."""
    module = types.ModuleType(HISTORY_BUFFER)
    module.HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    hub = {
        "log_scalars": OrderedDict({"train/loss": HistoryBuffer([0.5, 0.25]), "lr": 0.1}),
        "runtime_info": OrderedDict({"iter": 3, "cfg": "model = dict()", "best": np.float64(0.5)}),
        "resumed_keys": OrderedDict({"train/loss": True}),
    }
    for name in ("mmengine", "mmengine.logging", HISTORY_BUFFER):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(HistoryBuffer, "__module__", HISTORY_BUFFER)
    code = pickle.dumps(hub, protocol=2)
    assert b"_reconstruct" in code
    for name in ("mmengine", "mmengine.logging", HISTORY_BUFFER):
        monkeypatch.delitem(sys.modules, name)
    source = tmp_path / "segmenter.pth"
    holding({"meta": {}, "message_hub": Raw(code[2:-1]), "model": WEIGHTS})(source)
    with Checkpoint(source) as checkpoint:
        assert checkpoint.shapes == CONFIG.parameter_shapes()
        np.testing.assert_array_equal(checkpoint.read("head.bias"), WEIGHTS["head.bias"])
    assert not [name for name in sys.modules if name.startswith("mmengine")]


@pytest.mark.parametrize(
    ("module", "name"),
    [("numpy", "fromfile"), ("numpy.core.multiarray", "fromfile"), ("builtins", "getattr")],
)
def test_a_log_admits_its_own_parts_alone(module: str, name: str, tmp_path: Path) -> None:
    log = Call(Global(HISTORY_BUFFER, "HistoryBuffer"), new=True)
    beside([log, Global(module, name)])(tmp_path / "hostile.pth")
    with pytest.raises(CheckpointError, match=re.escape(f"'{module}.{name}'")):
        Checkpoint(tmp_path / "hostile.pth")


def test_parts_of_a_log_are_admitted_after_it_alone(tmp_path: Path) -> None:
    log = Call(Global(HISTORY_BUFFER, "HistoryBuffer"), new=True)
    beside([Global("numpy", "ndarray"), log])(tmp_path / "hostile.pth")
    with pytest.raises(CheckpointError, match=r"'numpy\.ndarray'"):
        Checkpoint(tmp_path / "hostile.pth")


def read_bias(path: Path, write: Writer) -> np.ndarray:
    write(path)
    with Checkpoint(path) as checkpoint:
        tensor = checkpoint.read("head.bias")
        assert tensor.shape == checkpoint.shapes["head.bias"]
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    assert tensor.flags.writeable
    return tensor


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (FLOATS[:3], [0, 1, 2]),
        (FLOATS[:3].astype("f2"), [0, 1, 2]),
        (FLOATS[:3].astype("f8"), [0, 1, 2]),
        (Tensor(FLOATS, offset=4, shape=(3,)), [4, 5, 6]),
        (Tensor(FLOATS, offset=1, shape=(3,), stride=(4,)), [1, 5, 9]),
        (Tensor(FLOATS, shape=(4, 3), stride=(1, 4)), FLOATS.reshape(3, 4).T),
        (Tensor(FLOATS, offset=11, shape=(), stride=()), 11),
        (Tensor(FLOATS[:3], metadata={}), [0, 1, 2]),
        (Tensor(FLOATS[:3], metadata={"neg": False, "conj": False}), [0, 1, 2]),
        (Tensor(FLOATS, offset=12, shape=(0, 5), stride=(5, 1)), np.empty((0, 5))),
        (
            Tensor(np.array([0x3FC0, 0xC000, 0x7F7F], "u2"), storage="BFloat16Storage"),
            [1.5, -2.0, np.float32(3.3895314e38)],
        ),
    ],
)
def test_tensor_kinds(tensor: object, expected: object, tmp_path: Path) -> None:
    found = read_bias(tmp_path / "kind.pth", with_bias(tensor))
    np.testing.assert_array_equal(found, np.asarray(expected, np.float32), strict=True)


@pytest.mark.parametrize(("order", "dtype"), [(b"little", "<f4"), (b"big", ">f4"), (None, "<f4")])
def test_byteorder(order: bytes | None, dtype: str, tmp_path: Path) -> None:
    tensor = Tensor(FLOATS.astype(dtype), storage="FloatStorage")
    found = read_bias(tmp_path / "order.pth", with_bias(tensor, byteorder=order))
    np.testing.assert_array_equal(found, FLOATS)


def test_shared_storage(tmp_path: Path) -> None:
    halves = {
        "head.bias": Tensor(FLOATS, key="shared", shape=(6,)),
        "norm_f.weight": Tensor(FLOATS, key="shared", offset=3, shape=(6,)),
    }
    save(tmp_path / "shared.pth", halves)
    with Checkpoint(tmp_path / "shared.pth") as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("head.bias"), FLOATS[:6])
        np.testing.assert_array_equal(checkpoint.read("norm_f.weight"), FLOATS[3:9])


def test_each_storage_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors that lie by turns in two storages, each of which holds half of the network."""
    sides = [np.concatenate([a.ravel() for a in list(WEIGHTS.values())[i::2]]) for i in range(2)]
    offsets, tensors = [0, 0], {}
    for index, (name, array) in enumerate(WEIGHTS.items()):
        side = index % 2
        strides = tuple(step // 4 for step in array.strides)
        tensors[name] = Tensor(
            sides[side],
            key="ab"[side],
            offset=offsets[side],
            shape=array.shape,
            stride=strides,
        )
        offsets[side] += array.size
    save(tmp_path / "shared.pth", {"model": tensors})
    members = []
    read = Archive.read
    monkeypatch.setattr(
        Archive,
        "read",
        lambda self, name, *size: (members.append(name), read(self, name, *size))[1],
    )
    convert_checkpoint(tmp_path / "shared.pth", tmp_path / "shared.npz")
    assert sorted(name for name in members if "/data/" in name) == [
        "archive/data/a",
        "archive/data/b",
    ]
    with WeightsFile(tmp_path / "shared.npz") as file:
        for name, array in WEIGHTS.items():
            np.testing.assert_array_equal(file.read(name), array)


def test_a_negative_view_that_torch_saved_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    weights = {name: torch.from_numpy(array) for name, array in WEIGHTS.items()}
    weights["head.bias"] = torch._neg_view(weights["head.bias"])
    torch.save({"model": weights}, tmp_path / "negative.pth")
    with pytest.raises(CheckpointError, match=r"negative bit.*resolve_neg"):
        Checkpoint(tmp_path / "negative.pth")


AVERAGE = random_weights(CONFIG, seed=1)
PARALLEL = {f"module.{name}": array for name, array in WEIGHTS.items()}


@pytest.mark.parametrize(
    ("content", "use_ema", "expected"),
    [
        ({"model": WEIGHTS}, False, WEIGHTS),
        ({"state_dict": WEIGHTS, "epoch": 3}, False, WEIGHTS),
        (WEIGHTS, False, WEIGHTS),
        ({"model": PARALLEL}, False, WEIGHTS),
        (training_dump(WEIGHTS, AVERAGE), False, WEIGHTS),
        (training_dump(WEIGHTS, AVERAGE), True, AVERAGE),
        ({"state_dict": WEIGHTS, "state_dict_ema": AVERAGE}, True, AVERAGE),
    ],
    ids=["model", "state_dict", "plain", "parallel", "training", "training-ema", "timm-ema"],
)
def test_layouts(
    content: object, use_ema: bool, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    save(tmp_path / "layout.pth", content)
    with Checkpoint(tmp_path / "layout.pth", use_ema=use_ema) as checkpoint:
        assert checkpoint.shapes == {name: array.shape for name, array in expected.items()}
        for name, array in expected.items():
            np.testing.assert_array_equal(checkpoint.read(name), array)


def test_average_that_is_not_there(tmp_path: Path) -> None:
    save(tmp_path / "plain.pth", {"model": WEIGHTS})
    with pytest.raises(CheckpointError, match="expected 'model_ema'"):
        Checkpoint(tmp_path / "plain.pth", use_ema=True)


def sound_checkpoint() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder, "sound.pth"), training_dump(WEIGHTS, AVERAGE))
        return Path(folder, "sound.pth").read_bytes()


SOUND = sound_checkpoint()
# Half of the mutations hit the program, which is a small part of the file.
PROGRAM = (SOUND.index(b"archive/data.pkl"), SOUND.index(b"archive/version"))
POSITIONS = st.one_of(st.integers(0, len(SOUND) - 1), st.integers(*PROGRAM))
MUTATIONS = st.lists(st.tuples(POSITIONS, st.integers(0, 255)), min_size=1, max_size=4)


def assert_refused_or_sound(write: Writer, use_ema: bool = False) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, destination = Path(folder, "mutated.pth"), Path(folder, "mutated.npz")
        write(source)
        try:
            convert_checkpoint(source, destination, use_ema=use_ema)
        except CheckpointError as error:
            message = str(error)
            assert message.isprintable()
            assert os.listdir(folder) == ["mutated.pth"]
        else:
            with WeightsFile(destination) as file:
                for name, shape in file.metadata.config.parameter_shapes().items():
                    array = file.read(name)
                    assert array.shape == shape
                    assert np.isfinite(array).all()


@given(mutations=MUTATIONS, use_ema=st.booleans())
@settings(deadline=None, max_examples=300)
def test_mutated_bytes(mutations: list[tuple[int, int]], use_ema: bool) -> None:
    data = bytearray(SOUND)
    for position, byte in mutations:
        data[position] = byte
    assert_refused_or_sound(raw(bytes(data)), use_ema)


LENGTHS = st.sampled_from((0, 1, 2, 4, 30, 100, 1000))


@given(start=POSITIONS, end=POSITIONS | st.just(len(SOUND)), inserted=st.binary(max_size=50))
@settings(deadline=None, max_examples=100)
def test_cut_and_longer(start: int, end: int, inserted: bytes) -> None:
    assert_refused_or_sound(raw(SOUND[:start] + inserted + SOUND[end:]))


@given(start=POSITIONS, length=LENGTHS, removed=LENGTHS, target=POSITIONS)
@settings(deadline=None, max_examples=100)
def test_pieces_repeated_or_put_over_others(
    start: int, length: int, removed: int, target: int
) -> None:
    piece = SOUND[start : start + length]
    assert_refused_or_sound(raw(SOUND[:target] + piece + SOUND[target + removed :]))


WRITER = TorchWriter()
CODE = WRITER.pickle({"model": WEIGHTS, "args": NAMESPACE})
PLACES = st.integers(0, len(CODE))


@given(start=PLACES, length=LENGTHS, removed=LENGTHS, target=PLACES, byte=st.binary(max_size=2))
@settings(deadline=None, max_examples=300)
def test_programs_changed_with_a_matching_checksum(
    start: int, length: int, removed: int, target: int, byte: bytes
) -> None:
    piece = CODE[start : start + length] + byte
    code = CODE[:target] + piece + CODE[target + removed :]
    assert_refused_or_sound(holding(code, storages=WRITER.storages))
