"""The bundled model in int8: it sees the same digits, with outliers in its activations, too."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import vimnp
from tests.support.digits import SCANS, all_scans
from vimnp.convert.calibration import find_smoothing
from vimnp.weights import BUNDLED_DIGITS, Metadata, WeightsFile, write_weights
from vimnp.weights.family import ReadTensor
from vimnp.weights.quantization import Quantization

OUTLIERS = (3, 17, 40)  # channels


def with_outliers(factor: float) -> tuple[Metadata, ReadTensor]:
    """The same network, of which some channels of each layer's input are so many times larger."""
    with WeightsFile(BUNDLED_DIGITS) as file:
        tensors = {name: file.read(name).copy() for name in file.metadata.config.tensors()}
        metadata = dataclasses.replace(file.metadata, dtype="float32")
    for layer in range(metadata.config.depth):
        for channel in OUTLIERS:
            tensors[f"layers.{layer}.norm.weight"][channel] *= factor
            tensors[f"layers.{layer}.mixer.in_proj.weight"][:, channel] /= factor
    return metadata, tensors.__getitem__


def converted(path: Path, metadata: Metadata, read: ReadTensor) -> Path:
    """A file in int8, smoothed by noise."""
    smoothing = find_smoothing(metadata, read)
    whole = dataclasses.replace(metadata, dtype="int8", quantization=Quantization("noise"))
    names = metadata.config.tensors()
    write_weights(path, whole, ((name, read(name)) for name in names), smoothing=smoothing)
    return path


def test_the_scans_of_this_repository_keep_their_class(way, tmp_path: Path) -> None:
    metadata, read = with_outliers(1)
    path = converted(tmp_path / "int8.npz", metadata, read)
    for model in (
        vimnp.load(path),
        vimnp.VisionMamba.from_npz(BUNDLED_DIGITS, precision="int8"),
    ):
        assert model.precision == "int8"
        found = [best[0].index for best in model.predict(SCANS, top_k=1)]
        assert found == list(range(10))


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_every_scan_keeps_its_class(backend, tmp_path: Path) -> None:
    scans, labels = all_scans()
    assert len(scans) == 1797
    metadata, read = with_outliers(1)
    path = converted(tmp_path / "int8.npz", metadata, read)
    expected = vimnp.VisionMamba.from_npz(BUNDLED_DIGITS)(scans)
    assert (expected.argmax(1) == labels).sum() == 1795
    for found in (
        vimnp.VisionMamba.from_npz(BUNDLED_DIGITS, precision="int8", backend=backend)(scans),
        vimnp.VisionMamba.from_npz(path, backend=backend)(scans),
    ):
        np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))
        assert 0 < np.abs(found - expected).max() < 0.25  # the least margin is 0.27


@pytest.mark.parametrize("factor", [10, 100, 300])
def test_smoothing_takes_outliers_out(factor: float, tmp_path: Path) -> None:
    metadata, read = with_outliers(factor)
    exact = vimnp.VisionMamba(metadata, read, backend="numpy")
    plain = vimnp.VisionMamba(metadata, read, backend="numpy", precision="int8")
    path = converted(tmp_path / "int8.npz", metadata, read)
    smoothed = vimnp.VisionMamba.from_npz(path, backend="numpy")
    expected = exact(SCANS)
    of_plain, of_smoothed = (np.abs(model(SCANS) - expected).max() for model in (plain, smoothed))
    assert of_smoothed < 0.2
    assert of_plain > 2 * of_smoothed
