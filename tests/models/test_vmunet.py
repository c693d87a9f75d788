"""VM-UNet: against a float64 oracle, on all that it runs on."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import vimnp
from tests.support import plain_neighbours
from tests.support.neighbours import VMUNET, VMUNET_OPTIONS, lively, vmunet, vmunets
from tests.support.vmamba_networks import normalised
from vimnp import VMamba, VMUNet, VMUNetConfig
from vimnp.errors import ConfigError
from vimnp.weights import Metadata, write_weights

pytestmark = pytest.mark.usefixtures("way")

examples = settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

TOLERANCE = 5e-6


def assert_close(found: np.ndarray, truth: np.ndarray, sensitivity: float = 1.0) -> None:
    assert found.dtype == np.float32
    assert found.shape == truth.shape
    assert np.abs(found - truth).max() <= TOLERANCE * max(1.0, np.abs(truth).max()) * sensitivity


def assert_agrees(model: VMUNet, config: VMUNetConfig) -> None:
    """Logits and features of each pixel and every stage of the encoder, with the oracle's."""
    pixels = normalised(config)
    truths = plain_neighbours.vmunet(config, lively(config), pixels)
    logits = model(pixels)
    assert logits.flags.c_contiguous
    assert_close(logits, truths.logits, max(1.0, truths.sensitivity))
    assert_close(model.features(pixels), truths.features, max(1.0, truths.sensitivity))
    for found, truth in zip(model.feature_maps(pixels), truths.stages, strict=True):
        assert_close(found, truth.transpose(2, 0, 1))


@examples
@given(config=vmunets())
def test_every_configuration_agrees_with_float64(config: VMUNetConfig) -> None:
    assert_agrees(vmunet(config), config)


@pytest.mark.parametrize("option", VMUNET_OPTIONS)
def test_each_option_agrees_with_float64(option: str) -> None:
    config = dataclasses.replace(VMUNET, **VMUNET_OPTIONS[option])
    assert_agrees(vmunet(config), config)


@pytest.mark.parametrize("option", ["default", "mlp", "four_stages"])
def test_bits_depend_on_no_batch_and_no_number_of_threads(
    option: str, small_work_is_split: None
) -> None:
    config = dataclasses.replace(VMUNET, **VMUNET_OPTIONS[option])
    batch, one = normalised(config, batch=3), vmunet(config, num_threads=1)
    logits, features = one(batch), one.features(batch)
    assert logits.shape == (3, config.num_classes, *config.img_size)
    assert features.shape == (3, config.dims[0] // 4, *config.img_size)
    for threads in (2, 3, 5):
        model = vmunet(config, num_threads=threads)
        np.testing.assert_array_equal(model(batch), logits)
        np.testing.assert_array_equal(model.features(batch), features)
    for index, pixels in enumerate(batch):
        np.testing.assert_array_equal(one(pixels), logits[index])
        np.testing.assert_array_equal(one([pixels])[0], logits[index])


@pytest.mark.parametrize("classes", [1, 3])
def test_it_says_what_each_pixel_shows(classes: int) -> None:
    config = dataclasses.replace(VMUNET, num_classes=classes)
    model, batch = vmunet(config), normalised(config, batch=2)
    found, logits = model.segment(batch), model(batch)
    expected = logits.argmax(axis=1) if classes > 1 else logits[:, 0] > 0
    assert found.dtype == np.intp
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(model.segment(batch[1]), found[1])
    assert len(np.unique(found)) > 1
    with pytest.raises(ConfigError, match=r"a class for each pixel, .*: call model\.segment"):
        model.predict(batch)


def test_a_picture_of_bytes_gives_a_map_of_its_crop() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    assert vmunet()(picture).shape == (3, 32, 48)


@pytest.mark.parametrize(
    "copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, copy.copy]
)
def test_a_copy_gives_the_same_bits(copied) -> None:
    model, pixels = vmunet(), normalised(VMUNET)
    found = copied(model)
    assert (found.config, found.way) == (model.config, model.way)
    np.testing.assert_array_equal(found(pixels), model(pixels))


def test_a_file_comes_back(tmp_path: Path) -> None:
    read, pixels = lively(VMUNET), normalised(VMUNET)
    tensors = ((name, read(name)) for name in VMUNET.parameter_shapes())
    write_weights(tmp_path / "micro.npz", Metadata(config=VMUNET), tensors)
    for load in (vimnp.load, VMUNet.from_npz):
        found = load(tmp_path / "micro.npz")
        assert type(found) is VMUNet
        assert found.config == VMUNET
        np.testing.assert_array_equal(found(pixels), vmunet()(pixels))
    larger = VMUNet.from_npz(tmp_path / "micro.npz", img_size=64)
    config = dataclasses.replace(VMUNET, img_size=(64, 64))
    assert larger.config == config
    assert_agrees(larger, config)
    with pytest.raises(ConfigError, match=r"of the family 'vmunet', .* vimnp\.load"):
        VMamba.from_npz(tmp_path / "micro.npz")
    with pytest.raises(ConfigError, match="img_size is 40x40; expected multiples of 16"):
        VMUNet.from_npz(tmp_path / "micro.npz", img_size=40)


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"dims": (12, 24, 40)}, r"dims is \(12, 24, 40\); expected a multiple of 4"),
        ({"dims": (6, 12, 24)}, "expected a multiple of 4"),
        ({"dims": (12,)}, r"dims is \(12,\); expected 2 to 8 whole numbers"),
        ({"dims": 12}, "dims is 12; expected 2 to 8 whole numbers"),
        ({"depths": (1, 1)}, r"depths is \(1, 1\); expected 3 whole numbers"),
        ({"depths_decoder": (1, 1)}, r"depths_decoder is \(1, 1\); expected 3 whole numbers"),
        ({"depths_decoder": (1, 1, 513)}, "depths_decoder is 513"),
        ({"num_classes": 0}, "num_classes 0; expected a network with classes"),
        ({"out_norms": True, "num_classes": 0}, "expected a network with classes"),
        ({"img_size": (32, 40)}, "img_size is 32x40; expected multiples of 16"),
        ({"num_classes": 999_999, "img_size": (1024, 1024)}, "num_classes"),
    ],
)
def test_what_does_not_fit_is_refused(changes, culprit: str) -> None:
    with pytest.raises(ConfigError, match=culprit):
        dataclasses.replace(VMUNET, **changes)


def test_a_summary_tells_of_the_decoder() -> None:
    summary = vmunet().summary()
    assert "tokens      8x12, 4x6, 2x3 in the 3 stages" in summary
    assert "decoder     (2, 1, 1) blocks" in summary
    assert VMUNet.random(config=VMUNET)(normalised(VMUNET)).shape == (3, 32, 48)


def test_costs_count_the_decoder() -> None:
    costs = vmunet().costs()
    assert {"expand", "skip", "head", "scan"} <= costs.keys()
    pixels = VMUNET.img_size[0] * VMUNET.img_size[1]
    assert costs["head"].flops == pixels * (2 * 3 + 1) * VMUNET.num_classes
