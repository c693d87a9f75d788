"""Conversion from ``.pth`` to ``.npz``: round trips, what is inferred, what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support import golden_cases
from tests.support.arrays import assert_same
from tests.support.configurations import configurations, patch_sizes
from tests.support.irregular import irregular as irregular
from tests.support.links import needs_links
from tests.support.processes import peak_memory
from tests.support.random_weights import random_weights
from tests.support.torch_format import save, training_dump
from vimnp.config import PUBLISHED, VIM_SMALL, VIM_TINY, VIM_TINY_ROPE, VimConfig
from vimnp.convert import Conversion, convert_checkpoint
from vimnp.convert.labels import read_labels
from vimnp.convert.vim import geometry
from vimnp.convert.vim.geometry import infer_geometry
from vimnp.convert.vim.infer import find_expand, infer_config
from vimnp.errors import CheckpointError
from vimnp.images.preprocessing import Preprocessing
from vimnp.models.vim import rope
from vimnp.weights import WeightsFile

MICRO = VimConfig(
    img_size=(32, 32), patch_size=8, stride=8, depth=2, embed_dim=16, d_state=4, num_classes=5
)
WEIGHTS = random_weights(MICRO)


def micro(**changes: Any) -> VimConfig:
    return dataclasses.replace(MICRO, **{"dt_rank": None} | changes)


def convert(folder: Path, content: object, **options: Any) -> tuple[Conversion, dict[str, Any]]:
    """Convert a checkpoint of this content, and read back every tensor of the weights file."""
    save(folder / "vim.pth", content)
    conversion = convert_checkpoint(folder / "vim.pth", folder / "vim.npz", **options)
    with WeightsFile(folder / "vim.npz") as file:
        assert file.metadata == conversion.metadata
        names = file.metadata.config.parameter_shapes()
        return conversion, {name: file.read(name) for name in names}


@pytest.mark.parametrize(
    ("config", "given"),
    [
        (MICRO, {}),
        (VimConfig(depth=1, embed_dim=8), {}),
        (VimConfig(depth=1, embed_dim=8, stride=8), {}),  # 729 patches: the finer-grained networks
        (micro(stride=4), {"stride": "4"}),
        (micro(stride=6), {"stride": "6", "img_size": "32"}),
        (micro(stride=4, img_size=(32, 40)), {"img_size": "32x40"}),
        (micro(img_size=(16, 40)), {"img_size": "16x40"}),
        (micro(use_middle_cls_token=False), {"use_middle_cls_token": "False"}),
        (micro(if_cls_token=False), {}),
        (micro(if_cls_token=False, final_pool_type="none"), {"final_pool_type": "none"}),
        (micro(if_abs_pos_embed=False, img_size=(224, 224)), {}),
        (micro(if_abs_pos_embed=False, stride=4), {"stride": "4", "img_size": "32"}),
        (micro(rms_norm=False, norm_epsilon=1e-6), {"norm_epsilon": "1e-6"}),
        (micro(if_divide_out=False), {"if_divide_out": "0"}),
        (micro(bimamba_type="none"), {"bimamba_type": "none"}),
        (micro(bimamba_type="v1"), {"bimamba_type": "v1"}),
        (micro(bimamba_type="v1", if_bidirectional=True), {"if_bidirectional": "true"}),
        (micro(bimamba_type="none", if_bidirectional=True), {"if_bidirectional": "true"}),
        (micro(if_bidirectional=True), {"if_bidirectional": "true"}),
        (micro(use_double_cls_token=True), {}),
        (micro(use_double_cls_token=True, if_abs_pos_embed=False, img_size=(224, 224)), {}),
        (micro(use_double_cls_token=True), {"use_double_cls_token": "true"}),
        (micro(if_cls_token=False, use_double_cls_token=True), {"use_double_cls_token": "true"}),
        (micro(if_cls_token=False, final_pool_type="max"), {"final_pool_type": "max"}),
        (micro(if_cls_token=False, final_pool_type="all"), {"final_pool_type": "all"}),
        (micro(if_layer_scale=True), {}),
        (micro(if_rope=True), {"if_rope": "true"}),
        (micro(if_rope=True, if_rope_residual=True), {"if_rope_residual": "true"}),
        (micro(if_rope=True, if_abs_pos_embed=False), {}),  # the tables' rows tell the patches
        (micro(if_rope=True, img_size=(16, 40)), {"img_size": "16x40"}),
        (micro(if_rope=True, pt_hw_seq_len=4), {"pt_hw_seq_len": "4"}),
        (micro(d_conv=3, expand=3, dt_rank=7, d_state=1), {}),
        (micro(num_classes=0), {}),
        (micro(num_classes=0, if_cls_token=False), {"num_classes": "0"}),
        (micro(channels=1), {}),
        (micro(channels=4), {"channels": "4"}),
        (micro(bias=True), {}),
        (micro(bias=True, bimamba_type="v1", if_layer_scale=True), {"bias": "true"}),
        (micro(conv_bias=False), {}),
        (micro(conv_bias=False, bimamba_type="none"), {"conv_bias": "false"}),
        (micro(expand=1.5), {}),
        (micro(expand=0.5), {"expand": "0.5"}),
        (micro(expand=1.55), {"expand": "1.55"}),  # 24 channels, as of 1.5
        (micro(expand=3), {"expand": "3.0"}),
        (micro(patch_size=(16, 8)), {}),
        (micro(patch_size=(8, 16), img_size=(32, 40)), {"img_size": "32x40"}),
        (micro(patch_size=(8, 4), stride=4, img_size=(40, 40)), {"patch_size": "8x4"}),
        (micro(patch_size=(8, 6), stride=5, img_size=(33, 33)), {"stride": "5"}),
        (micro(), {"patch_size": "8x8"}),
        (micro(num_classes=1, depth=12), {"depth": "12", "rms_norm": "1", "dt_rank": "1"}),
    ],
)
def test_round_trip(config: VimConfig, given: dict[str, str], tmp_path: Path) -> None:
    weights = random_weights(config)
    conversion, found = convert(tmp_path, {"model": weights}, settings=given)
    assert conversion.metadata.config == config
    learnt = {name: array for name, array in weights.items() if not name.startswith("rope.")}
    assert conversion.parameters == sum(array.size for array in learnt.values())
    assert conversion.size == (tmp_path / "vim.npz").stat().st_size
    assert_same(found, weights)


CONFIGS = configurations(
    img_size=st.tuples(st.integers(4, 20), st.integers(4, 20)),
    patch_size=patch_sizes(1, 4),
    stride=st.integers(1, 5),
    depth=st.integers(1, 3),
    embed_dim=st.integers(1, 20),
    d_state=st.integers(1, 5),
    d_conv=st.integers(1, 5),
    expand=st.integers(1, 3) | st.floats(0.5, 3),
    dt_rank=st.integers(1, 4),
    num_classes=st.integers(0, 12),
    norm_epsilon=st.sampled_from([1e-5, 1e-6, 0.0]),
)
TOLD_BY_WEIGHTS = ("dt_rank", "embed_dim", "rms_norm", "patch_size", "num_classes", "if_cls_token")
TOLD_BY_WEIGHTS += ("bimamba_type", "if_rope", "if_layer_scale", "if_abs_pos_embed")
TOLD_BY_WEIGHTS += ("channels", "bias", "conv_bias")
NO_HEAD = "num_classes=0, as there is no 'head.weight': a backbone, whose logits are its features"


@given(config=CONFIGS)
@settings(deadline=None)
def test_any_configuration_is_found_again(config: VimConfig) -> None:
    given = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    assert infer_config(config.parameter_shapes(), given) == (config, [])
    for name in TOLD_BY_WEIGHTS:
        del given[name]
    if config.if_cls_token:
        del given["use_double_cls_token"]
    said = [] if config.num_classes else [NO_HEAD]
    assert infer_config(config.parameter_shapes(), given) == (config, said)
    del given["expand"]
    found, _ = infer_config(config.parameter_shapes(), given)
    assert found == dataclasses.replace(config, expand=found.expand)
    assert found.d_inner == config.d_inner


@given(embed_dim=st.integers(1, 16384), share=st.fractions(0, 64))
def test_a_number_that_makes_as_many_channels_is_found(embed_dim: int, share: Fraction) -> None:
    d_inner = max(int(share * embed_dim), 1)
    expand = find_expand(d_inner, embed_dim)
    assert int(expand * embed_dim) == d_inner
    assert isinstance(expand, int) == (d_inner % embed_dim == 0)


@pytest.mark.parametrize(
    ("d_inner", "embed_dim", "expand"),
    [
        (384, 192, 2),
        (192, 192, 1),
        (288, 192, 1.5),
        (96, 192, 0.5),
        (13, 10, 1.3),
        (7, 5, 1.4),
        (29, 100, 0.291),  # 0.29 * 100 is below 29 in floating point
        (1, 16384, 0.0001),
        (1, 10**12, 1e-12),
    ],
)
def test_expand_is_the_shortest_number(d_inner: int, embed_dim: int, expand: float) -> None:
    assert find_expand(d_inner, embed_dim) == expand


def test_metadata_and_assumptions(tmp_path: Path) -> None:
    conversion, _ = convert(tmp_path, {"model": WEIGHTS})
    assert conversion.metadata.source == "vim.pth"
    digest = hashlib.sha256((tmp_path / "vim.pth").read_bytes()).hexdigest()
    assert conversion.metadata.source_sha256 == digest
    assert conversion.metadata.preprocessing == Preprocessing(crop_pct=1.0)
    assert [text.partition(",")[0] for text in conversion.assumptions] == [
        "stride=8 and img_size=32x32",
        "use_middle_cls_token=true",
        "use_fast_path=true",
        "if_divide_out=true",
        "if_bidirectional=false",
        "flip_img_sequences_ratio=0.0",
        "norm_epsilon=1e-05",
        "crop_pct=1.0 and mean=0.485",
    ]


@pytest.mark.parametrize(
    ("img_size", "crop_pct"), [((32, 32), 1.0), ((16, 32), 1.0), ((40, 32), 0.875)]
)
def test_small_pictures_are_not_cropped(
    img_size: tuple[int, int], crop_pct: float, tmp_path: Path
) -> None:
    """The original's evaluation neither scales nor crops pictures of up to 32 pixels."""
    weights = random_weights(micro(img_size=img_size))
    conversion, _ = convert(
        tmp_path, {"model": weights}, settings={"img_size": "x".join(map(str, img_size))}
    )
    assert conversion.metadata.preprocessing == Preprocessing(crop_pct)
    assert conversion.assumptions[-1].startswith(f"crop_pct={crop_pct} and mean=")
    given = {"img_size": "x".join(map(str, img_size)), "crop_pct": "0.9"}
    conversion, _ = convert(tmp_path, {"model": weights}, settings=given)
    assert conversion.metadata.preprocessing == Preprocessing(0.9)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_preprocessing_of_other_channels(channels: int, tmp_path: Path) -> None:
    weights = random_weights(micro(channels=channels))
    conversion, _ = convert(tmp_path, {"model": weights})
    preprocessing = Preprocessing.of_channels(channels, crop_pct=1.0)
    assert conversion.metadata.preprocessing == preprocessing
    normalised = "which nothing uses: {} channels come as normalised arrays"
    assert (
        conversion.assumptions[-1]
        == {
            1: "crop_pct=1.0 and mean=0.449 and std=0.226, as in the original's evaluation, "
            "averaged over red, green and blue",
            2: f"crop_pct=1.0 and mean=0.0,0.0 and std=1.0,1.0, {normalised.format(2)}",
            4: "crop_pct=1.0 and mean=0.0,0.0,0.0,0.0 and std=1.0,1.0,1.0,1.0, "
            f"{normalised.format(4)}",
        }[channels]
    )
    mean, std = (0.5,) * channels, (0.25,) * channels
    given = {"mean": ",".join(map(str, mean)), "std": ",".join(map(str, std)), "crop_pct": "0.9"}
    conversion, _ = convert(tmp_path, {"model": weights}, settings=given)
    assert conversion.metadata.preprocessing == Preprocessing(0.9, mean, std)
    assert "crop_pct" not in conversion.assumptions[-1]


OF_V2 = ("use_fast_path=true", "if_divide_out=true")
IN_PAIRS = "if_bidirectional=false"
OF_ALL = {"flip_img_sequences_ratio=0.0", "norm_epsilon=1e-05"}


# Changes to the small network, what is then assumed of it beside sizes and preprocessing
@pytest.mark.parametrize(
    ("changes", "assumed"),
    [
        ({}, {"use_middle_cls_token=true", *OF_V2, IN_PAIRS}),
        ({"use_double_cls_token": True}, {*OF_V2, IN_PAIRS}),
        ({"if_cls_token": False}, {"final_pool_type=mean", *OF_V2, IN_PAIRS}),
        ({"bimamba_type": "v1"}, {"use_middle_cls_token=true", "use_fast_path=true", IN_PAIRS}),
        ({"bimamba_type": "none"}, {"use_middle_cls_token=true", IN_PAIRS}),
        (
            {"if_rope": True},
            {"use_middle_cls_token=true", *OF_V2, IN_PAIRS, "if_rope_residual=false"},
        ),
        ({"depth": 1}, {"use_middle_cls_token=true", *OF_V2}),  # no pair to be had
        (
            {"bias": True, "conv_bias": False, "channels": 4, "expand": 1.5},
            {"use_middle_cls_token=true", *OF_V2, IN_PAIRS},
        ),
    ],
)
def test_only_what_matters_is_assumed(changes: dict[str, Any], assumed: set[str]) -> None:
    _, (geometry, *options) = infer_config(micro(**changes).parameter_shapes(), {})
    because = "as the simplest that gives the 16 patches of 'pos_embed'"
    assert geometry == f"stride=8 and img_size=32x32, {because}"
    assert set(options) == {f"{text}, the default" for text in assumed | OF_ALL}


def test_what_the_slow_path_ignores_is_not_assumed() -> None:
    shapes = micro().parameter_shapes()
    _, (_, *options) = infer_config(shapes, {"use_fast_path": False})
    assumed = {"use_middle_cls_token=true", IN_PAIRS, *OF_ALL}
    assert set(options) == {f"{text}, the default" for text in assumed}


def rotary(config: VimConfig, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """Random weights with the rotary tables as the original computes them."""
    tables = {name: table.astype(dtype) for name, table in rope.tables(config).items()}
    return random_weights(config) | tables


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rotary_tables_that_follow_the_formula(dtype: type, tmp_path: Path) -> None:
    conversion, found = convert(tmp_path, rotary(micro(if_rope=True), dtype))
    assert "pt_hw_seq_len" not in " ".join(conversion.assumptions)
    expected = rotary(micro(if_rope=True), dtype)
    assert_same(found, {name: array.astype(np.float32) for name, array in expected.items()})


def test_rotary_tables_of_other_positions(tmp_path: Path) -> None:
    config = micro(if_rope=True, pt_hw_seq_len=4)
    conversion, _ = convert(tmp_path, rotary(config))
    assert any(text.startswith("pt_hw_seq_len=14, though") for text in conversion.assumptions)
    conversion, _ = convert(tmp_path, rotary(config), settings={"pt_hw_seq_len": "4"})
    assert "pt_hw_seq_len" not in " ".join(conversion.assumptions)
    assert conversion.metadata.config == config


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_are_recognised(name: str) -> None:
    config, assumptions = infer_config(PUBLISHED[name].parameter_shapes(), {})
    assert config == PUBLISHED[name]
    values = [text for text in assumptions[1:] if text.startswith("use_middle_cls_token=")]
    middle = "false" if name == "tiny-rope" else "true"
    assert values == [f"use_middle_cls_token={middle}, as in the published network {name}"]
    assert all(text.endswith(f"published network {name}") for text in assumptions[1:])


def test_recognised_networks_give_way_to_settings() -> None:
    config, assumptions = infer_config(
        VIM_TINY_ROPE.parameter_shapes(), {"if_rope_residual": False}
    )
    assert config == dataclasses.replace(VIM_TINY_ROPE, if_rope_residual=False)
    assert "if_rope_residual" not in " ".join(assumptions)


def test_networks_with_another_head_are_not_recognised() -> None:
    shapes = dataclasses.replace(VIM_TINY_ROPE, num_classes=10).parameter_shapes()
    config, assumptions = infer_config(shapes, {})
    assert config.use_middle_cls_token
    assert "use_middle_cls_token=true, the default" in assumptions


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_model_tells_what_the_weights_do_not(name: str) -> None:
    fine_tuned = dataclasses.replace(PUBLISHED[name], num_classes=10)
    assert infer_config(fine_tuned.parameter_shapes(), {}, name) == (fine_tuned, [])


def test_settings_win_over_the_model() -> None:
    config = dataclasses.replace(VIM_TINY, img_size=(384, 320), if_divide_out=False)
    given = {"img_size": (384, 320), "if_divide_out": False}
    assert infer_config(config.parameter_shapes(), given, "tiny") == (config, [])


# Network of the weights, model, settings, what the message must name
@pytest.mark.parametrize(
    ("config", "model", "given", "culprit"),
    [
        (
            VIM_SMALL,
            "tiny",
            {},
            "the weights have embed_dim 384, but the network tiny has 192; leave --model out or "
            "name another",
        ),
        (VIM_TINY_ROPE, "tiny", {}, "have if_rope true, but the network tiny has false"),
        (VIM_TINY, "tiny-rope", {}, "have if_rope false, but the network tiny-rope has true"),
        (VIM_TINY, "tiny", {"embed_dim": 384}, "embed_dim is 384, but the weights say 192"),
        (PUBLISHED["tiny-stride8"], "tiny", {}, "'pos_embed' is made for 729; say others with"),
        (dataclasses.replace(VIM_TINY, img_size=(384, 384)), "tiny", {}, "--set img_size=HxW"),
    ],
)
def test_a_model_that_does_not_go(
    config: VimConfig, model: str, given: dict[str, Any], culprit: str
) -> None:
    with pytest.raises(CheckpointError, match=re.escape(culprit)):
        infer_config(config.parameter_shapes(), given, model)


def test_a_model_leaves_only_preprocessing_to_assume(tmp_path: Path) -> None:
    shapes = VIM_TINY_ROPE.parameter_shapes()
    weights = {name: np.zeros(shape, np.float16) for name, shape in shapes.items()}
    conversion, _ = convert(tmp_path, {"model": weights}, model="tiny-rope", dtype="float16")
    assert conversion.metadata.config == VIM_TINY_ROPE
    assert [text.partition("=")[0] for text in conversion.assumptions] == ["crop_pct"]


def test_nothing_is_assumed_that_is_given(tmp_path: Path) -> None:
    given = {
        "stride": "8",
        "img_size": "32",
        "use_middle_cls_token": "false",
        "if_divide_out": "FALSE",
        "if_bidirectional": "false",
        "use_fast_path": "true",
        "flip_img_sequences_ratio": "1",
        "norm_epsilon": "1e-6",
        "crop_pct": "1",
        "mean": "0.5, 0.5, 0.5",
        "std": "0.5,0.25,1",
    }
    conversion, _ = convert(tmp_path, {"model": WEIGHTS}, settings=given)
    assert conversion.assumptions == ()
    assert conversion.metadata.config == micro(
        use_middle_cls_token=False,
        if_divide_out=False,
        flip_img_sequences_ratio=1.0,
        norm_epsilon=1e-6,
    )
    assert conversion.metadata.preprocessing == Preprocessing(
        1.0, (0.5, 0.5, 0.5), (0.5, 0.25, 1.0)
    )


def test_float16(tmp_path: Path) -> None:
    conversion, found = convert(tmp_path, {"model": WEIGHTS}, dtype="float16")
    assert conversion.metadata.dtype == "float16"
    assert_same(found, {n: a.astype(np.float16).astype(np.float32) for n, a in WEIGHTS.items()})


def test_moving_average(tmp_path: Path) -> None:
    average = random_weights(MICRO, seed=1)
    _, found = convert(tmp_path, training_dump(WEIGHTS, average), use_ema=True)
    assert_same(found, average)


def test_destination_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "vim.npz").write_bytes(b"older")
    convert(tmp_path, {"model": WEIGHTS})
    assert sorted(os.listdir(tmp_path)) == ["vim.npz", "vim.pth"]


# What the number of patches tells together with what the user says: patch_size, patches, stride,
# img_size -> stride, img_size
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((16, 196, None, None), (16, (224, 224))),
        ((16, 729, None, None), (8, (224, 224))),
        ((16, 576, None, None), (16, (384, 384))),
        ((8, 729, None, None), (8, (216, 216))),
        ((16, 729, 16, None), (16, (432, 432))),
        ((16, 49, 8, None), (8, (64, 64))),
        ((16, 49, None, (64, 64)), (8, (64, 64))),
        ((16, 16, None, (70, 70)), (16, (70, 70))),  # 16 leaves a margin, but is the patch size
        ((8, 60, None, (48, 80)), (8, (48, 80))),
        ((16, 4, None, (30, 30)), (14, (30, 30))),  # 8 to 14 would do, and 14 leaves no margin
        ((16, None, None, None), (16, (224, 224))),
        ((16, None, 8, (48, 80)), (8, (48, 80))),
        (((16, 8), 56, None, None), (8, (64, 64))),
        (((8, 16), 56, None, None), (8, (64, 64))),
        (((16, 8), 6, 16, None), (16, (40, 40))),  # 2 by 3: 40 has a margin down, and 32 none
        (((16, 8), 4, 16, None), (16, (32, 32))),
        (((16, 8), 30, None, (32, 80)), (8, (32, 80))),
        (((16, 8), 42, None, (41, 41)), (5, (41, 41))),
        (((16, 8), 6, None, (48, 24)), (16, (48, 24))),
        (((16, 8), None, None, None), (8, (224, 224))),
        (((16, 8), None, 5, None), (5, (224, 224))),
    ],
)
def test_geometry(told: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    assert infer_geometry(*told) == expected


@pytest.mark.parametrize(
    ("told", "culprit"),
    [
        ((16, 60, None, None), "--set img_size=HxW"),
        ((16, 60, 8, None), "60 patches"),
        ((16, 196, 8, (224, 224)), "give 729 patches"),
        ((16, 50, None, (224, 224)), "no stride gives the 50 patches"),
        ((16, 4, None, (224, 224)), "no stride gives the 4 patches"),
        ((16, 4, None, (30, 29)), "every stride from 8 to 13 gives the 4 patches"),
        ((16, 196, 0, None), "stride is 0"),
        ((16, 196, None, (8, 8)), "at img_size=8x8"),
        (((16, 8), 57, None, None), "57 patches, which fill no square picture"),
        (((16, 8), 56, 8, (56, 64)), "give 48 patches of 16x8 pixels"),
        (((16, 8), 57, None, (64, 64)), "no stride gives the 57 patches of 16x8 pixels"),
    ],
)
def test_geometry_that_does_not_go_together(told: tuple[Any, ...], culprit: str) -> None:
    with pytest.raises(CheckpointError, match=culprit):
        infer_geometry(*told)


@given(
    patch_size=patch_sizes(1, 30),
    stride=st.integers(1, 40),
    steps=st.integers(0, 30),
    longer=st.booleans(),
    is_given=st.booleans(),
)
@settings(deadline=None)
def test_a_square_picture_is_found_that_has_as_many_patches(
    patch_size: int | tuple[int, int], stride: int, steps: int, longer: bool, is_given: bool
) -> None:
    """Where it leaves no margin one way at least."""
    height, width = patch_size if isinstance(patch_size, tuple) else (patch_size, patch_size)
    stride = stride if is_given else min(height, width)
    end = max(height, width) if longer else min(height, width)
    side = max(end + steps * stride, height, width)
    assume((side - end) % stride == 0)
    config = VimConfig(img_size=(side, side), patch_size=patch_size, stride=stride)
    given = stride if is_given else None
    assume(given or (config.patch_size, config.num_patches) not in geometry._PUBLISHED)
    found = infer_geometry(config.patch_size, config.num_patches, given, None)
    assert found[0] == stride
    assert dataclasses.replace(config, img_size=found[1]).num_patches == config.num_patches


def renamed(old: str, new: str) -> dict[str, np.ndarray]:
    return {name.replace(old, new): array for name, array in WEIGHTS.items()}


def without(part: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in WEIGHTS.items() if part not in name}


def pick(weights: Mapping[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in weights.items() if part in name}


def plus(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The sound weights with some added or replaced; a double underscore stands for a dot."""
    arrays = {name.replace("__", "."): np.ones(s, np.float32) for name, s in shapes.items()}
    return WEIGHTS | arrays


# Name of the network, its state dict, what the message must name
OTHER_NETWORKS: list[tuple[str, dict[str, np.ndarray], str]] = [
    ("ViT", without("layers") | {"blocks.0.attn.qkv": WEIGHTS["pos_embed"]}, "'blocks.0.attn.qkv'"),
    ("attention", renamed("mixer", "attn"), "'layers.0.attn.in_proj.weight'"),
    (
        "two backbones",
        {f"{prefix}backbone.{name}": a for prefix in ("", "net.") for name, a in WEIGHTS.items()},
        "it holds several backbones, before whose names stand 'backbone.', 'net.backbone.'",
    ),
    (
        "a part of a parallel one",
        renamed("layers.", "module.layers."),
        "it has 'module.layers.0.mixer.in_proj.weight'",
    ),
    (
        "a head beside it",
        WEIGHTS | {"decode_head.bias": WEIGHTS["head.bias"]},
        "'decode_head.bias'",
    ),
    (
        "a language model",
        {f"backbone.{name}": a for name, a in without("patch_embed").items()},
        "no Vision Mamba: it has 'backbone.cls_token'",
    ),
    ("cos only", plus(rope__freqs_cos=(16, 16)), "1 missing ('rope.freqs_sin')"),
    ("sin only", plus(rope__freqs_sin=(16, 16)), "if_rope: 1 missing ('rope.freqs_cos')"),
    ("other rope", plus(rope__freqs=(16, 16)), "1 not part of a Vision Mamba ('rope.freqs')"),
    (
        "narrow tables",
        plus(rope__freqs_cos=(16, 8), rope__freqs_sin=(16, 8)),
        "'rope.freqs_cos' has (16, 8), expected (16, 16)",
    ),
    (
        "short tables",
        plus(rope__freqs_cos=(15, 16), rope__freqs_sin=(15, 16)),
        "'rope.freqs_cos' has (15, 16), expected (16, 16)",
    ),
    (
        "uneven tables",
        without("pos_embed")
        | pick(plus(rope__freqs_cos=(15, 16), rope__freqs_sin=(15, 16)), "rope"),
        "'rope.freqs_cos' is made for 15 patches, which fill no square picture",
    ),
    (
        "empty tables",
        without("pos_embed") | pick(plus(rope__freqs_cos=(0, 16), rope__freqs_sin=(0, 16)), "rope"),
        "'rope.freqs_cos' has the shape (0, 16)",
    ),
    ("gamma in one layer", plus(layers__0__mixer__gamma=(16,)), "1 missing ('layers.1.mixer.gamma"),
    ("gamma for each", plus(layers__0__mixer__gamma=(1,), layers__1__mixer__gamma=(1,)), "gamma'"),
    ("first of two tokens", renamed("cls_token", "cls_token_head"), "1 missing ('cls_token_tail')"),
    ("last of two tokens", renamed("cls_token", "cls_token_tail"), "1 missing ('cls_token_head')"),
    (
        "three tokens",
        plus(cls_token_head=(1, 1, 16), cls_token_tail=(1, 1, 16), pos_embed=(1, 19, 16)),
        "1 not part of a Vision Mamba ('cls_token')",
    ),
    (
        "two tokens with rope",
        random_weights(micro(use_double_cls_token=True))
        | pick(plus(rope__freqs_cos=(16, 16), rope__freqs_sin=(16, 16)), "rope"),
        "use_double_cls_token is true in a network with if_rope",
    ),
    ("v2 without A_b", without("A_b_log"), "bimamba_type v2: 2 missing ('layers.0.mixer.A_b_log'"),
    ("v2 without conv1d_b", without("conv1d_b"), "4 missing ('layers.0.mixer.conv1d_b.bias'"),
    (
        "v2 without x_proj_b",
        without("1.mixer.x_proj_b"),
        "1 missing ('layers.1.mixer.x_proj_b.weig",
    ),
    (
        "v1 in one layer",
        pick(WEIGHTS, "0.mixer.A_b_log") | without("_b"),
        "layers.1.mixer.A_b_log'",
    ),
    ("many channels", plus(patch_embed__proj__weight=(16, 65, 8, 8)), "channels is 65"),
    ("no channels", plus(patch_embed__proj__weight=(16, 0, 8, 8)), "(16, 0, 8, 8)"),
    (
        "oblong patches of squares' positions",
        plus(patch_embed__proj__weight=(16, 3, 8, 4)),
        "'pos_embed' is made for 16 patches, which fill no square picture",
    ),
    ("linear patches", plus(patch_embed__proj__weight=(16, 192)), "(16, 192)"),
    ("no head", without("head.weight"), "'head.weight' is missing"),
    ("half a head", without("head.bias"), "1 missing ('head.bias')"),
    ("empty head", plus(head__weight=(0, 16)), "(0, 16)"),
    ("uneven width", plus(layers__0__mixer__conv1d__weight=(33, 1, 4)), "expected (66, 16)"),
    ("wide mixers", plus(layers__0__mixer__conv1d__weight=(1025, 1, 4)), "expand is 64.1"),
    ("token only", plus(pos_embed=(1, 1, 16)), "'pos_embed'"),
    ("one bias", plus(layers__0__mixer__in_proj__bias=(64,)), "3 missing ('layers.0.mixer.out_p"),
    ("a convolution's bias", without("0.mixer.conv1d.bias"), "1 missing ('layers.0.mixer.conv1d.b"),
    ("layer missing", without("layers.0.norm"), "1 missing ('layers.0.norm.weight')"),
    ("gap", renamed("layers.1.", "layers.3."), "missing ('layers.1."),
    ("far layer", plus(layers__99999__norm__weight=(16,)), "depth is 100000"),
    ("odd shape", plus(layers__1__mixer__D=(31,)), "'layers.1.mixer.D' has (31,), expected (32,)"),
    ("no patch bias", without("patch_embed.proj.bias"), "'patch_embed.proj.bias'"),
    ("empty", {}, "nothing"),
]


@pytest.mark.parametrize(
    ("name", "weights", "culprit"), OTHER_NETWORKS, ids=[row[0] for row in OTHER_NETWORKS]
)
def test_other_network(
    name: str, weights: dict[str, np.ndarray], culprit: str, tmp_path: Path
) -> None:
    save(tmp_path / "other.pth", {"model": weights} if weights else {})
    with pytest.raises(CheckpointError) as caught:
        convert_checkpoint(tmp_path / "other.pth", tmp_path / "other.npz")
    assert culprit in str(caught.value)
    assert os.listdir(tmp_path) == ["other.pth"]


def before(prefix: str) -> dict[str, np.ndarray]:
    return {f"{prefix}{name}": array for name, array in WEIGHTS.items()}


PREFIXES = [
    "module.",
    "_orig_mod.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "backbone.",
    "backbone.net.",
    "backbone._orig_mod.net.",
    "module.backbone.",
    "_orig_mod.module.backbone.net._orig_mod.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_stands_before_all_names_is_left_out(prefix: str, tmp_path: Path) -> None:
    """``torch.compile``, ``DistributedDataParallel``, detectors and segmenters put it there."""
    conversion, found = convert(tmp_path, {"model": before(prefix)})
    assert_same(found, WEIGHTS)
    assert conversion.metadata.config == MICRO
    assert not any("left out" in assumption for assumption in conversion.assumptions)


@pytest.mark.parametrize("prefix", [name for name in PREFIXES if "backbone" in name])
def test_what_a_detector_has_beside_its_backbone_is_left_out(prefix: str, tmp_path: Path) -> None:
    others = {
        "decode_head.conv_seg.weight": np.ones((3, 16, 1, 1), np.float32),
        "neck.bn.num_batches_tracked": np.array(7, np.int64),  # no floats, which nobody reads
        f"{prefix.partition('backbone.')[0]}head.weight": np.ones((2, 2), np.float32),
        "layers.0.weight": np.ones(3, np.float32),
    }
    conversion, found = convert(tmp_path, {"state_dict": others | before(prefix), "meta": {}})
    assert_same(found, WEIGHTS)
    assert conversion.assumptions[-1] == (
        "4 tensors can be left out, as no part of the network: 'decode_head.conv_seg.weight', "
        f"'neck.bn.num_batches_tracked', {next(n for n in [*others][2:])!r} and 1 more"
    )


def of_segmenter(prefix: str) -> dict[str, np.ndarray]:
    """A backbone as the original's segmentation has it: no class token, no head, and its own parts.

    ``seg/backbone/vim.py`` of hustvl/Vim deletes the token and the position's row.
    """
    config = micro(if_cls_token=False, num_classes=0)
    own = {
        "fpn1.0.weight": np.ones((16, 16, 2, 2), np.float32),
        "fpn1.1.num_batches_tracked": np.array(7, np.int64),  # no floats, which nobody reads
        "fpn2.0.bias": np.ones(16, np.float32),
    }
    return {f"{prefix}{name}": array for name, array in (random_weights(config) | own).items()}


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone."])
def test_the_backbone_of_a_segmenter(prefix: str, tmp_path: Path) -> None:
    config = micro(if_cls_token=False, num_classes=0)
    conversion, found = convert(tmp_path, {"state_dict": of_segmenter(prefix), "meta": {}})
    assert conversion.metadata.config == config
    assert_same(found, random_weights(config))
    assert NO_HEAD in conversion.assumptions
    names = [f"{prefix}{name}" for name in ("fpn1.0.weight", "fpn1.1.num_batches_tracked")]
    if prefix == "module.backbone.":
        names = [name.removeprefix("module.") for name in names]
    assert conversion.assumptions[-1].startswith(
        f"3 tensors can be left out, as no part of the network: {names[0]!r}, {names[1]!r}"
    )


@pytest.mark.parametrize("prefix", [name for name in PREFIXES if "backbone" in name])
def test_a_backbone_has_no_head(prefix: str, tmp_path: Path) -> None:
    config = micro(num_classes=0)
    weights = {f"{prefix}{name}": array for name, array in random_weights(config).items()}
    others = {"roi_heads.box_predictor.cls_score.weight": np.ones((3, 16), np.float32)}
    conversion, found = convert(tmp_path, {"model": others | weights})
    assert conversion.metadata.config == config
    assert_same(found, random_weights(config))
    assert NO_HEAD in conversion.assumptions


@pytest.mark.parametrize("changes", [{}, {"rms_norm": False}], ids=["RMS", "layer"])
def test_the_backbone_of_a_detector(changes: dict[str, Any], tmp_path: Path) -> None:
    """The original deletes the last norm and the head, and reads what the last layer gives."""
    config = micro(if_cls_token=False, num_classes=0, **changes)
    weights = random_weights(config)
    there = {f"backbone.net.{name}": a for name, a in weights.items() if "norm_f" not in name}
    others = {"backbone.simfp_2.0.weight": np.ones((16, 8, 2, 2), np.float32)}
    conversion, found = convert(tmp_path, {"model": there | others})
    assert conversion.metadata.config == config
    made = {"norm_f.weight": np.ones(16, np.float32)}
    if changes:
        made["norm_f.bias"] = np.zeros(16, np.float32)
    assert_same(found, weights | made)
    assert NO_HEAD in conversion.assumptions
    assert (
        "a last norm that multiplies by 1, as there is no 'norm_f.weight': what a detector reads "
        "is before it, model.intermediate_features(...)"
    ) in conversion.assumptions
    assert "'backbone.simfp_2.0.weight'" in conversion.assumptions[-1]


def test_a_last_norm_is_made_for_backbones_alone(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"1 missing \('norm_f.weight'\)"):
        convert(tmp_path, {"model": without("norm_f")})


def test_a_backbone_of_a_published_network_has_its_options() -> None:
    config = dataclasses.replace(VIM_TINY_ROPE, num_classes=0)
    assert infer_config(config.parameter_shapes(), {}, "tiny-rope") == (config, [NO_HEAD])


def test_labels_for_a_network_without_a_head_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\n")
    weights = random_weights(micro(num_classes=0))
    with pytest.raises(CheckpointError, match=r"labels\.txt: labels for a network without classes"):
        convert(tmp_path, {"model": weights}, labels=tmp_path / "labels.txt")
    assert sorted(os.listdir(tmp_path)) == ["labels.txt", "vim.pth"]


def test_a_name_made_of_prefixes_takes_no_time(tmp_path: Path) -> None:
    """A state dict may be hostile."""
    names = ["module." * 80_000, "backbone.net." * 30_000, "backbone." * 40_000 + "layers."]
    weights = {f"{name}{end}": WEIGHTS["head.bias"] for name in names for end in "ab"}
    save(tmp_path / "long.pth", {"model": weights})
    with pytest.raises(CheckpointError, match="no Vision Mamba"):
        convert_checkpoint(tmp_path / "long.pth", tmp_path / "long.npz")
    save(
        tmp_path / "long.pth",
        {"model": {f"{names[0]}{end}": weights[f"{names[0]}a"] for end in "ab"}},
    )
    with pytest.raises(CheckpointError, match="no Vision Mamba: it has 'a', 'b'"):
        convert_checkpoint(tmp_path / "long.pth", tmp_path / "long.npz")


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        ({"settings": {"strides": "8"}}, "unknown setting 'strides'; expected one of img_size,"),
        ({"settings": {"stride": "eight"}}, "the setting stride is 'eight'; expected a whole"),
        ({"settings": {"stride": "-8"}}, "expected a whole number"),
        ({"settings": {"img_size": "32*32"}}, "HEIGHTxWIDTH"),
        ({"settings": {"if_divide_out": "yes"}}, "expected true or false"),
        ({"settings": {"norm_epsilon": "small"}}, "expected a number"),
        ({"settings": {"norm_epsilon": "nan"}}, "norm_epsilon is nan"),
        ({"settings": {"mean": "0.5"}}, "the setting mean is 0.5; expected 3 numbers"),
        ({"settings": {"mean": "1,,1"}}, "expected numbers with commas between them"),
        ({"settings": {"std": "1,1,1,1"}}, "expected 3 numbers with commas between them"),
        ({"settings": {"patch_size": "16x8"}}, "patch_size is 16x8, but the weights say 8"),
        ({"settings": {"patch_size": "8x"}}, "the setting patch_size is '8x'; expected one number"),
        ({"settings": {"expand": "1.5"}}, "expand is 1.5, but the weights say 2"),
        ({"settings": {"expand": "nan"}}, "expand is nan, but the weights say 2"),
        ({"settings": {"num_classes": "0"}}, "num_classes is 0, but the weights say 5"),
        ({"settings": {"channels": "1"}}, "channels is 1, but the weights say 3"),
        ({"settings": {"bias": "true"}}, "bias is true, but the weights say false"),
        ({"settings": {"std": "1,0,1"}}, "std is (1.0, 0.0, 1.0)"),
        ({"settings": {"crop_pct": "87.5"}}, "crop_pct is 87.5"),
        ({"settings": {"final_pool_type": "max"}}, "final_pool_type is 'max'"),
        ({"settings": {"final_pool_type": "median"}}, "final_pool_type is 'median'"),
        ({"settings": {"bimamba_type": "v1"}}, "bimamba_type is v1, but the weights say v2"),
        ({"settings": {"if_rope": "true"}}, "if_rope is true, but the weights say false"),
        ({"settings": {"use_double_cls_token": "1"}}, "use_double_cls_token is true, but the weig"),
        ({"settings": {"if_layer_scale": "1"}}, "if_layer_scale is true, but the weights say fal"),
        ({"model": "large"}, "there is no model 'large'; expected one of tiny, small, base"),
        ({"model": "tiny"}, "the weights have embed_dim 16, but the network tiny has 192"),
        ({"settings": {"embed_dim": "192"}}, "embed_dim is 192, but the weights say 16"),
        ({"settings": {"rms_norm": "false"}}, "rms_norm is false, but the weights say true"),
        ({"settings": {"img_size": "224"}}, "no stride gives the 16 patches"),
        ({"dtype": "int4"}, "dtype is 'int4'"),
        ({"use_ema": True}, "it holds 'model'; expected 'model_ema'"),
        ({"labels": "nowhere.txt"}, "nowhere.txt: the labels cannot be read: No such file"),
    ],
)
def test_options_that_do_not_go(options: dict[str, Any], culprit: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        convert(tmp_path, {"model": WEIGHTS}, **options)
    assert culprit in str(caught.value)
    assert os.listdir(tmp_path) == ["vim.pth"]


def test_too_large_for_float16(tmp_path: Path) -> None:
    large = WEIGHTS | {"head.bias": np.full(5, 1e6, np.float32)}
    with pytest.raises(CheckpointError, match=r"head\.bias: .*1e\+06.*float32 has the wider range"):
        convert(tmp_path, {"model": large}, dtype="float16")
    assert os.listdir(tmp_path) == ["vim.pth"]


@needs_links
@pytest.mark.parametrize(
    ("destination", "culprit"),
    [
        ("vim.pth", "is the destination as well"),
        ("link.pth", "is the destination as well"),
        ("nowhere/vim.npz", "cannot be written: No such file or directory"),
        ("folder", "cannot be written: Is a directory; expected the name of a file"),
        (".", "cannot be written: Is a directory; expected the name of a file"),
        ("zero\0.npz", "cannot be written"),
    ],
)
def test_destinations_that_do_not_go(destination: str, culprit: str, tmp_path: Path) -> None:
    source = tmp_path / "vim.pth"
    save(source, {"model": WEIGHTS})
    (tmp_path / "link.pth").symlink_to(source)
    (tmp_path / "folder").mkdir()
    before = source.read_bytes()
    with pytest.raises(CheckpointError, match=culprit):
        convert_checkpoint(source, tmp_path / destination)
    assert source.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["folder", "link.pth", "vim.pth"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_device_stays_a_device_and_the_size_is_what_it_was_given(tmp_path: Path) -> None:
    conversion, _ = convert(tmp_path, {"model": WEIGHTS})
    assert conversion.size == (tmp_path / "vim.npz").stat().st_size
    (tmp_path / "null").symlink_to(os.devnull)
    assert convert_checkpoint(tmp_path / "vim.pth", tmp_path / "null").size == conversion.size
    assert (tmp_path / "null").is_symlink()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_memory_of_a_small_network(tmp_path: Path) -> None:
    source = tmp_path / "small.pth"
    save(source, {"model": random_weights(VIM_SMALL)})
    code = "import sys; from vimnp.convert import convert_checkpoint as c; c(*sys.argv[1:])"
    assert peak_memory(code, source, tmp_path / "small.npz") < 3 * source.stat().st_size


@pytest.mark.parametrize(
    "text",
    [
        "cat\ndog\nbird\n",
        "\ufeffcat\r\ndog\r\nbird",
        "cat\ndog\nbird\n\n \n\n",
        '["cat", "dog", "bird"]',
        '{"0": "cat", "2": "bird", "1": "dog"}',
        '{"0": ["n01", "cat"], "1": ["n02", "dog"], "2": ["n03", "bird"]}',
    ],
)
def test_labels(text: str, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text(text, encoding="utf-8", newline="")
    assert read_labels(tmp_path / "labels", 3) == ("cat", "dog", "bird")


@pytest.mark.parametrize(
    ("data", "culprit"),
    [
        (b"cat\ndog\n", "holds 2 labels, but the network has 3 classes"),
        (b'["cat"]', "holds 1 labels"),
        (b"cat\n\nbird\n", "line 2 is empty; expected a label on every line"),
        (b"cat\n \t\r\nbird", "line 2 is empty"),
        (b"\ncat\ndog\nbird\n", "line 1 is empty"),
        (b"", "line 1 is empty"),
        (b"\xff\xfe", "utf-8"),
        (b"{0: 'cat'}", "not labels as JSON"),
        (b'{"1": "cat", "2": "dog", "3": "bird"}', "no label for class 0"),
        (b'["cat", "dog", 3]', "class 2 is no text"),
        (b"[" * 100_000, "not labels as JSON .nested more than 64 deep"),
        (b"[" * 99 + b"]" * 99, "not labels as JSON .nested more than 64 deep"),
    ],
)
def test_labels_that_do_not_go(data: bytes, culprit: str, tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(data)
    with pytest.raises(CheckpointError, match=culprit) as caught:
        read_labels(tmp_path / "labels", 3)
    assert str(tmp_path / "labels") in str(caught.value)


def test_labels_are_read_from_regular_files_only(irregular: tuple[Path, str]) -> None:
    path, words = irregular
    with pytest.raises(CheckpointError, match=words):
        read_labels(path, 3)


def test_labels_are_written(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(["a", "b", "ç", "d", "e"]))
    conversion, _ = convert(tmp_path, {"model": WEIGHTS}, labels=tmp_path / "labels.json")
    assert conversion.metadata.labels == ("a", "b", "ç", "d", "e")


def test_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, vimnp.convert; assert not {'torch', 'scipy', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@pytest.mark.parametrize("case", golden_cases.NETWORKS)
def test_golden_checkpoint(case: str, golden: Path, tmp_path: Path) -> None:
    source, destination = golden / f"{case}.pth", tmp_path / "vim.npz"
    conversion = convert_checkpoint(source, destination, settings=golden_cases.NETWORKS[case])
    assert conversion.metadata.config == golden_cases.original_config(golden, case)
    if case == "vim_tiny_patch16_224":
        assert conversion.parameters == 7_148_008
        assert conversion.metadata.config == VIM_TINY


@pytest.mark.parametrize(
    ("case", "use_ema"),
    [*((case, False) for case in golden_cases.NETWORKS), ("micro_training_checkpoint", True)],
)
def test_golden_tensors_are_those_of_torch(
    case: str, use_ema: bool, golden: Path, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    content = torch.load(golden / f"{case}.pth", weights_only=False)
    destination = tmp_path / "vim.npz"
    settings = golden_cases.NETWORKS[case]
    convert_checkpoint(golden / f"{case}.pth", destination, settings=settings, use_ema=use_ema)
    with WeightsFile(destination) as file:
        found = {name: file.read(name) for name in file.metadata.config.parameter_shapes()}
    expected = content["model_ema" if use_ema else "model"]
    assert_same(found, {name: tensor.numpy() for name, tensor in expected.items()})
