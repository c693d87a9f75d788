"""What some layers give, for backbones: against float64, and against the original's recordings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import vimnp
from tests.support import plain_vim
from tests.support.micro import MICRO
from tests.support.options import OPTIONS
from vimnp.convert import convert_checkpoint
from vimnp.errors import ConfigError
from vimnp.models.random_weights import random_reader

pytestmark = pytest.mark.usefixtures("way")

DEEPER = dataclasses.replace(MICRO, depth=4)


def normalised(config, batch=None):
    shape = (config.channels, *config.img_size)
    shape = shape if batch is None else (batch, *shape)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def expected(config, pixels, kind):
    """Of each layer, or of each pair of layers."""
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    last = plain_vim.stream(config, random_reader(config, 0), pixels, seen)
    if kind == "hidden":
        return [hidden for hidden, _ in seen]
    # What a layer has read is the stream after the one before; both of a pair read the same, and
    # hand on twice that.
    read = [residual for _, residual in seen[1:]]
    return [r / 2 if config.if_bidirectional else r for r in read] + [last]


@pytest.mark.parametrize("kind", ["hidden", "residual"])
@pytest.mark.parametrize("option", OPTIONS)
def test_each_layer_agrees_with_float64(option: str, kind) -> None:
    config = dataclasses.replace(DEEPER, **OPTIONS[option])
    model = vimnp.VisionMamba.random(config=config)
    pixels = normalised(config)
    layers = range(config.num_active_layers)
    if config.if_bidirectional:
        layers = layers[1::2]
    found = model.intermediate_features(pixels, layers, kind=kind)
    truth = np.array(expected(config, pixels, kind))
    assert found.shape == truth.shape
    scale = np.maximum(1, np.abs(truth).max(axis=(1, 2), keepdims=True))
    assert (np.abs(found - truth) / scale).max() < 4e-6
    # Fewer layers, in another order, have the same bits.
    some = layers[::-1][:2]
    again = model.intermediate_features(pixels, some, kind=kind)
    for layer, tokens in zip(some, again, strict=True):
        np.testing.assert_array_equal(tokens, found[[*layers].index(layer)])


def test_batches_and_maps() -> None:
    model = vimnp.VisionMamba.random(config=DEEPER)
    images = normalised(DEEPER, batch=3)
    found = model.intermediate_features(images, [1, 3], kind="residual")
    assert found.shape == (3, 2, DEEPER.num_tokens, DEEPER.embed_dim)
    for one, image in zip(found, images, strict=True):
        np.testing.assert_array_equal(
            one, model.intermediate_features(image, [1, 3], kind="residual")
        )
    maps = model.intermediate_features(images, [1, 3], kind="residual", as_maps=True)
    assert maps.shape == (3, 2, DEEPER.embed_dim, *DEEPER.grid_size)
    patches = np.delete(found, DEEPER.class_tokens["cls_token"], axis=2)
    np.testing.assert_array_equal(maps[..., 0, 1], patches[:, :, 1])


def test_the_last_residual_is_what_the_last_norm_reads() -> None:
    config = dataclasses.replace(DEEPER, rms_norm=False)
    model = vimnp.VisionMamba.random(config=config)
    pixels, read = normalised(config), random_reader(config, 0)
    (last,) = model.intermediate_features(pixels, [3], kind="residual").astype(np.float64)
    truth = plain_vim.norm(config, lambda name: read(name).astype(np.float64), "norm_f", last)
    np.testing.assert_allclose(model.forward_features(pixels), truth, atol=2e-6)


@pytest.mark.parametrize(
    ("layers", "options", "words"),
    [
        ([], {}, "one or more"),
        ([1, 1], {}, "each once"),
        ([4], {}, "from 0 to 3"),
        ([-1], {}, "from 0 to 3"),
        ([1.5], {}, "from 0 to 3"),
        ([1], {"kind": "both"}, "kind is 'both'"),
    ],
)
def test_what_is_not_there_is_refused(layers, options, words: str) -> None:
    model = vimnp.VisionMamba.random(config=DEEPER)
    with pytest.raises(ConfigError, match=words):
        model.intermediate_features(normalised(DEEPER), layers, **options)


def test_the_first_of_a_pair_is_refused() -> None:
    config = dataclasses.replace(DEEPER, if_bidirectional=True)
    model = vimnp.VisionMamba.random(config=config)
    with pytest.raises(ConfigError, match="in pairs"):
        model.intermediate_features(normalised(config), [0, 1])


@pytest.mark.parametrize("changes", [{}, {"if_cls_token": False}, {"if_bidirectional": True}])
@pytest.mark.parametrize("kind", ["hidden", "residual"])
def test_the_last_layer_of_a_backbone_without_a_head(changes, kind) -> None:
    """What a detector reads; the last norm, which follows, must not take its place."""
    config = dataclasses.replace(DEEPER, num_classes=0, **changes)
    model, pixels = vimnp.VisionMamba.random(config=config), normalised(config)
    (found,) = model.intermediate_features(pixels, [config.depth - 1], kind=kind)
    truth = expected(config, pixels, kind)[-1]
    assert np.abs(found - truth).max() / max(1, np.abs(truth).max()) < 4e-6


def test_the_originals_activations(golden: Path, tmp_path: Path) -> None:
    path, case = tmp_path / "tiny.npz", "vim_tiny_patch16_224"
    convert_checkpoint(golden / f"{case}.pth", path)
    model = vimnp.VisionMamba.from_npz(path)
    with (
        np.load(golden / f"{case}.npz") as recorded,
        np.load(golden / f"{case}_activations.npz") as activations,
    ):
        pixels = recorded["input"][0]
        for name, truth in activations.items():
            part, _, stream = name.removeprefix("layers.").rpartition(".")
            if stream not in ("0", "1") or (part, stream) == ("0", "1"):  # which is the embedding
                continue
            layer = int(part)
            if stream == "0":  # what the layer gives
                (found,) = model.intermediate_features(pixels, [layer])
            else:  # and what it has read
                (found,) = model.intermediate_features(pixels, [layer - 1], kind="residual")
            scale = max(1.0, np.abs(truth[0]).max())
            assert np.abs(found - truth[0]).max() <= 5e-6 * scale, name
