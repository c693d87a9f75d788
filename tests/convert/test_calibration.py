"""Conversion to int8: what matrices are smoothed by, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import vimnp
from tests.support import vmamba_networks
from tests.support.commands import Command, assert_refused
from tests.support.labelled import write_picture
from tests.support.micro import MICRO
from tests.support.torch_format import save
from vimnp.convert import convert_checkpoint
from vimnp.convert.calibration import _factors, find_smoothing
from vimnp.errors import CheckpointError
from vimnp.models.random_weights import random_reader
from vimnp.weights import Metadata, WeightsFile
from vimnp.weights.encodings import Encoded
from vimnp.weights.quantization import Quantization

READ = random_reader(MICRO, 0)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """One of the weights that a random model has."""
    path = tmp_path / "vim.pth"
    save(path, {"model": {name: READ(name) for name in MICRO.tensors()}})
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with three pictures, one of them deeper, and a file that is none."""
    folder = tmp_path / "pictures"
    for index, name in enumerate(["a.png", "b.png", "more/c.ppm"]):
        write_picture(folder / name, index)
    (folder / "names.txt").write_text("a b c")
    return folder


def smoothing_in(path: Path) -> Iterator[np.ndarray]:
    with WeightsFile(path) as file:
        for name in file.metadata.config.tensors():
            stored = file.read_stored(name)
            if isinstance(stored, Encoded):
                assert stored.smooth is not None
                yield stored.smooth


def test_inputs_and_weights_become_equally_large() -> None:
    activations = np.array([1, 100, 0.01, 7], np.float32)
    weights = np.array([1, 1, 1, 0.1], np.float32)
    factors = _factors(activations, weights)
    np.testing.assert_allclose(
        np.ptp(np.log(activations / factors / (weights * factors))), 0, atol=1e-5
    )
    np.testing.assert_allclose(np.log(factors).sum(), 0, atol=1e-5)


@pytest.mark.parametrize("value", [0, np.inf, np.nan])
def test_what_tells_nothing_is_left_alone(value: float) -> None:
    found = _factors(np.array([value, 4, 1], np.float32), np.array([1, 1, 1], np.float32))
    assert found[0] == 1
    np.testing.assert_allclose(found[1:], [2**0.5, 0.5**0.5], rtol=1e-6)
    found = _factors(np.array([1, 1e30], np.float32), np.array([0, 1e-30], np.float32))
    np.testing.assert_array_equal(found, [1, 1])


def test_factors_have_bounds() -> None:
    found = _factors(np.array([1e30, 1e-30], np.float32), np.array([1e-6, 1e6], np.float32))
    np.testing.assert_array_equal(found, [2.0**16, 2.0**-16])


def test_large_channels_are_found() -> None:
    def read(name: str) -> np.ndarray:
        tensor = READ(name)
        if name == "layers.1.norm.weight":
            tensor[5] *= 1000
        return tensor

    found = find_smoothing(Metadata(config=MICRO), read)["layers.1.mixer.in_proj.weight"]
    assert found[5] > 8 * np.delete(found, 5).max()


def test_every_matrix_of_a_vmamba_is_seen() -> None:
    config = vmamba_networks.MICRO
    found = find_smoothing(Metadata(config=config), random_reader(config, 0))
    matrices = {n: t.as_matrix for n, t in config.tensors().items() if t.as_matrix is not None}
    assert {name: (len(factors),) for name, factors in found.items()} == {
        name: shape[1:] for name, shape in matrices.items()
    }
    assert all(np.ptp(factors) > 0 for factors in found.values())


def test_a_checkpoint_becomes_a_file_in_int8(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "int8.npz"
    conversion = convert_checkpoint(checkpoint, path, dtype="int8")
    assert conversion.metadata.quantization == Quantization("noise")
    assert sum(1 for _ in smoothing_in(path)) == 9
    convert_checkpoint(checkpoint, tmp_path / "float32.npz")
    pixels = np.random.default_rng(1).standard_normal((3, 32, 32)).astype(np.float32)
    expected, found = (
        vimnp.load(tmp_path / name, backend="numpy")(pixels) for name in ("float32.npz", "int8.npz")
    )
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_a_conversion_is_the_same_every_time(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        convert_checkpoint(checkpoint, tmp_path / name, dtype="int8")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_pictures_can_be_given(checkpoint: Path, pictures: Path, tmp_path: Path) -> None:
    noise, seen = tmp_path / "noise.npz", tmp_path / "seen.npz"
    convert_checkpoint(checkpoint, noise, dtype="int8")
    conversion = convert_checkpoint(checkpoint, seen, dtype="int8", calibrate=pictures)
    assert conversion.metadata.quantization == Quantization("pictures")
    for by_noise, by_pictures in zip(smoothing_in(noise), smoothing_in(seen), strict=True):
        assert np.any(by_noise != by_pictures)
        assert np.abs(np.log2(by_noise / by_pictures)).max() < 4


def test_pictures_that_tell_nothing_are_refused(
    checkpoint: Path, pictures: Path, tmp_path: Path
) -> None:
    out, empty = tmp_path / "out.npz", tmp_path / "empty"
    empty.mkdir()
    for folder, words in (
        (empty, "empty: no picture there can be read"),
        (tmp_path / "nowhere", "nowhere: no folder"),
        (checkpoint, "no folder"),
    ):
        with pytest.raises(CheckpointError, match=words):
            convert_checkpoint(checkpoint, out, dtype="int8", calibrate=folder)
    with pytest.raises(CheckpointError, match="nothing to calibrate; leave them out"):
        convert_checkpoint(checkpoint, out, calibrate=pictures)
    assert not out.exists()


def test_the_command(checkpoint: Path, pictures: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "out.npz"
    run = command("convert", checkpoint, out, "--dtype", "int8", "--calibrate", pictures)
    assert run.code == 0, run.err
    size = out.stat().st_size
    assert run.out.endswith(f"{out}: {MICRO.num_parameters:,} parameters, int8, {size:,} bytes\n")
    run = command("info", out)
    assert "int8 per output, activations int8 per token, smoothed by pictures" in run.out
    run = command("convert", checkpoint, out, "--calibrate", pictures)
    assert_refused(run, "nothing to calibrate")


def test_files_that_are_no_pictures_are_told(
    checkpoint: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    """A folder of pictures that cannot be read would else calibrate with a few of them alone."""
    out = tmp_path / "out.npz"
    whole = (pictures / "a.png").read_bytes()
    (pictures / "a.png").write_bytes(whole[: len(whole) // 2])
    conversion = convert_checkpoint(checkpoint, out, dtype="int8", calibrate=pictures)
    assert [skipped.partition(": ")[0] for skipped in conversion.skipped] == [
        str(pictures / "a.png"),
        str(pictures / "names.txt"),
    ]
    run = command("convert", checkpoint, out, "--dtype", "int8", "--calibrate", pictures)
    assert run.code == 0
    lines = run.err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["vimnp", "vimnp"]
    assert lines == [f"vimnp: not calibrated with {skipped}" for skipped in conversion.skipped]


def test_nothing_is_told_of_pictures_that_are_read(
    checkpoint: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "names.txt").unlink()
    for folder in (pictures, None):
        conversion = convert_checkpoint(
            checkpoint, tmp_path / "out.npz", dtype="int8", calibrate=folder
        )
        assert conversion.skipped == ()
