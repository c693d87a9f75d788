"""Pictures of another size: position embedding and rotary tables, and the network that has them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vimnp
from tests.support import plain_vim
from tests.support.micro import MICRO
from tests.support.random_weights import write_random
from vimnp.config import VIM_TINY, VIM_TINY_ROPE
from vimnp.models.random_weights import random_reader
from vimnp.models.vim import rope
from vimnp.models.vim.resize import bicubic_weights, resize_pos_embed, resized

TOKENS = {
    "in the middle": {},
    "first": {"use_middle_cls_token": False},
    "first and last": {"use_double_cls_token": True},
    "none": {"if_cls_token": False},
}
SIZES = [(32, 32), (64, 32), (40, 56), (8, 8), (20, 33), (96, 96)]


# ---- Interpolation -------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [1, 2, 3, 7, 14])
@pytest.mark.parametrize("new", [1, 2, 5, 14, 24, 60])
def test_the_weights_are_pytorchs(old: int, new: int) -> None:
    torch = pytest.importorskip("torch", reason="comparing with interpolate needs torch")
    samples = torch.eye(old, dtype=torch.float64)[None, :, :, None].expand(-1, -1, -1, 4)
    found = torch.nn.functional.interpolate(samples, size=(new, 4), mode="bicubic")
    np.testing.assert_allclose(bicubic_weights(old, new).T, found[0, :, :, 0], atol=1e-14)


def test_weights_worked_out_by_hand() -> None:
    """Twice as many samples: new ones lie a quarter from the old, t = 0.75 and 0.25 by turns."""
    a = -0.75
    near, far = [(a + 2) * t**3 - (a + 3) * t**2 + 1 for t in (0.25, 0.75)]
    nearer, farther = [a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a for t in (1.25, 1.75)]
    expected = [farther, far, near, nearer]  # of the two old ones before and after, from the left
    np.testing.assert_allclose(bicubic_weights(8, 16)[6, 1:5], expected)
    np.testing.assert_allclose(bicubic_weights(8, 16)[7, 2:6], expected[::-1])


@settings(deadline=None)
@given(old=st.integers(1, 40), new=st.integers(1, 80))
def test_weights_sum_to_one_and_mirror(old: int, new: int) -> None:
    weights = bicubic_weights(old, new)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-13)
    np.testing.assert_array_equal(bicubic_weights(old, old), np.eye(old))


@pytest.mark.parametrize("token", TOKENS)
def test_positions_lie_as_before_and_class_tokens_keep_their_rows(token: str) -> None:
    config = dataclasses.replace(MICRO, img_size=(80, 96), **TOKENS[token])
    rows, columns = config.grid_size
    plane = np.add.outer(3.0 * np.arange(rows), 5.0 * np.arange(columns))
    positions = list(config.class_tokens.values())
    pos_embed = np.empty((1, config.num_tokens, MICRO.embed_dim), np.float32)
    is_patch = np.isin(np.arange(config.num_tokens), positions, invert=True)
    pos_embed[0, is_patch] = plane.reshape(-1, 1)
    pos_embed[0, positions] = 1000 + np.arange(len(positions))[:, None]

    new = dataclasses.replace(config, img_size=(160, 192))
    found = resize_pos_embed(pos_embed, config, new)
    assert found.shape == (1, new.num_tokens, MICRO.embed_dim)
    assert found.dtype == np.float32
    positions = list(new.class_tokens.values())
    np.testing.assert_array_equal(found[0, positions, 0], 1000 + np.arange(len(positions)))
    is_patch = np.isin(np.arange(new.num_tokens), positions, invert=True)
    grid = found[0, is_patch].reshape(2 * rows, 2 * columns, -1)[..., 0]
    finer = bicubic_weights(rows, 2 * rows) @ plane @ bicubic_weights(columns, 2 * columns).T
    np.testing.assert_allclose(grid, finer, rtol=1e-5)


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("img_size", SIZES)
def test_positions_are_what_pytorchs_interpolate_gives(
    token: str, img_size: tuple[int, int]
) -> None:
    torch = pytest.importorskip("torch", reason="comparing with interpolate needs torch")
    config = dataclasses.replace(MICRO, img_size=(48, 40), **TOKENS[token])
    pos_embed = random_reader(config, 0)("pos_embed")
    new = dataclasses.replace(config, img_size=img_size)
    patches = np.delete(pos_embed[0], list(config.class_tokens.values()), axis=0)
    grid = torch.from_numpy(patches.reshape(1, *config.grid_size, -1)).double().permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, size=new.grid_size, mode="bicubic")
    expected = grid[0].permute(1, 2, 0).reshape(new.num_patches, -1).numpy()
    found = resize_pos_embed(pos_embed, config, new)[0]
    patches = np.delete(found, list(new.class_tokens.values()), axis=0)
    np.testing.assert_allclose(patches, expected, atol=1e-8)  # rounded to float32 once


def test_the_same_size_leaves_every_position_as_it_is() -> None:
    pos_embed = random_reader(MICRO, 0)("pos_embed")
    np.testing.assert_array_equal(resize_pos_embed(pos_embed, MICRO, MICRO), pos_embed)


# ---- Rotary tables -------------------------------------------------------------------------------


def test_a_larger_picture_has_finer_angles() -> None:
    small = dataclasses.replace(VIM_TINY_ROPE, embed_dim=8, dt_rank=1)
    large = dataclasses.replace(small, img_size=(448, 224))
    angle = {
        config.grid_size: np.arctan2(rope.tables(config)[rope.SIN], rope.tables(config)[rope.COS])
        for config in (small, large)
    }
    # The second patch of the first column: the angles of rows are in the first half.
    np.testing.assert_allclose(angle[14, 14][14, :4], [1, 1, 0.01, 0.01], rtol=1e-6)
    np.testing.assert_allclose(angle[28, 14][14, :4], [0.5, 0.5, 0.005, 0.005], rtol=1e-6)
    np.testing.assert_array_equal(angle[14, 14][14, 4:], 0)
    np.testing.assert_allclose(angle[28, 14][1, 4:], [1, 1, 0.01, 0.01], rtol=1e-6)


def test_tables_that_are_not_of_the_formula_cannot_be_resized() -> None:
    config = dataclasses.replace(MICRO, if_rope=True)
    read = random_reader(dataclasses.replace(config, pt_hw_seq_len=7), 0)
    with pytest.raises(vimnp.ConfigError, match="tables are not those of pt_hw_seq_len 14"):
        resized(config, read, 64)
    resized(config, read, 39)  # as many patches: the tables stay


# ---- The network ---------------------------------------------------------------------------------


OPTIONS = {
    "positions": {},
    "no positions": {"if_abs_pos_embed": False},
    "rotation": {"if_rope": True, "if_rope_residual": True},
    "two tokens": {"use_double_cls_token": True},
    "patches of two sides": {"patch_size": (8, 4), "stride": 4},
    "four channels, no head": {"channels": 4, "num_classes": 0},
}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("option", OPTIONS)
def test_a_resized_network_agrees_with_float64(option: str, tmp_path: Path) -> None:
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    path = write_random(tmp_path / "vim.npz", config)
    for img_size in (64, (40, 72)):
        model = vimnp.VisionMamba.from_npz(path, img_size=img_size)
        sides = (64, 64) if img_size == 64 else img_size
        assert model.config == model.metadata.config == dataclasses.replace(config, img_size=sides)
        shape = (config.channels, *sides)
        pixels = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        new, read = resized(config, random_reader(config, 0), img_size)
        truth = plain_vim.logits(new, read, pixels)
        assert np.abs(model(pixels) - truth).max() <= 2e-6  # as in test_model.py


def test_the_trained_size_gives_the_same_bits(micro_npz: Path) -> None:
    pixels = np.random.default_rng(0).standard_normal((3, 32, 32)).astype(np.float32)
    expected = vimnp.VisionMamba.from_npz(micro_npz)(pixels)
    found = vimnp.VisionMamba.from_npz(micro_npz, img_size=32)(pixels)
    np.testing.assert_array_equal(found, expected)


def test_rotary_tables_of_a_float16_file_are_recognised(tmp_path: Path) -> None:
    path = write_random(tmp_path / "vim.npz", dataclasses.replace(MICRO, if_rope=True), "float16")
    assert vimnp.VisionMamba.from_npz(path, img_size=64).config.img_size == (64, 64)


@pytest.mark.parametrize(
    ("img_size", "found"),
    [
        (0, "img_size is 0"),
        (7, "img_size is 7x7 with patch_size 8"),
        (-32, "img_size is -32"),
        (True, "img_size is True"),
        ((32,), r"img_size is \(32,\)"),
        ([32], r"img_size is \[32\]"),
        ((32, 32.0), "img_size is 32.0"),
        ("64", "img_size is '64'"),
        (17000, "img_size is 17000"),
    ],
)
def test_sizes_that_do_not_go_are_named(micro_npz: Path, img_size: object, found: str) -> None:
    with pytest.raises(vimnp.ConfigError, match=found):
        vimnp.VisionMamba.from_npz(micro_npz, img_size=img_size)


@pytest.mark.parametrize("img_size", [64, np.int64(64), (64, 64), [64, 64], np.array([64, 64])])
def test_sizes_may_be_of_any_harmless_type(micro_npz: Path, img_size: object) -> None:
    assert vimnp.VisionMamba.from_npz(micro_npz, img_size=img_size).config.img_size == (64, 64)


def test_named_networks_may_be_resized(tmp_path: Path) -> None:
    config = dataclasses.replace(VIM_TINY, num_classes=2)
    path = write_random(tmp_path / "tiny.npz", config, "float16")
    model = vimnp.VimTiny.from_npz(path, img_size=(64, 96))
    assert model(np.zeros((3, 64, 96), np.float32)).shape == (2,)
