"""MedMamba: against a float64 oracle, on all that it runs on."""

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
from tests.support.neighbours import MEDMAMBA, MEDMAMBA_OPTIONS, lively, medmamba, medmambas
from tests.support.vmamba_networks import normalised
from vimnp import MedMamba, MedMambaConfig, VMamba
from vimnp.errors import ConfigError, WeightsError
from vimnp.models.medmamba.published import PUBLISHED
from vimnp.weights import Metadata, write_weights

pytestmark = pytest.mark.usefixtures("way")

examples = settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

TOLERANCE = 5e-6
"""Of what is about 1; a stage's tokens are larger, and their rounding errors with them."""


def assert_close(found: np.ndarray, truth: np.ndarray) -> None:
    assert found.dtype == np.float32
    assert found.shape == truth.shape
    assert np.abs(found - truth).max() <= TOLERANCE * max(1.0, np.abs(truth).max())


def assert_agrees(model: MedMamba, config: MedMambaConfig) -> None:
    """Logits, features and every stage of a picture, with the oracle's."""
    pixels = normalised(config)
    truths = plain_neighbours.medmamba(config, lively(config), pixels)
    assert_close(model(pixels), truths.logits)
    assert_close(model.features(pixels), truths.features)
    for found, truth in zip(model.feature_maps(pixels), truths.stages, strict=True):
        assert_close(found, truth.transpose(2, 0, 1))


@examples
@given(config=medmambas())
def test_every_configuration_agrees_with_float64(config: MedMambaConfig) -> None:
    assert_agrees(medmamba(config), config)


@pytest.mark.parametrize("option", MEDMAMBA_OPTIONS)
def test_each_option_agrees_with_float64(option: str) -> None:
    config = dataclasses.replace(MEDMAMBA, **MEDMAMBA_OPTIONS[option])
    assert_agrees(medmamba(config), config)


@pytest.mark.parametrize("option", ["default", "stem_v2", "downsample_v3"])
def test_bits_depend_on_no_batch_and_no_number_of_threads(
    option: str, small_work_is_split: None
) -> None:
    config = dataclasses.replace(MEDMAMBA, **MEDMAMBA_OPTIONS[option])
    batch, one = normalised(config, batch=3), medmamba(config, num_threads=1)
    logits, maps = one(batch), one.feature_maps(batch)
    for threads in (2, 3, 5):
        model = medmamba(config, num_threads=threads)
        np.testing.assert_array_equal(model(batch), logits)
        for found, expected in zip(model.feature_maps(batch), maps, strict=True):
            np.testing.assert_array_equal(found, expected)
    for index, pixels in enumerate(batch):
        np.testing.assert_array_equal(one(pixels), logits[index])


@pytest.mark.parametrize(
    "copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, copy.copy]
)
def test_a_copy_gives_the_same_bits(copied) -> None:
    model, pixels = medmamba(), normalised(MEDMAMBA)
    found = copied(model)
    assert (found.config, found.way) == (model.config, model.way)
    np.testing.assert_array_equal(found(pixels), model(pixels))


def test_a_file_comes_back(tmp_path: Path) -> None:
    read, pixels = lively(MEDMAMBA), normalised(MEDMAMBA)
    tensors = ((name, read(name)) for name in MEDMAMBA.parameter_shapes())
    write_weights(tmp_path / "micro.npz", Metadata(config=MEDMAMBA), tensors)
    for load in (vimnp.load, MedMamba.from_npz):
        found = load(tmp_path / "micro.npz")
        assert type(found) is MedMamba
        assert found.config == MEDMAMBA
        np.testing.assert_array_equal(found(pixels), medmamba()(pixels))
    with pytest.raises(ConfigError, match=r"of the family 'medmamba', .* vimnp\.load"):
        VMamba.from_npz(tmp_path / "micro.npz")
    assert found.predict(pixels, top_k=1)[0].index == found(pixels).argmax()


def test_half_of_the_bits_keep_what_training_has_seen(tmp_path: Path) -> None:
    """Means and variances stay float32 in a file of float16."""
    read = lively(MEDMAMBA)
    tensors = ((name, read(name)) for name in MEDMAMBA.parameter_shapes())
    write_weights(tmp_path / "half.npz", Metadata(config=MEDMAMBA, dtype="float16"), tensors)
    with vimnp.weights.WeightsFile(tmp_path / "half.npz") as file:
        for name in MEDMAMBA.parameter_shapes():
            if "running" in name:
                np.testing.assert_array_equal(file.read(name), read(name))
    pixels = normalised(MEDMAMBA)
    found = vimnp.load(tmp_path / "half.npz")(pixels)
    np.testing.assert_allclose(found, medmamba()(pixels), rtol=0, atol=0.05)


@pytest.mark.parametrize("number", [-1.0, np.nan])
def test_what_is_no_variance_is_refused(number: float) -> None:
    read = lively(MEDMAMBA)

    def damaged(name: str) -> np.ndarray:
        values = read(name).copy()
        if name == "layers.1.blocks.0.conv33conv33conv11.2.running_var":
            values[1] = number
        return values

    with pytest.raises(WeightsError, match=r"layers\.1\.blocks\.0\.conv33conv33conv11\.2\.running"):
        MedMamba(Metadata(config=MEDMAMBA), damaged)


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"dims": (12, 24, 41, 20)}, "dims is .*; expected even numbers"),
        ({"mlp_ratio": 4.0}, "mlp_ratio is 4.0 and out_norms False; expected 0 and false"),
        ({"out_norms": True, "num_classes": 0}, "expected 0 and false"),
        ({"dims": (12, 24, 48)}, "expected 4 whole numbers"),
        ({"img_size": (31, 40)}, "img_size is 31x40"),
    ],
)
def test_what_a_medmamba_has_not_is_refused(changes, culprit: str) -> None:
    with pytest.raises(ConfigError, match=culprit):
        dataclasses.replace(MEDMAMBA, **changes)


def test_the_published_networks() -> None:
    sizes = {name: round(config.num_parameters / 1e6, 1) for name, config in PUBLISHED.items()}
    assert sizes == {"medmamba-tiny": 15.2, "medmamba-small": 19.4, "medmamba-base": 40.9}
    config = PUBLISHED["medmamba-tiny"]
    assert (config.d_inner, config.dt_rank) == ((96, 192, 384, 768), (3, 6, 12, 24))
    model = MedMamba.random(config=dataclasses.replace(config, img_size=(32, 32)), num_threads=1)
    assert "network     medmamba-tiny" in model.summary()
    assert MedMamba.random(config=MEDMAMBA)(normalised(MEDMAMBA)).shape == (7,)


def test_costs_count_what_each_backend_computes() -> None:
    costs = medmamba().costs()
    assert {"in_proj", "conv", "conv2d", "scan", "out_proj", "shuffle", "head"} <= costs.keys()
    tokens = [rows * columns for rows, columns in MEDMAMBA.grids]
    shuffled = sum(
        depth * count * dim
        for depth, count, dim in zip(MEDMAMBA.depths, tokens, MEDMAMBA.dims, strict=True)
    )
    assert costs["shuffle"].flops == shuffled
