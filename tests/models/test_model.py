"""The network: against a float64 oracle, for every way of calling it, on all that it runs on."""

from __future__ import annotations

import dataclasses
import io
import tracemalloc
import weakref
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from threadpoolctl import threadpool_limits

import vimnp
from tests.support import golden_cases, plain_vim
from tests.support.configurations import EXPANDS, configurations
from tests.support.examples import examples_of
from tests.support.implementations import (
    COMPILED_WAYS,
    NATIVE_WAYS,
    NUMPY_WAYS,
    every_scan_of_every_way,
    only,
)
from tests.support.micro import MICRO, micro
from tests.support.options import OPTIONS
from vimnp.models.random_weights import random_reader
from vimnp.models.vim.network import Pass
from vimnp.ops.kernels import aligned_empty
from vimnp.ops.modes import SCAN_MODES
from vimnp.runtime import extension
from vimnp.weights import Metadata, WeightsFile

pytestmark = pytest.mark.usefixtures("way")

# Logits of these networks are about 1; float32 rounding through two or three layers stays below.
TOLERANCE = 2e-6


def picture(width=40, height=50, seed=0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def normalised(batch=None, size=(32, 32), seed=0, channels=3) -> np.ndarray:
    shape = (channels, *size) if batch is None else (batch, channels, *size)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# ---- The arithmetic ------------------------------------------------------------------------------

any_configuration = configurations(
    img_size=st.tuples(st.integers(16, 40), st.integers(16, 40)),
    patch_size=st.sampled_from([5, 8, 16, (5, 8), (16, 4)]),
    stride=st.sampled_from([4, 7, 8, 16]),
    depth=st.integers(1, 4),
    embed_dim=st.sampled_from([8, 20, 30, 32]),
    d_state=st.sampled_from([1, 8, 16]),
    d_conv=st.sampled_from([1, 3, 4]),
    expand=EXPANDS,
    dt_rank=st.sampled_from([None, 1, 5]),
    num_classes=st.integers(0, 12),
    norm_epsilon=st.sampled_from([1e-5, 0.0]),
)

examples = settings(
    deadline=None,
    max_examples=examples_of(25),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


# Of any network's logits, features and tokens, before what the last norm multiplies: a token whose
# numbers cancel to an RMS of 0.03 has its rounding errors multiplied by 33 with them.
TOLERANCE_OF_ANY = 4e-6
USUAL_MAGNIFICATION = 4.0


def assert_close(found: np.ndarray, truth: np.ndarray, magnification: float = 1.0) -> None:
    assert found.dtype == np.float32
    assert found.shape == truth.shape
    scale = max(1.0, np.abs(truth).max()) * max(1.0, magnification / USUAL_MAGNIFICATION)
    assert np.abs(found - truth).max() <= TOLERANCE_OF_ANY * scale


@every_scan_of_every_way
@examples
@given(config=any_configuration)
def test_every_configuration_agrees_with_float64(scan, config):
    model = vimnp.VisionMamba.random(seed=1, config=config, scan=scan)
    pixels, read = (
        normalised(size=config.img_size, channels=config.channels),
        random_reader(config, 1),
    )
    times = plain_vim.last_magnification(config, read, pixels)
    assert_close(model(pixels), plain_vim.logits(config, read, pixels), times)
    assert_close(model.features(pixels), plain_vim.features(config, read, pixels), times)
    assert_close(model.forward_features(pixels), plain_vim.tokens(config, read, pixels), times)


def test_a_small_token_before_the_last_norm_is_within_the_bound():
    """Its 8 channels cancel to an RMS of 0.03, and an error of 9.5e-6 was seen."""
    config = vimnp.VimConfig(
        img_size=(18, 17),
        patch_size=5,
        stride=8,
        depth=4,
        embed_dim=8,
        d_state=8,
        dt_rank=1,
        if_abs_pos_embed=False,
        use_middle_cls_token=False,
        bimamba_type="v1",
    )
    model = vimnp.VisionMamba.random(seed=1, config=config)
    pixels, read = (
        normalised(size=config.img_size, channels=config.channels),
        random_reader(config, 1),
    )
    times = plain_vim.last_magnification(config, read, pixels)
    assert times > 30
    assert_close(model.features(pixels), plain_vim.features(config, read, pixels), times)


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_agrees_with_float64(option):
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    model, read = vimnp.VisionMamba.random(config=config), random_reader(config, 0)
    for pixels in normalised(batch=2):
        assert_close(model(pixels), plain_vim.logits(config, read, pixels))


@pytest.mark.parametrize("option", [name for name in OPTIONS if name != "default"])
def test_each_option_changes_the_logits(option):
    """Otherwise the tests above would prove nothing of it."""
    changes = OPTIONS[option]
    config = dataclasses.replace(MICRO, depth=changes.get("depth", MICRO.depth))
    changed = dataclasses.replace(config, **changes)
    one, other = (vimnp.VisionMamba.random(config=c)(normalised()) for c in (config, changed))
    assert one.shape != other.shape or np.abs(one - other).max() > 1e-4


@pytest.mark.parametrize("pooling", ["none", "mean", "max", "all"])
@pytest.mark.parametrize("num_classes", [0, 7])
def test_a_single_token_agrees_with_float64(pooling, num_classes):
    """The features of one token have as many rows as the tokens, and yet are pooled."""
    config = dataclasses.replace(
        MICRO, img_size=(8, 8), if_cls_token=False, final_pool_type=pooling, num_classes=num_classes
    )
    model, read = vimnp.VisionMamba.random(config=config), random_reader(config, 0)
    pixels = normalised(size=(8, 8))
    assert_close(model(pixels), plain_vim.logits(config, read, pixels))
    assert_close(model.features(pixels), plain_vim.features(config, read, pixels))
    assert_close(model.forward_features(pixels), plain_vim.tokens(config, read, pixels))


def test_features_go_into_the_head():
    model = micro()
    features = model.features(normalised())
    assert features.shape == (24,)
    read = random_reader(MICRO, 0)
    logits = read("head.weight") @ features + read("head.bias")
    np.testing.assert_allclose(model(normalised()), logits, atol=TOLERANCE)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_nan_in_the_picture_comes_out_as_nan(option):
    pixels = normalised()
    pixels[0, 0, 0] = np.nan
    model = vimnp.VisionMamba.random(config=dataclasses.replace(MICRO, **OPTIONS[option]))
    assert np.isnan(model(pixels)).all()


def test_seeds_make_networks():
    one, again, other = micro(), micro(), micro(seed=1)
    pixels = normalised()
    np.testing.assert_array_equal(one(pixels), again(pixels))
    assert not np.array_equal(one(pixels), other(pixels))


@only(NUMPY_WAYS)
def test_vim_tiny_has_its_published_size():
    model = vimnp.VimTiny.random(num_threads=1)
    parameters = model._network.plain()
    numbers = [parameters.patch_proj, parameters.head, parameters.head_bias, parameters.norm_f[0]]
    for layer in parameters.layers:
        numbers += [layer.in_proj, layer.out_proj, layer.norm.weight]
        numbers += [array for direction in layer.directions for array in direction]
    tokens = 192 * (1 + 1 + 197)  # patch bias, class token and positions, added up when loaded
    assert sum(array.size for array in numbers) + tokens == 7_148_008


# ---- A backbone ----------------------------------------------------------------------------------


BACKBONES = {
    "default": {},
    "rectangle": {"img_size": (32, 48)},
    "token first": {"use_middle_cls_token": False},
    "two tokens": {"use_double_cls_token": True},
    "no token": {"if_cls_token": False},
    "every token read": {"if_cls_token": False, "final_pool_type": "all"},
    "reversed": {"flip_img_sequences_ratio": 1.0, "use_double_cls_token": True},
}


@pytest.mark.parametrize("name", BACKBONES)
def test_features_before_the_pooling(name):
    config = dataclasses.replace(MICRO, **BACKBONES[name])
    model = vimnp.VisionMamba.random(config=config)
    batch = normalised(batch=2, size=config.img_size)
    tokens = model.forward_features(batch)
    assert tokens.shape == (2, config.num_tokens, 24)
    pooled = tokens
    if config.pooled_tokens is not None:
        pooled = tokens[:, list(config.pooled_tokens)].mean(axis=1)
    elif not config.reads_every_token:
        pooled = tokens.mean(axis=1)
    np.testing.assert_allclose(model.features(batch), pooled, atol=TOLERANCE)
    np.testing.assert_array_equal(model.forward_features(batch[1]), tokens[1])
    np.testing.assert_array_equal(model.forward_features(list(batch)), tokens)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_feature_map_lies_as_the_patches_do(name):
    config = dataclasses.replace(MICRO, **BACKBONES[name])
    model = vimnp.VisionMamba.random(config=config)
    batch = normalised(batch=2, size=config.img_size)
    rows, columns = config.grid_size
    maps = model.feature_map(batch)
    assert maps.shape == (2, 24, rows, columns)
    assert maps.flags.c_contiguous
    is_patch = np.isin(np.arange(config.num_tokens), [*config.class_tokens.values()], invert=True)
    tokens = model.forward_features(batch)
    patches = (tokens[:, ::-1] if config.flips_sequence else tokens)[:, is_patch]
    for row in range(rows):
        for column in range(columns):
            np.testing.assert_array_equal(
                maps[:, :, row, column], patches[:, row * columns + column]
            )
    np.testing.assert_array_equal(model.feature_map(batch[0]), maps[0])


# ---- Ways of calling -----------------------------------------------------------------------------


def test_a_batch_is_its_images_one_by_one():
    model, batch = micro(), normalised(batch=3)
    logits = model(batch)
    assert logits.shape == (3, 7)
    for image, row in zip(batch, logits, strict=True):
        np.testing.assert_array_equal(model(image), row)
    np.testing.assert_array_equal(model(list(batch)), logits)
    np.testing.assert_array_equal(model(tuple(batch)), logits)


@pytest.mark.parametrize("number", [8, 9, 17])
def test_a_batch_of_more_images_than_a_region_takes_is_its_images_one_by_one(number):
    """The native backend takes 8 through a region."""
    model, batch = micro(), normalised(batch=number)
    for run, shape in ((model, (7,)), (model.features, (24,)), (model.forward_features, (17, 24))):
        found = run(batch)
        assert found.shape == (number, *shape)
        for image, row in zip(batch, found, strict=True):
            np.testing.assert_array_equal(run(image), row)


def test_a_picture_is_its_array_and_its_normalised_pixels():
    model, image = micro(), picture()
    logits = model(image)
    assert logits.shape == (7,)
    np.testing.assert_array_equal(model(np.asarray(image)), logits)
    pixels = vimnp.image.preprocess(image, (32, 32), model.metadata.preprocessing)
    np.testing.assert_array_equal(model(pixels), logits)


def test_an_array_of_pictures_is_a_list_of_them():
    model = micro()
    pictures = np.stack([np.asarray(picture(seed=seed)) for seed in range(2)])
    np.testing.assert_array_equal(model(pictures), model(list(pictures)))


def test_a_list_may_mix_kinds():
    model, image = micro(), picture()
    logits = model([image, np.asarray(image), normalised()])
    np.testing.assert_array_equal(logits[0], logits[1])
    np.testing.assert_array_equal(logits[2], model(normalised()))


@pytest.mark.parametrize("kind", [np.float64, np.float16])
def test_a_batch_of_another_precision_is_converted(kind):
    model, batch = micro(), normalised(batch=3).astype(kind)
    np.testing.assert_array_equal(model(batch), model(batch.astype(np.float32)))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_batch_of_bytes_is_its_pictures_one_by_one(channels):
    model = micro()
    batch = np.random.default_rng(0).integers(0, 256, (3, 40, 50, channels), np.uint8)
    np.testing.assert_array_equal(model(batch), model(list(batch)))


def test_pictures_may_come_one_after_the_other():
    model, batch = micro(), normalised(batch=19)
    expected = model(batch)
    for pictures in (iter(batch), (image for image in batch), map(np.copy, batch), deque(batch)):
        np.testing.assert_array_equal(model(pictures), expected)
    best = model.predict(picture(seed=seed) for seed in range(3))
    assert best == model.predict([picture(seed=seed) for seed in range(3)])


def test_pictures_that_come_one_after_the_other_are_not_all_in_memory():
    alive: list[int] = []
    given: list[weakref.ref[Image.Image]] = []

    def pictures():
        for seed in range(40):
            image = picture(seed=seed)
            given.append(weakref.ref(image))
            alive.append(sum(reference() is not None for reference in given))
            yield image

    assert micro()(pictures()).shape == (40, 7)
    assert max(alive) <= 2  # the network's inputs take their place at once


def test_a_generators_own_error_comes_through():
    def pictures():
        yield normalised()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        micro()(pictures())


def test_paths_and_files_are_the_pictures_in_them(tmp_path: Path):
    model, paths = micro(), [tmp_path / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        picture(seed=seed).save(path)
    expected = model([picture(seed=seed) for seed in range(3)])
    np.testing.assert_array_equal(model(paths[0]), expected[0])
    np.testing.assert_array_equal(model(str(paths[0])), expected[0])
    np.testing.assert_array_equal(model(io.BytesIO(paths[0].read_bytes())), expected[0])
    np.testing.assert_array_equal(model(paths), expected)
    np.testing.assert_array_equal(model(map(str, paths)), expected)
    with pytest.raises(vimnp.ImageError, match=r"^images\[1\]: missing\.png: .*No such file"):
        model([paths[0], "missing.png"])
    with pytest.raises(vimnp.ImageError, match=r"^missing\.png: .*No such file"):
        model("missing.png")


@pytest.mark.parametrize("nothing", [[], (), np.empty((0, 3, 32, 32), np.float32)])
def test_no_pictures_give_no_logits(nothing):
    model = micro()
    assert model(nothing).shape == (0, 7)
    assert model.features(nothing).shape == (0, 24)
    assert model.forward_features(nothing).shape == (0, 17, 24)
    assert model.feature_map(nothing).shape == (0, 24, 4, 4)
    assert model.predict(nothing) == []


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (b"cat.jpg", "a bytes"),
        (None, "a NoneType"),
        ({"cat": picture()}, "a dict"),
        ({"cat.jpg"}, "a set"),
        (normalised(size=(31, 32)), "float32 with shape (3, 31, 32)"),
        (np.zeros((3, 32, 32), np.uint8), "uint8 with shape (3, 32, 32)"),
        (normalised(batch=1)[None], "float32 with shape (1, 1, 3, 32, 32)"),
        ([normalised(), 3], "images[1]: the picture is a int"),
        ([normalised(), [normalised()]], "images[1]: the picture is a list"),
    ],
)
def test_what_is_no_picture_is_named(images, found):
    with pytest.raises(vimnp.ImageError) as raised:
        micro()(images)
    assert found in str(raised.value)
    assert "expected a PIL image, a uint8 array (H, W, 3)" in str(raised.value)


def test_the_input_is_left_alone():
    model, pixels, image = micro(), normalised(), picture()
    before = pixels.copy()
    model(pixels)
    model(image)
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(picture()))


def test_read_only_and_strided_input():
    model, pixels = micro(), normalised()
    strided = np.ascontiguousarray(pixels.transpose(1, 2, 0)).transpose(2, 0, 1)
    strided.flags.writeable = False
    np.testing.assert_array_equal(model(strided), model(pixels))


# ---- predict -------------------------------------------------------------------------------------


def test_predict_gives_the_softmax_best_first():
    labels = tuple("abcdefg")
    model = vimnp.VisionMamba(Metadata(config=MICRO, labels=labels), random_reader(MICRO, 0))
    logits = model(picture()).astype(np.float64)
    scores = np.exp(logits) / np.exp(logits).sum()
    best = model.predict(picture(), top_k=3)
    assert [p.index for p in best] == list(np.argsort(-scores)[:3])
    assert [p.label for p in best] == [labels[p.index] for p in best]
    np.testing.assert_allclose([p.score for p in best], np.sort(scores)[::-1][:3], rtol=1e-5)


def test_predict_without_labels_and_with_more_than_all_classes():
    best = micro().predict(picture(), top_k=1000)
    assert len(best) == 7
    assert sum(p.score for p in best) == pytest.approx(1)
    assert {p.label for p in best} == {None}


def test_predict_answers_a_list_with_a_list():
    model = micro()
    assert model.predict([picture(), picture(seed=1)]) == [
        model.predict(picture()),
        model.predict(picture(seed=1)),
    ]


def test_predict_gives_no_answer_where_the_logits_are_not_finite(monkeypatch, tmp_path: Path):
    model, spoilt = micro(), normalised()
    spoilt[0, 0, 0] = np.nan
    words = "7 of the network's 7 logits are not finite"
    with pytest.raises(vimnp.ImageError, match=f"^{words}"):
        model.predict(spoilt)
    with pytest.raises(vimnp.ImageError, match=rf"^images\[1\]: {words}"):
        model.predict([normalised(), spoilt])
    picture().save(tmp_path / "cat.png")
    logits = np.full(7, np.nan, np.float32)
    monkeypatch.setattr(vimnp.VisionMamba, "__call__", lambda self, images: logits)
    with pytest.raises(vimnp.ImageError, match=rf"cat\.png: {words}"):
        model.predict(tmp_path / "cat.png")


def test_predict_orders_by_logits_where_scores_are_equal(monkeypatch):
    logits = np.array([0, 1000, 1001, -3e38, 1001, 3, 1], np.float32)
    monkeypatch.setattr(vimnp.VisionMamba, "__call__", lambda self, images: logits)
    assert [p.index for p in micro().predict(picture(), top_k=7)] == [2, 4, 1, 5, 6, 0, 3]


@pytest.mark.parametrize("top_k", [0, -1, 1.5, True, None])
def test_predict_names_a_wrong_top_k(top_k):
    with pytest.raises(vimnp.ConfigError, match="top_k is"):
        micro().predict(picture(), top_k=top_k)


def test_predict_takes_a_count_of_numpy():
    assert len(micro().predict(picture(), top_k=np.int64(3))) == 3


def test_predict_of_a_network_with_logits_for_every_token_says_so():
    config = dataclasses.replace(MICRO, if_cls_token=False, final_pool_type="all")
    model = vimnp.VisionMamba.random(config=config)
    for images in (picture(), []):
        with pytest.raises(vimnp.ConfigError, match="final_pool_type is 'all'"):
            model.predict(images)


# ---- Without a head, and of other channels -------------------------------------------------------


NO_HEADS = {
    "token": {},
    "mean": {"if_cls_token": False},
    "every token": {"if_cls_token": False, "final_pool_type": "all"},
}


@pytest.mark.parametrize("name", NO_HEADS)
def test_the_logits_of_a_network_without_a_head_are_its_features(name):
    config = dataclasses.replace(MICRO, num_classes=0, **NO_HEADS[name])
    model = vimnp.VisionMamba.random(config=config)
    for pictures in (normalised(), normalised(batch=9), [picture()], []):
        np.testing.assert_array_equal(model(pictures), model.features(pictures), strict=True)
    headed = vimnp.VisionMamba.random(config=dataclasses.replace(config, num_classes=7))
    np.testing.assert_array_equal(model(normalised()), headed.features(normalised()))


def test_without_a_head_the_largest_of_each_channel_is_given():
    config = dataclasses.replace(MICRO, num_classes=0, if_cls_token=False, final_pool_type="max")
    model = vimnp.VisionMamba.random(config=config)
    batch = normalised(batch=2)
    np.testing.assert_array_equal(model(batch), model.features(batch).max(axis=1))


def test_predict_of_a_network_without_a_head_says_so():
    model = vimnp.VisionMamba.random(config=dataclasses.replace(MICRO, num_classes=0))
    words = r"no head, .* expected one with a head: call model\.features\(\.\.\.\)"
    for images in (picture(), normalised(batch=2), []):
        with pytest.raises(vimnp.ConfigError, match=words):
            model.predict(images)


def test_a_network_without_a_head_says_so_of_itself():
    model = vimnp.VisionMamba.random(config=dataclasses.replace(MICRO, num_classes=0))
    assert "depth 2, no head; " in repr(model)
    assert "  classes     no head: the logits are features\n" in model.summary()


def test_a_network_of_one_channel_sees_pictures_in_grey(tmp_path: Path):
    model = vimnp.VisionMamba.random(config=dataclasses.replace(MICRO, channels=1))
    image, grey = picture(), picture().convert("L")
    image.save(tmp_path / "cat.png")
    expected = model(grey)
    assert model.preprocess(image).shape == (1, 32, 32)
    for given_picture in (image, np.asarray(image), np.asarray(grey), tmp_path / "cat.png"):
        np.testing.assert_array_equal(model(given_picture), expected)
    batch = np.stack([np.asarray(grey)[..., None]] * 2)
    np.testing.assert_array_equal(model(batch), np.stack([expected] * 2))
    assert len(model.predict([image, normalised(channels=1)])) == 2
    assert "  pictures    32x32 pixels in grey, 0.875 of a picture's" in model.summary()


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_network_of_other_channels_takes_normalised_arrays(channels):
    config = dataclasses.replace(MICRO, channels=channels)
    model, batch = vimnp.VisionMamba.random(config=config), normalised(batch=9, channels=channels)
    logits, read = model(batch), random_reader(config, 0)
    for pixels, row in zip(batch, logits, strict=True):
        np.testing.assert_array_equal(model(pixels), row)
    np.testing.assert_array_equal(model(list(batch)), logits)
    assert_close(logits[0], plain_vim.logits(config, read, batch[0]))
    with pytest.raises(vimnp.ImageError, match=rf"expected .* array \({channels}, 32, 32\)"):
        model(normalised(channels=3))


def test_a_network_of_four_channels_takes_no_pictures(tmp_path: Path):
    model = vimnp.VisionMamba.random(config=dataclasses.replace(MICRO, channels=4))
    picture().save(tmp_path / "cat.png")
    words = r"a picture has 1 or 3 channels, and the network takes 4; expected an array of floats"
    for images in (picture(), np.asarray(picture())):
        with pytest.raises(vimnp.ImageError, match=f"^{words}"):
            model(images)
    with pytest.raises(vimnp.ImageError, match=rf"cat\.png: {words}"):
        model.predict(tmp_path / "cat.png")
    with pytest.raises(vimnp.ImageError, match=rf"^images\[1\]: {words}"):
        model([normalised(channels=4), picture()])
    assert "  pictures    32x32 pixels of 4 channels, normalised arrays only\n" in model.summary()


# ---- Making a model ------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("vim_tiny.npz",)], ids=["nothing", "a file"])
@pytest.mark.parametrize("kind", [vimnp.VisionMamba, vimnp.VimTiny])
def test_a_network_that_is_made_without_weights_says_what_makes_one(kind, arguments):
    message = rf"expected {kind.__name__}\.from_npz\(path\), or {kind.__name__}\.random\(\)"
    with pytest.raises(TypeError, match=message):
        kind(*arguments)


def test_from_npz_gives_the_same_network(micro_npz: Path):
    np.testing.assert_array_equal(
        vimnp.VisionMamba.from_npz(micro_npz)(normalised()), micro()(normalised())
    )


def test_named_networks_check_their_sizes(micro_npz: Path):
    for network in (vimnp.VimTiny, vimnp.VimSmall, vimnp.VimBase):
        with pytest.raises(vimnp.ConfigError, match=r"embed_dim 24; Vim\w+ has .*VisionMamba"):
            network.from_npz(micro_npz)
    shallow = dataclasses.replace(vimnp.VimTiny.variant, depth=2)
    with pytest.raises(vimnp.ConfigError, match="depth 2; VimTiny has 24"):
        vimnp.VimTiny.random(config=shallow)
    finer = dataclasses.replace(vimnp.VimTiny.variant, stride=8, num_classes=10)
    assert vimnp.VimTiny.random(config=finer).config == finer


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"scan": "parallel"}, "scan is 'parallel'; expected one of"),
        ({"backend": "torch"}, "backend is 'torch'; expected one of ('auto', 'numpy', 'native')"),
        ({"num_threads": 0}, "num_threads is 0; expected a whole number from 1 to 1024"),
        ({"num_threads": "2"}, "num_threads is '2'"),
    ],
)
def test_settings_that_mean_nothing_are_named(micro_npz: Path, argument, message):
    with pytest.raises(vimnp.ConfigError) as raised:
        vimnp.VisionMamba.from_npz(micro_npz, **argument)
    assert message in str(raised.value)


def test_the_variable_is_the_default_backend(way):
    assert micro().backend == way.backend


@pytest.mark.parametrize("value", ["torch", " ", "Native"])
def test_a_backend_variable_that_means_nothing_is_named(monkeypatch, value):
    monkeypatch.setenv("VIMNP_BACKEND", value)
    with pytest.raises(vimnp.ConfigError, match=f"VIMNP_BACKEND is '{value}'; expected one of"):
        micro()
    assert micro(backend="numpy").backend == "numpy"


@only(NATIVE_WAYS)
def test_the_backend_of_the_argument_comes_before_the_variable(monkeypatch, micro_npz: Path):
    for variable, argument in (("native", "numpy"), ("numpy", "native"), ("torch", "native")):
        monkeypatch.setenv("VIMNP_BACKEND", variable)
        assert micro(backend=argument).backend == argument
        assert vimnp.VisionMamba.from_npz(micro_npz, backend=argument).backend == argument


@pytest.mark.parametrize("scan", [s for s in SCAN_MODES if s != "fused"])
def test_the_native_backend_refuses_other_scans_than_its_own(monkeypatch, scan):
    words = rf"scan is '{scan}', and {{}} is 'native', which has 'fused' only"
    with pytest.raises(vimnp.ConfigError, match=words.format("backend")):
        micro(scan=scan, backend="native")
    monkeypatch.setenv("VIMNP_BACKEND", "native")
    with pytest.raises(vimnp.ConfigError, match=words.format("VIMNP_BACKEND")):
        micro(scan=scan)
    assert micro(scan=scan, backend="numpy").scan == scan


@only(NATIVE_WAYS)
def test_a_native_model_stays_on_the_instruction_set_that_it_was_made_for(monkeypatch):
    """Its panels fit no other."""
    model, pixels = micro(), normalised()
    logits = model(pixels)
    for isa in extension.usable_instruction_sets():
        monkeypatch.setenv("VIMNP_ISA", isa)
        micro(backend="numpy")(pixels)
        np.testing.assert_array_equal(model(pixels), logits)


# ---- Memory and threads --------------------------------------------------------------------------


def allocated_by_a_second_pass(side: int, **options) -> int:
    """Peak of what a forward pass allocates, in bytes, once the workspace is there.

    What Python makes once, at a moment of its own, is not in the least of some passes.
    """
    config = dataclasses.replace(MICRO, img_size=(side, side), **options)
    model, pixels = vimnp.VisionMamba.random(config=config), normalised(size=(side, side))
    model(pixels)
    return min(allocated_by_a_pass(model, pixels) for _ in range(3))


def allocated_by_a_pass(model: vimnp.VisionMamba, pixels: np.ndarray) -> int:
    tracemalloc.start()
    try:
        model(pixels)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@only(COMPILED_WAYS)
@pytest.mark.parametrize("options", [{}, {"if_rope": True, "if_bidirectional": True}])
def test_a_forward_pass_allocates_nothing_that_grows_with_the_tokens(options):
    # NumPy's own buffer grows until it has its full size, 32 KB; both networks are beyond that.
    few, many = (allocated_by_a_second_pass(side, **options) for side in (256, 384))
    assert abs(many - few) < 2000  # one float for each of the 1,280 tokens more would be 5,120


def test_a_model_holds_its_weights_once():
    # Wide enough that what fills the vectors up, and Python's objects, are few beside the weights.
    config = dataclasses.replace(MICRO, embed_dim=192, depth=3)
    tracemalloc.start()
    try:
        model = vimnp.VisionMamba.random(config=config)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert model.config == config  # it is still there
    weights = 4 * config.num_parameters
    assert 0.9 * weights <= held <= 1.1 * weights


@pytest.mark.parametrize("shape", [(1,), (7, 3), (17, 24), (0, 5)])
def test_arrays_for_the_kernels_begin_at_a_cache_line(shape):
    for _ in range(5):
        array = aligned_empty(*shape)
        assert array.ctypes.data % 64 == 0 or not array.size
        assert array.shape == shape
        assert array.dtype == np.float32
        assert array.flags.c_contiguous


@pytest.mark.usefixtures("small_work_is_split")
@every_scan_of_every_way
def test_every_number_of_threads_gives_the_same_logits(scan):
    config = dataclasses.replace(MICRO, embed_dim=96)
    pixels = normalised()
    with threadpool_limits(1, user_api="blas"):
        logits = [
            vimnp.VisionMamba.random(config=config, scan=scan, num_threads=n)(pixels).tobytes()
            for n in (1, 2, 3, 8)
        ]
    assert len(set(logits)) == 1


@pytest.mark.usefixtures("small_work_is_split")
@examples
@given(config=any_configuration, num_threads=st.integers(2, 9))
def test_no_split_of_any_configuration_changes_a_bit(config, num_threads):
    """Among as many threads as have tokens, channels or classes of their own, and more."""
    pixels = normalised(size=config.img_size, channels=config.channels)
    alone, together = (
        vimnp.VisionMamba.random(config=config, num_threads=n) for n in (1, num_threads)
    )
    np.testing.assert_array_equal(together(pixels), alone(pixels))
    np.testing.assert_array_equal(together.features(pixels), alone.features(pixels))
    tokens = together.forward_features(pixels)
    np.testing.assert_array_equal(tokens, alone.forward_features(pixels))


# ---- Parity with the original --------------------------------------------------------------------


@pytest.fixture(scope="module")
def converted(golden: Path, tmp_path_factory: pytest.TempPathFactory):
    """Converts a golden checkpoint, once each: case -> weights file and recorded outputs."""
    from vimnp.convert import convert_checkpoint

    folder, done = tmp_path_factory.mktemp("converted"), {}

    def convert(case: str):
        if case not in done:
            path = folder / f"{case}.npz"
            path.parent.mkdir(exist_ok=True)
            convert_checkpoint(golden / f"{case}.pth", path, settings=golden_cases.NETWORKS[case])
            with np.load(golden / f"{case}.npz") as recorded:
                done[case] = path, dict(recorded)
        return done[case]

    return convert


@every_scan_of_every_way
@pytest.mark.parametrize("case", golden_cases.NETWORKS)
def test_logits_are_the_originals(converted, case, scan):
    path, recorded = converted(case)
    network = vimnp.VimTiny if case.startswith("vim_tiny") else vimnp.VisionMamba
    model = network.from_npz(path, scan=scan)
    # The small networks' logits are about 1. The large one's are about 4, over 24 layers; those of
    # every option are up to 6, where PyTorch's own float32 is within 1.2e-6.
    tolerance = 5e-6 if case.startswith("vim") else 2e-6
    assert np.abs(model(recorded["input"]) - recorded["logits64"]).max() <= tolerance
    # The features are recorded in float32. Those of single tokens go up to 5.
    largest = np.abs(recorded["features"]).max() if case in golden_cases.OPTIONS else 0.0
    error = np.abs(model.features(recorded["input"]) - recorded["features"]).max()
    assert error <= max(5e-6, 2e-6 * largest)


@only(NATIVE_WAYS)
def test_the_backends_agree_on_a_large_network(converted):
    path, recorded = converted("vim_tiny_patch16_224")
    native, numpy = (
        vimnp.VimTiny.from_npz(path, backend=backend)(recorded["input"])
        for backend in ("native", "numpy")
    )
    assert np.abs(native - numpy).max() < 1e-5


@pytest.mark.parametrize("case", golden_cases.NETWORKS)
def test_the_converted_configuration_is_the_originals(golden: Path, converted, case):
    path, _ = converted(case)
    found = vimnp.VisionMamba.from_npz(path).config
    assert found == golden_cases.original_config(golden, case)


def test_photographs_give_the_same_bits_as_their_normalised_pixels(golden: Path, converted):
    path, recorded = converted("vim_tiny_patch16_224")
    model = vimnp.VimTiny.from_npz(path)
    with threadpool_limits(1, user_api="blas"):
        for name, pixels in zip(("china", "flower"), recorded["input"], strict=True):
            with Image.open(golden / f"{name}.png") as image:
                np.testing.assert_array_equal(model(image), model(pixels))


@only(NUMPY_WAYS)
def test_the_first_steps_are_the_originals(golden: Path, converted):
    """Patch embedding, first mixer, and the stream after some layers, each where it first shows."""
    path, recorded = converted("vim_tiny_patch16_224")
    model = vimnp.VimTiny.from_npz(path)
    with WeightsFile(path) as file:
        patch_bias = file.read("patch_embed.proj.bias")
    with np.load(golden / "vim_tiny_patch16_224_activations.npz") as activations:
        seen = record_activations(model, patch_bias, recorded["input"][0])
        for name in activations:
            truth = activations[name][0]
            found = seen[name]
            assert np.abs(found - truth).max() <= 2e-6 * np.abs(truth).max(), name


def test_the_stream_after_each_layer_is_the_originals(golden: Path, converted):
    """A network that ends after a layer shows its token, after the final norm."""
    path, recorded = converted("vim_tiny_patch16_224")
    with (
        WeightsFile(path) as file,
        np.load(golden / "vim_tiny_patch16_224_activations.npz") as activations,
    ):
        layers = [int(name.split(".")[1]) for name in activations if name.endswith(".0")]
        assert layers == [0, 1, 11, 23]
        for layer in layers:
            hidden, residual = (activations[f"layers.{layer}.{i}"][0] for i in range(2))
            config = dataclasses.replace(file.metadata.config, depth=layer + 1)
            token = np.add(hidden, residual, dtype=np.float64)[config.class_tokens["cls_token"]]
            truth = token / np.sqrt(np.mean(token**2) + config.norm_epsilon)
            truth *= file.read("norm_f.weight")
            model = vimnp.VisionMamba(Metadata(config=config), file.read)
            # The recording is float32 itself, and the features go up to 4: as those of 24 layers.
            assert np.abs(model.features(recorded["input"][0]) - truth).max() <= 5e-6, layer


def record_activations(
    model: vimnp.VisionMamba, patch_bias: np.ndarray, pixels: np.ndarray
) -> dict[str, np.ndarray]:
    """Run layer by layer. The original's names: N.0 hidden, N.1 residual before they are added."""
    network = model._network
    w, p = Pass(model.config), network.plain()
    seen = {}
    network._embed(w, pixels)
    position = model.config.class_tokens["cls_token"]
    products = np.delete(w.residual - p.token_offset, position, axis=0)
    seen["patch_embed"] = products + patch_bias
    for index, layer in enumerate(p.layers):
        network._add_norm(w, w.residual, w.hidden if index else None, layer.norm, w.normed)
        network._mixer(w, layer, w.hidden)
        if index == 0:
            seen["layers.0.mixer"] = w.hidden.copy()
        seen[f"layers.{index}.0"] = w.hidden.copy()
        seen[f"layers.{index}.1"] = w.residual.copy()
    return seen
