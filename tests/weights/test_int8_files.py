"""Files of networks of pictures in int8: what is in them, and what is refused by name."""

from __future__ import annotations

import functools
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.micro import MICRO
from vimnp.errors import ConfigError, WeightsError
from vimnp.models.random_weights import random_reader
from vimnp.weights import METADATA, Metadata, WeightsFile, write_weights
from vimnp.weights.encodings import PER_CHANNEL, Encoded, encode
from vimnp.weights.quantization import Quantization

SMOOTHED = Metadata(config=MICRO, dtype="int8", quantization=Quantization("noise"))
IN_PROJ = "layers.0.mixer.in_proj.weight"
TENSORS = MICRO.tensors()
MATRICES = {name: t.as_matrix for name, t in TENSORS.items() if t.as_matrix is not None}
READ = random_reader(MICRO, 0)


def random_smoothing() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        name: np.exp2(rng.uniform(-3, 3, inputs)).astype(np.float32)
        for name, (_, inputs) in MATRICES.items()
    }


def write(path: Path, metadata: Metadata = SMOOTHED, **smoothing: Any) -> Path:
    if metadata.is_smoothed:
        smoothing = {"smoothing": random_smoothing()} | smoothing
    write_weights(path, metadata, ((name, READ(name)) for name in TENSORS), **smoothing)
    return path


@functools.cache
def sound() -> bytes:
    """The bytes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder, "w.npz")).read_bytes()


def changed(path: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The same file with other members, sound as an archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def with_number(name: str, index: int, value: float) -> Callable[[dict[str, bytes]], None]:
    """Put a number into an array."""

    def change(members: dict[str, bytes]) -> None:
        array = np.load(io.BytesIO(members[name]))
        array.reshape(-1)[index] = value
        out = io.BytesIO()
        np.save(out, array)
        members[name] = out.getvalue()

    return change


def test_the_matrices_of_products_and_no_others_are_whole_numbers(tmp_path: Path) -> None:
    expected = {"patch_embed.proj.weight"} | {
        f"layers.{layer}.mixer.{name}.weight"
        for layer in (0, 1)
        for name in ("in_proj", "x_proj", "x_proj_b", "out_proj")
    }
    assert set(MATRICES) == expected
    with WeightsFile(write(tmp_path / "w.npz")) as file:
        assert {name for name in TENSORS if file.is_encoded(name)} == expected
    with zipfile.ZipFile(tmp_path / "w.npz") as archive:
        found = {name for name in archive.namelist() if IN_PROJ in name}
        assert np.load(archive.open("head.weight.npy")).dtype == np.float16
    assert found == {f"{IN_PROJ}.{kind}.npy" for kind in ("codes", "scales", "smooth")}


@pytest.mark.parametrize("is_smoothed", [False, True])
def test_a_matrix_comes_back_as_it_was_encoded(is_smoothed: bool, tmp_path: Path) -> None:
    metadata = SMOOTHED if is_smoothed else Metadata(config=MICRO, dtype="int8")
    with WeightsFile(write(tmp_path / "w.npz", metadata)) as file:
        assert file.metadata == metadata
        file.verify()
        for name, shape in MATRICES.items():
            assert shape is not None
            smooth = random_smoothing()[name] if is_smoothed else None
            expected = encode(PER_CHANNEL, READ(name).reshape(shape), smooth)
            found = file.read_stored(name)
            assert isinstance(found, Encoded)
            assert found.dtype == PER_CHANNEL
            for array in ("codes", "scales", "smooth"):
                np.testing.assert_array_equal(getattr(found, array), getattr(expected, array))
            tensor = file.read(name)
            assert tensor.shape == TENSORS[name].shape
            np.testing.assert_allclose(tensor, READ(name), atol=0.1 if is_smoothed else 0.01)


def test_numpy_reads_the_file_as_well(tmp_path: Path) -> None:
    with np.load(write(tmp_path / "w.npz")) as file:
        assert file[f"{IN_PROJ}.codes"].dtype == np.uint8
        assert file[f"{IN_PROJ}.scales"].dtype == np.float32


@pytest.mark.parametrize("kind", ["codes", "scales", "smooth"])
def test_a_missing_member_is_named(kind: str, tmp_path: Path) -> None:
    name = f"{IN_PROJ}.{kind}.npy"
    path = changed(write(tmp_path / "w.npz"), lambda members: members.pop(name))
    with pytest.raises(WeightsError, match=rf"{name}: missing; convert"):
        WeightsFile(path)


def test_smoothing_that_the_metadata_lack_is_named(tmp_path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        values = json.loads(members[METADATA])
        values["quantization"]["calibration"] = None
        members[METADATA] = json.dumps(values).encode()

    with pytest.raises(WeightsError, match=r"smooth\.npy: not a member that this network has"):
        WeightsFile(changed(write(tmp_path / "w.npz"), change))


@pytest.mark.parametrize(
    ("kind", "index", "value", "words"),
    [
        ("codes", 77, 0, "int8 codes hold 0; expected 1 to 255"),
        ("scales", 5, -1, "a scale of int8 is negative, not finite"),
        ("scales", 5, np.nan, "a scale of int8 is negative, not finite"),
        ("scales", 5, np.inf, "a scale of int8 is negative, not finite"),
        ("smooth", 3, 0, "a number of the smoothing is none from"),
        ("smooth", 3, np.nan, "a number of the smoothing is none from"),
    ],
)
def test_a_number_that_is_none_is_named(
    kind: str, index: int, value: float, words: str, tmp_path: Path
) -> None:
    path = changed(write(tmp_path / "w.npz"), with_number(f"{IN_PROJ}.{kind}.npy", index, value))
    with WeightsFile(path) as file:
        for read in (file.read, file.read_encoded):
            with pytest.raises(WeightsError, match=rf"w\.npz: {IN_PROJ}: {words}"):
                read(IN_PROJ)
        with pytest.raises(WeightsError, match=words):
            file.verify()


@pytest.mark.parametrize("kind", ["codes", "scales", "smooth"])
def test_damage_is_found(kind: str, tmp_path: Path) -> None:
    path, name = write(tmp_path / "w.npz"), f"{IN_PROJ}.{kind}.npy"
    with np.load(path) as file:
        numbers = file[name.removesuffix(".npy")].tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(numbers) + 17] ^= 1
    path.write_bytes(content)
    with (
        pytest.raises(WeightsError, match=rf"{name}: cannot be read \(its CRC-32 is another\)"),
        WeightsFile(path) as file,  # small members are read when it is opened
    ):
        file.read_encoded(IN_PROJ)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"quantization": None}, "has no quantization"),
        ({"quantization": "noise"}, "quantization is no JSON object"),
        ({"quantization": {"calibration": "noise"}}, "quantization is .*; expected"),
        (
            {"quantization": Quantization("noise").to_dict() | {"activations": "int4 per token"}},
            "quantization is .*; expected",
        ),
        (
            {"quantization": Quantization("noise").to_dict() | {"calibration": "dreams"}},
            "calibration is 'dreams'; expected",
        ),
        ({"dtype": "float16"}, "there is a quantization for a network .* in float16"),
    ],
)
def test_other_quantizations_are_refused(
    values: dict[str, Any], words: str, tmp_path: Path
) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[METADATA] = json.dumps(json.loads(members[METADATA]) | values).encode()

    with pytest.raises(WeightsError, match=rf"{METADATA}: .*{words}"):
        WeightsFile(changed(write(tmp_path / "w.npz"), change))


def test_weights_beyond_float32_are_named(tmp_path: Path) -> None:
    path = changed(write(tmp_path / "w.npz"), with_number(f"{IN_PROJ}.scales.npy", 5, 2.4e36))
    change = with_number(f"{IN_PROJ}.smooth.npy", 3, 2.0**-30)
    with (
        WeightsFile(changed(path, change)) as file,
        pytest.raises(WeightsError, match=f"{IN_PROJ}: stands for NaN or infinity"),
    ):
        file.read(IN_PROJ)


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=3),
    kept=st.floats(0, 1),
)
def test_a_damaged_file_is_refused_or_the_same(
    changes: list[tuple[float, int]], kept: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray(sound())
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    cut = len(content) if kept > 0.2 else int(kept * 5 * len(content))
    (folder / "w.npz").write_bytes(content[:cut])
    try:
        with WeightsFile(folder / "w.npz") as file:
            found = {name: file.read(name) for name in TENSORS}
    except WeightsError:
        return
    (folder / "w.npz").write_bytes(sound())
    with WeightsFile(folder / "w.npz") as file:
        for name, tensor in found.items():
            np.testing.assert_array_equal(tensor, file.read(name))


def test_metadata_check_what_they_say() -> None:
    assert Metadata(config=MICRO, dtype="int8").quantization == Quantization()
    assert Metadata(config=MICRO).quantization is None
    with pytest.raises(ConfigError, match="there is a quantization"):
        Metadata(config=MICRO, quantization=Quantization())
    with pytest.raises(ConfigError, match="expected a Quantization"):
        Metadata(config=MICRO, dtype="int8", quantization="noise")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected one of"):
        Metadata(config=MICRO, dtype="int8", quantization=Quantization("x"))


def test_smoothing_has_to_be_what_the_metadata_say(tmp_path: Path) -> None:
    smoothing = random_smoothing()
    plain = Metadata(config=MICRO, dtype="int8")
    with pytest.raises(WeightsError, match="its smoothing is missing"):
        write(tmp_path / "w.npz", smoothing={})
    with pytest.raises(WeightsError, match="its smoothing is given, and the metadata say"):
        write(tmp_path / "w.npz", plain, smoothing=smoothing)
    with pytest.raises(WeightsError, match=r"the smoothing of an encoded matrix are .*; expected"):
        write(tmp_path / "w.npz", smoothing={name: s[:-1] for name, s in smoothing.items()})
    with pytest.raises(WeightsError, match="a number of the smoothing is none from"):
        write(tmp_path / "w.npz", smoothing={name: 0 * s for name, s in smoothing.items()})
    assert not (tmp_path / "w.npz").exists()
