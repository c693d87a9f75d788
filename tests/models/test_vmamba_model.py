"""VMamba: against the original's recorded outputs and a float64 oracle, on all that it runs on."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import vimnp
from tests.support import golden_vmamba, plain_vmamba
from tests.support.vmamba_networks import (
    MICRO,
    OPTIONS,
    WITH_MLP,
    configurations,
    lively,
    network,
    normalised,
)
from vimnp import VMamba, VMambaConfig
from vimnp.errors import ConfigError, ImageError
from vimnp.weights import Metadata, write_weights

pytestmark = pytest.mark.usefixtures("way")

examples = settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

TOLERANCE = 5e-6
"""Of what is about 1; a stage's tokens are larger, and their rounding errors with them."""


def assert_close(found: np.ndarray, truth: np.ndarray) -> None:
    assert found.dtype == np.float32
    assert found.shape == truth.shape
    assert np.abs(found - truth).max() <= TOLERANCE * max(1.0, np.abs(truth).max())


def assert_agrees(model: VMamba, config: VMambaConfig, read, pixels: np.ndarray) -> None:
    """Logits, features and every stage of a picture, with the oracle's."""
    truths = plain_vmamba.outputs(config, read, pixels)
    assert_close(model(pixels), truths.logits)
    assert_close(model.features(pixels), truths.features)
    for found, truth in zip(model.feature_maps(pixels), truths.stages, strict=True):
        assert_close(found, truth.transpose(2, 0, 1))


# ---- The arithmetic ------------------------------------------------------------------------------


@pytest.mark.parametrize("case", golden_vmamba.CLASSIFIERS)
def test_a_recorded_network_gives_what_the_original_gives(golden: Path, case: str) -> None:
    config = golden_vmamba.original_config(golden, case)
    recorded = golden_vmamba.recorded(golden, case)
    with golden_vmamba.reader(golden, case) as read:
        model = VMamba(Metadata(config=config), read)
    np.testing.assert_allclose(model(recorded["input"]), recorded["logits64"], rtol=0, atol=5e-6)
    features = model.features(recorded["input"])
    np.testing.assert_allclose(features, recorded["features64"], rtol=0, atol=5e-6)
    for stage, found in enumerate(model.feature_maps(recorded["input"])):
        assert_close(found, recorded[f"stage{stage}"].transpose(0, 3, 1, 2))


def test_a_recorded_network_crops_where_it_is_told_to(golden: Path) -> None:
    config = golden_vmamba.original_config(golden, "v0_odd")
    recorded = golden_vmamba.recorded(golden, "v0_odd")
    with golden_vmamba.reader(golden, "v0_odd") as read:
        metadata = Metadata(config=dataclasses.replace(config, downsample_pad="crop"))
        logits = VMamba(metadata, read)(recorded["input"])
    np.testing.assert_allclose(logits, recorded["logits_cropped"], rtol=0, atol=5e-6)
    assert np.abs(logits - recorded["logits64"]).max() > 0.01


def test_a_recorded_backbone_gives_what_the_original_gives(golden: Path) -> None:
    config = golden_vmamba.original_config(golden, golden_vmamba.BACKBONE)
    recorded = golden_vmamba.recorded(golden, golden_vmamba.BACKBONE)
    with golden_vmamba.reader(golden, golden_vmamba.BACKBONE) as read:
        maps = VMamba(Metadata(config=config), read).feature_maps(recorded["input"])
    for stage, found in enumerate(maps):
        np.testing.assert_allclose(found, recorded[f"out{stage}_64"], rtol=0, atol=5e-6)


@examples
@given(config=configurations())
def test_every_configuration_agrees_with_float64(config: VMambaConfig) -> None:
    assert_agrees(network(config), config, lively(config), normalised(config))


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_agrees_with_float64(option: str) -> None:
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    assert_agrees(network(config), config, lively(config), normalised(config))


@pytest.mark.parametrize("option", [name for name in OPTIONS if name != "default"])
def test_each_option_changes_what_the_network_gives(option: str) -> None:
    """Otherwise the tests above would prove nothing of it."""
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    if config.channels != MICRO.channels:
        return  # it could not give the same
    found, plain = (network(each).features(normalised(each)) for each in (config, MICRO))
    if option == "no_head":
        np.testing.assert_array_equal(network(config)(normalised(config)), plain)
    else:
        assert np.abs(found - plain).max() > 1e-3


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 31), (96, 160)])
@pytest.mark.parametrize("option", ["default", "with_mlp", "downsample_v2"])
def test_pictures_of_other_sizes(option: str, size: tuple[int, int], tmp_path: Path) -> None:
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    write(tmp_path / "micro.npz", config)
    if size[1] == 31 and option != "with_mlp":
        size = (size[0], 32)  # of fewer, these leave nothing
    model = VMamba.from_npz(tmp_path / "micro.npz", img_size=size)
    config = dataclasses.replace(config, img_size=size)
    assert model.config == config
    assert_agrees(model, config, lively(config), normalised(config))


@pytest.mark.parametrize("option", ["default", "crop", "downsample_v2", "with_mlp"])
def test_a_stage_may_have_a_single_token(option: str) -> None:
    """Its square is then all that there is before it, and no copy of it was made."""
    side = 8 if option == "default" else 32
    config = dataclasses.replace(MICRO, img_size=(side, side), **OPTIONS[option])
    assert config.grids[-1] == (1, 1)
    assert_agrees(network(config), config, lively(config), normalised(config))


# ---- How it runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("option", OPTIONS)
def test_bits_depend_on_no_batch_and_no_number_of_threads(
    option: str, small_work_is_split: None
) -> None:
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    batch, one = normalised(config, batch=5), network(config, num_threads=1)
    logits, maps = one(batch), one.feature_maps(batch)
    for threads in (2, 3, 5):
        model = network(config, num_threads=threads)
        np.testing.assert_array_equal(model(batch), logits)
        for found, expected in zip(model.feature_maps(batch), maps, strict=True):
            np.testing.assert_array_equal(found, expected)
    for index, pixels in enumerate(batch):
        np.testing.assert_array_equal(one(pixels), logits[index])
        np.testing.assert_array_equal(one([pixels])[0], logits[index])
        for found, expected in zip(one.feature_maps(pixels), maps, strict=True):
            np.testing.assert_array_equal(found, expected[index])


def test_maps_of_some_stages() -> None:
    model, pixels = network(), normalised(MICRO, batch=2)
    every = model.feature_maps(pixels)
    assert [found.shape for found in every] == [
        (2, 12, 10, 14),
        (2, 24, 5, 7),
        (2, 40, 3, 4),
        (2, 20, 2, 2),
    ]
    for stages in ([0], [1, 3], (2,), [0, 1, 2]):
        found = model.feature_maps(pixels, stages)
        assert len(found) == len(stages)
        for stage, maps in zip(stages, found, strict=True):
            assert maps.flags.c_contiguous
            np.testing.assert_array_equal(maps, every[stage])
    for wrong in ([], [4], [-1], [1, 0], [2, 2], [0.5]):
        with pytest.raises(ConfigError, match="stages is"):
            model.feature_maps(pixels, wrong)  # type: ignore[arg-type]


def test_it_predicts() -> None:
    metadata = Metadata(config=MICRO, labels=tuple("abcdefg"))
    model, pixels = VMamba(metadata, lively(MICRO)), normalised(MICRO)
    best, *others = model.predict(pixels, top_k=3)
    assert best.index == model(pixels).argmax()
    assert best.label == "abcdefg"[best.index]
    assert len(others) == 2
    with pytest.raises(ConfigError, match="no head"):
        network(dataclasses.replace(MICRO, **OPTIONS["backbone"])).predict(pixels)
    with pytest.raises(ImageError):
        model(pixels[:, :-1])


def write(path: Path, config: VMambaConfig, dtype: str = "float32") -> Path:
    read = lively(config)
    tensors = ((name, read(name)) for name in config.parameter_shapes())
    write_weights(path, Metadata(config=config, dtype=dtype), tensors)
    return path


@pytest.mark.parametrize("option", ["default", "with_mlp", "backbone"])
def test_a_file_comes_back(option: str, tmp_path: Path) -> None:
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    model, pixels = network(config), normalised(config)
    for load in (vimnp.load, VMamba.from_npz):
        found = load(write(tmp_path / "micro.npz", config))
        assert type(found) is VMamba
        assert found.config == config
        np.testing.assert_array_equal(found(pixels), model(pixels))
    halved = vimnp.load(write(tmp_path / "half.npz", config, dtype="float16"))
    np.testing.assert_allclose(halved(pixels), model(pixels), rtol=0, atol=0.05)
    with pytest.raises(ConfigError, match=r"of the family 'vmamba', .* vimnp\.load"):
        vimnp.VisionMamba.from_npz(tmp_path / "micro.npz")
    with pytest.raises(ConfigError, match=r"of the family 'vim', .* vimnp\.load"):
        VMamba.from_npz(vimnp.weights.BUNDLED_DIGITS)


@pytest.mark.parametrize(
    "copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, copy.copy]
)
@pytest.mark.parametrize("option", OPTIONS)
def test_a_copy_gives_the_same_bits(option: str, copied) -> None:
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    model, pixels = network(config), normalised(config)
    found = copied(model)
    assert (found.config, found.way) == (model.config, model.way)
    np.testing.assert_array_equal(found(pixels), model(pixels))
    for maps, expected in zip(found.feature_maps(pixels), model.feature_maps(pixels), strict=True):
        np.testing.assert_array_equal(maps, expected)


def test_there_is_one_way_to_scan() -> None:
    for wrong in ("sequential", "fixlen", "parallel"):
        with pytest.raises(ConfigError, match=r"scan is .*; expected one of \('fused',\)"):
            network(scan=wrong)
        with pytest.raises(ConfigError, match=r"scan is .*; expected one of \('fused',\)"):
            network().with_settings(scan=wrong)  # type: ignore[arg-type]
    assert network(num_threads=1).with_settings(num_threads=2).num_threads == 2


def test_random_weights_are_those_that_training_begins_with() -> None:
    model = VMamba.random(3, config=dataclasses.replace(MICRO, **WITH_MLP))
    pixels = normalised(MICRO)
    assert np.isfinite(model(pixels)).all()
    same = VMamba.random(3, config=model.config)
    np.testing.assert_array_equal(model(pixels), same(pixels))
    assert np.abs(VMamba.random(4, config=model.config)(pixels) - model(pixels)).max() > 1e-4


def test_a_summary_names_the_network() -> None:
    model = network(num_threads=1)
    size = MICRO.num_parameters
    assert (
        model.summary()
        == f"""VMamba
  pictures    40x56 pixels, 0.875 of a picture's height or width
  network     none that was published
  tokens      10x14, 5x7, 3x4, 2x2 in the four stages
  blocks      (1, 2, 1, 1), dims (12, 24, 40, 20), d_inner (24, 48, 80, 40), d_state 5
  classes     7, without labels
  parameters  {size:,}, {4 * size / 1e6:.1f} MB in memory
  runs        {model.way}"""
    )
    assert repr(model) == (
        f"VMamba(40x56 pixels, dims (12, 24, 40, 20), depths (1, 2, 1, 1), 7 classes; {model.way})"
    )
