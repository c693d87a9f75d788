"""VimConfig: defaults, derived sizes, the tensors it implies, and every value it refuses."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.configurations import configurations, patch_sizes
from vimnp.config import BIMAMBA_TYPES, PUBLISHED, VIM_BASE, VIM_SMALL, VIM_TINY, VimConfig
from vimnp.errors import ConfigError, VimnpError

COUNTS = {
    "channels": 64,
    "patch_size": 1024,
    "stride": 1024,
    "depth": 512,
    "embed_dim": 16384,
    "d_state": 256,
    "d_conv": 64,
    "dt_rank": 16384,
    "pt_hw_seq_len": 16384,
}
FLAGS = (
    "rms_norm",
    "if_abs_pos_embed",
    "if_cls_token",
    "use_double_cls_token",
    "use_middle_cls_token",
    "if_divide_out",
    "if_bidirectional",
    "if_rope",
    "if_rope_residual",
    "if_layer_scale",
    "conv_bias",
    "bias",
    "use_fast_path",
)
NO_EXPANDS = (0, -1, 65, 0.0, math.nan, math.inf, "2", True, None, [2])
NO_PATCHES = ((16,), [16, 16, 16], (0, 16), (16, 1025), (16.0, 16), "ab", (True, 16))
NO_TOKEN = {"if_cls_token": False}
FIRST_TOKEN = {"use_middle_cls_token": False}
DOUBLE_TOKEN = {"use_double_cls_token": True}


def test_the_defaults_are_vim_tiny() -> None:
    config = VimConfig()
    assert config == VIM_TINY
    assert config.num_parameters == 7_148_008
    assert (config.d_inner, config.dt_rank) == (384, 12)
    assert (config.grid_size, config.num_patches, config.num_tokens) == ((14, 14), 196, 197)
    assert config.class_tokens == {"cls_token": 98}


def test_the_larger_variants_differ_in_width_alone() -> None:
    for config, embed_dim in ((VIM_SMALL, 384), (VIM_BASE, 768)):
        assert {**config.to_dict(), "embed_dim": 192, "dt_rank": 12} == VIM_TINY.to_dict()
        assert config.embed_dim == embed_dim
        assert config.dt_rank == embed_dim // 16


def test_the_published_networks() -> None:
    widths = {name: config.embed_dim for name, config in PUBLISHED.items()}
    assert widths == {
        "tiny": 192,
        "small": 384,
        "base": 768,
        "tiny-stride8": 192,
        "small-stride8": 384,
        "tiny-rope": 192,
    }
    for name, config in PUBLISHED.items():
        tokens, middle = (730, 364) if name.endswith("stride8") else (197, 98)
        assert config.num_tokens == tokens, name
        assert config.class_tokens == {"cls_token": 0 if name == "tiny-rope" else middle}, name
        assert (config.depth, config.d_state, config.bimamba_type) == (24, 16, "v2"), name
        assert config.if_rope == config.if_rope_residual == (name == "tiny-rope"), name
        assert config.if_divide_out == (name != "tiny-rope"), name


def test_the_sizes_of_the_published_networks() -> None:
    assert PUBLISHED["tiny"].num_parameters == 7_148_008
    # The finer grid has a position embedding for each of 533 more patches.
    assert PUBLISHED["tiny-stride8"].num_parameters == 7_148_008 + 533 * 192
    # The rotary network has the same weights as tiny; its tables are computed, not learned.
    assert PUBLISHED["tiny-rope"].num_parameters == 7_148_008
    shapes = PUBLISHED["tiny-rope"].parameter_shapes()
    assert shapes["rope.freqs_cos"] == shapes["rope.freqs_sin"] == (196, 192)


@pytest.mark.parametrize(
    ("embed_dim", "expected"), [(1, 1), (16, 1), (17, 2), (40, 3), (192, 12), (200, 13)]
)
def test_dt_rank_is_a_sixteenth_of_embed_dim_rounded_up(embed_dim: int, expected: int) -> None:
    assert VimConfig(embed_dim=embed_dim).dt_rank == expected
    assert VimConfig(embed_dim=embed_dim, dt_rank=5).dt_rank == 5


@pytest.mark.parametrize(
    ("img_size", "patch_size", "stride", "grid"),
    [
        ((224, 224), 16, 16, (14, 14)),
        ((224, 224), 16, 8, (27, 27)),
        ((64, 64), 16, 8, (7, 7)),
        ((48, 80), 8, 8, (6, 10)),
        ((80, 48), 8, 4, (19, 11)),
        ((16, 16), 16, 16, (1, 1)),
        ((31, 32), 16, 16, (1, 2)),  # what does not fill a patch is not looked at
        ((20, 20), 3, 7, (3, 3)),  # gaps between the patches
        ((8, 8), 8, 1024, (1, 1)),
    ],
)
def test_the_grid_of_patches(
    img_size: tuple[int, int], patch_size: int, stride: int, grid: tuple[int, int]
) -> None:
    config = VimConfig(img_size=img_size, patch_size=patch_size, stride=stride)
    assert config.grid_size == grid
    assert config.num_patches == grid[0] * grid[1]


@pytest.mark.parametrize(
    ("changes", "patches", "tokens", "positions"),
    [
        ({}, 196, 197, {"cls_token": 98}),
        (FIRST_TOKEN, 196, 197, {"cls_token": 0}),
        (NO_TOKEN, 196, 196, {}),
        (NO_TOKEN | FIRST_TOKEN, 196, 196, {}),
        (NO_TOKEN | DOUBLE_TOKEN, 196, 196, {}),
        (DOUBLE_TOKEN, 196, 198, {"cls_token_head": 0, "cls_token_tail": 197}),
        (DOUBLE_TOKEN | FIRST_TOKEN, 196, 198, {"cls_token_head": 0, "cls_token_tail": 197}),
        # An odd number of patches: half, rounded down.
        ({"stride": 8}, 729, 730, {"cls_token": 364}),
        ({"img_size": (16, 16)}, 1, 2, {"cls_token": 0}),
        ({"img_size": (16, 32)}, 2, 3, {"cls_token": 1}),
        (
            {"img_size": (16, 16)} | DOUBLE_TOKEN,
            1,
            3,
            {"cls_token_head": 0, "cls_token_tail": 2},
        ),
    ],
)
def test_where_the_class_tokens_stand(
    changes: dict[str, Any], patches: int, tokens: int, positions: dict[str, int]
) -> None:
    config = VimConfig(**changes)
    assert (config.num_patches, config.num_tokens) == (patches, tokens)
    assert list(config.class_tokens.items()) == list(positions.items())  # in the order they stand


@pytest.mark.parametrize(
    ("changes", "pooled", "every_token"),
    [
        ({}, (98,), False),
        ({"final_pool_type": "none"}, (98,), False),
        ({"final_pool_type": "all"}, (98,), False),  # the head reads the class token all the same
        (FIRST_TOKEN, (0,), False),
        (DOUBLE_TOKEN, (0, 197), False),
        (NO_TOKEN, None, False),
        (NO_TOKEN | {"final_pool_type": "none"}, (195,), False),
        (NO_TOKEN | {"final_pool_type": "max"}, None, True),
        (NO_TOKEN | {"final_pool_type": "all"}, None, True),
        (NO_TOKEN | DOUBLE_TOKEN, None, False),
    ],
)
def test_what_the_head_reads(
    changes: dict[str, Any], pooled: tuple[int, ...] | None, every_token: bool
) -> None:
    config = VimConfig(**changes)
    assert config.pooled_tokens == pooled
    assert config.reads_every_token == every_token


@pytest.mark.parametrize(
    ("bimamba_type", "directions", "suffixes", "halves"),
    [("none", 1, ("",), False), ("v1", 2, ("",), False), ("v2", 2, ("", "_b"), True)],
)
def test_directions(
    bimamba_type: str, directions: int, suffixes: tuple[str, ...], halves: bool
) -> None:
    config = VimConfig(bimamba_type=bimamba_type)
    assert config.num_directions == directions
    assert config.direction_suffixes == suffixes
    assert config.halves_directions == halves
    assert not VimConfig(bimamba_type=bimamba_type, if_divide_out=False).halves_directions


@pytest.mark.parametrize("bimamba_type", BIMAMBA_TYPES)
def test_the_slow_path_reads_forward_and_halves_nothing(bimamba_type: str) -> None:
    config = VimConfig(bimamba_type=bimamba_type, use_fast_path=False)
    assert config.num_directions == 1
    assert config.direction_suffixes == ("",)
    assert not config.halves_directions
    # The backward direction's parameters are in the weights all the same.
    assert config.parameter_shapes() == VimConfig(bimamba_type=bimamba_type).parameter_shapes()


@pytest.mark.parametrize("changes", [{}, FIRST_TOKEN, DOUBLE_TOKEN])
def test_a_reversed_sequence_is_read_where_the_class_token_stood(changes: dict[str, Any]) -> None:
    config = VimConfig(flip_img_sequences_ratio=1, **changes)
    assert config.flips_sequence
    assert not VimConfig(**changes).flips_sequence
    assert config.pooled_tokens == VimConfig(**changes).pooled_tokens


@pytest.mark.parametrize("ratio", [0.5, -1, 2, math.nan, True, False, "1", None])
def test_sequences_that_are_reversed_by_chance_are_refused(ratio: Any) -> None:
    with pytest.raises(ConfigError, match=f"flip_img_sequences_ratio is {ratio!r}; expected 0 or"):
        VimConfig(flip_img_sequences_ratio=ratio)


@pytest.mark.parametrize(
    ("depth", "one_by_one", "in_pairs"), [(2, 2, 2), (3, 3, 2), (24, 24, 24), (25, 25, 24)]
)
def test_layers_that_run(depth: int, one_by_one: int, in_pairs: int) -> None:
    assert VimConfig(depth=depth).num_active_layers == one_by_one
    assert VimConfig(depth=depth, if_bidirectional=True).num_active_layers == in_pairs


SMALL = {
    "img_size": (8, 12),
    "patch_size": 4,
    "stride": 4,
    "depth": 1,
    "embed_dim": 10,
    "d_state": 3,
    "d_conv": 2,
    "expand": 3,
    "dt_rank": 7,
    "num_classes": 9,
}


def test_every_tensor_of_a_network_with_its_shape() -> None:
    assert VimConfig(**SMALL).parameter_shapes() == {
        "cls_token": (1, 1, 10),
        "pos_embed": (1, 7, 10),
        "patch_embed.proj.weight": (10, 3, 4, 4),
        "patch_embed.proj.bias": (10,),
        "layers.0.mixer.in_proj.weight": (60, 10),
        "layers.0.mixer.conv1d.weight": (30, 1, 2),
        "layers.0.mixer.conv1d.bias": (30,),
        "layers.0.mixer.x_proj.weight": (13, 30),
        "layers.0.mixer.dt_proj.weight": (30, 7),
        "layers.0.mixer.dt_proj.bias": (30,),
        "layers.0.mixer.A_log": (30, 3),
        "layers.0.mixer.D": (30,),
        "layers.0.mixer.conv1d_b.weight": (30, 1, 2),
        "layers.0.mixer.conv1d_b.bias": (30,),
        "layers.0.mixer.x_proj_b.weight": (13, 30),
        "layers.0.mixer.dt_proj_b.weight": (30, 7),
        "layers.0.mixer.dt_proj_b.bias": (30,),
        "layers.0.mixer.A_b_log": (30, 3),
        "layers.0.mixer.D_b": (30,),
        "layers.0.mixer.out_proj.weight": (10, 30),
        "layers.0.norm.weight": (10,),
        "norm_f.weight": (10,),
        "head.weight": (9, 10),
        "head.bias": (9,),
    }


ROPE_SMALL = SMALL | {"embed_dim": 12}  # which goes into four parts
OF_BACKWARD = {
    "layers.0.mixer.conv1d_b.weight",
    "layers.0.mixer.conv1d_b.bias",
    "layers.0.mixer.x_proj_b.weight",
    "layers.0.mixer.dt_proj_b.weight",
    "layers.0.mixer.dt_proj_b.bias",
    "layers.0.mixer.A_b_log",
    "layers.0.mixer.D_b",
}
A_BACKWARD = "layers.0.mixer.A_b_log"


@pytest.mark.parametrize(
    ("changes", "gone", "come"),
    [
        ({"if_cls_token": False}, {"cls_token"}, {}),
        ({"if_abs_pos_embed": False}, {"pos_embed"}, {}),
        ({"rms_norm": False}, set(), {"layers.0.norm.bias": (12,), "norm_f.bias": (12,)}),
        ({"if_divide_out": False, "final_pool_type": "none"}, set(), {}),
        ({"use_middle_cls_token": False}, set(), {}),
        ({"if_cls_token": False, "use_double_cls_token": True}, {"cls_token"}, {}),
        (
            {"use_double_cls_token": True},
            {"cls_token"},
            {"cls_token_head": (1, 1, 12), "cls_token_tail": (1, 1, 12)},
        ),
        ({"if_cls_token": False, "final_pool_type": "max"}, {"cls_token"}, {}),
        ({"if_cls_token": False, "final_pool_type": "all"}, {"cls_token"}, {}),
        ({"bimamba_type": "none"}, OF_BACKWARD, {}),
        ({"bimamba_type": "v1"}, OF_BACKWARD - {A_BACKWARD}, {}),
        ({"if_rope": True}, set(), {"rope.freqs_cos": (6, 12), "rope.freqs_sin": (6, 12)}),
        ({"if_rope_residual": True, "pt_hw_seq_len": 3}, set(), {}),
        ({"if_layer_scale": True}, set(), {"layers.0.mixer.gamma": (12,)}),
        (
            {"if_layer_scale": True, "bimamba_type": "none"},
            OF_BACKWARD,
            {"layers.0.mixer.gamma": (12,)},
        ),
        ({"num_classes": 0}, {"head.weight", "head.bias"}, {}),
        ({"norm_epsilon": 0.0}, set(), {}),
        (
            {"conv_bias": False},
            {"layers.0.mixer.conv1d.bias", "layers.0.mixer.conv1d_b.bias"},
            {},
        ),
        (
            {"bias": True},
            set(),
            {"layers.0.mixer.in_proj.bias": (72,), "layers.0.mixer.out_proj.bias": (12,)},
        ),
        ({"channels": 4}, set(), {"patch_embed.proj.weight": (12, 4, 4, 4)}),
        (
            {"patch_size": (2, 4), "stride": 4},
            set(),
            {"patch_embed.proj.weight": (12, 3, 2, 4)},
        ),
    ],
)
def test_tensors_that_depend_on_a_setting(
    changes: dict[str, Any], gone: set[str], come: dict[str, tuple[int, ...]]
) -> None:
    before = VimConfig(**ROPE_SMALL).parameter_shapes()
    config = VimConfig(**ROPE_SMALL | changes)
    expected = {name: shape for name, shape in before.items() if name not in gone} | come
    if config.if_abs_pos_embed:
        expected["pos_embed"] = (1, config.num_tokens, 12)
    assert config.parameter_shapes() == expected
    weights = [math.prod(shape) for name, shape in expected.items() if "rope" not in name]
    assert config.num_parameters == sum(weights)


def test_an_idle_layer_has_its_tensors() -> None:
    """It is in the checkpoint, and ``num_parameters`` counts what that holds."""
    layers = SMALL | {"depth": 3}
    in_pairs, one_by_one = VimConfig(**layers, if_bidirectional=True), VimConfig(**layers)
    assert in_pairs.parameter_shapes() == one_by_one.parameter_shapes()


def test_the_second_matrix_of_v1_is_as_large_as_the_first() -> None:
    shapes = VimConfig(**SMALL, bimamba_type="v1").parameter_shapes()
    assert shapes[A_BACKWARD] == shapes["layers.0.mixer.A_log"] == (30, 3)


WRONG_VALUES: list[tuple[str, Any, str]] = [
    *((name, 0, "from 1 to") for name in COUNTS),
    *((name, -1, "from 1 to") for name in COUNTS),
    *((name, limit + 1, str(limit)) for name, limit in COUNTS.items()),
    *((name, 2.0, "whole number") for name in COUNTS),
    *((name, "2", "'2'") for name in COUNTS),
    *((name, True, "True") for name in COUNTS),
    *((name, None, "None") for name in COUNTS if name != "dt_rank"),
    *((name, 1, "true or false") for name in FLAGS),
    *((name, None, "true or false") for name in FLAGS),
    *((name, "true", "'true'") for name in FLAGS),
    *(("expand", value, "a number up to 64 by which") for value in NO_EXPANDS),
    *(("patch_size", value, "patch_size is ") for value in NO_PATCHES),
    ("num_classes", -1, "from 0 to 1000000"),
    ("num_classes", 1_000_001, "from 0 to 1000000"),
    ("num_classes", 2.0, "whole number"),
    ("num_classes", True, "True"),
    ("num_classes", None, "None"),
    ("img_size", 224, "(height, width)"),
    ("img_size", [224], "(height, width)"),
    ("img_size", "ab", "(height, width)"),
    ("img_size", (224,), "(height, width)"),
    ("img_size", (3, 224, 224), "(height, width)"),
    ("img_size", (0, 224), "from 1 to 16384"),
    ("img_size", (224, 16385), "16385"),
    ("img_size", (224.0, 224), "224.0"),
    ("img_size", (True, 224), "True"),
    ("img_size", (15, 224), "patch_size 16"),
    ("img_size", (224, 15), "one whole patch"),
    ("img_size", (16384, 16384), "262144"),
    ("norm_epsilon", 1.0, "from 0 to below 1"),
    ("norm_epsilon", -1e-5, "-1e-05"),
    ("norm_epsilon", math.nan, "nan"),
    ("norm_epsilon", math.inf, "inf"),
    ("norm_epsilon", "1e-5", "'1e-5'"),
    ("norm_epsilon", None, "None"),
    ("final_pool_type", "median", "expected one of ('none', 'mean', 'max', 'all')"),
    ("final_pool_type", None, "None"),
    ("final_pool_type", ["mean"], "['mean']"),
    ("bimamba_type", "v3", "expected one of ('none', 'v1', 'v2')"),
    ("bimamba_type", "V2", "'V2'"),
    ("bimamba_type", None, "None"),
    ("bimamba_type", ["v2"], "['v2']"),
]


@pytest.mark.parametrize(("field", "value", "word"), WRONG_VALUES)
def test_a_wrong_value_is_named_with_its_field(field: str, value: Any, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        VimConfig(**{field: value})
    message = str(caught.value)
    assert field in message
    assert word in message
    assert "\n" not in message
    assert isinstance(caught.value, VimnpError)


LARGE = {"img_size": (8192, 8192)}  # 262,144 patches of 16x16
TOO_MUCH: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"img_size": (16384, 16384), "patch_size": 1, "stride": 1024}, ("img_size", "pixels")),
    ({"img_size": (8192, 8193)}, ("img_size is 8192x8193", "67108864 pixels")),
    (LARGE | {"expand": 64}, ("262145 tokens", "12288 numbers each by expand * embed_dim")),
    (LARGE | {"embed_dim": 4096, "expand": 1}, ("4096 numbers each by expand * embed_dim",)),
    (LARGE | {"dt_rank": 16384}, ("16416 numbers each by dt_rank + 2 * d_state",)),
    ({"img_size": (1279, 1279), "patch_size": 1024, "stride": 1}, ("65536 patches", "patch_size")),
    (
        {"img_size": (2048, 2048), "num_classes": 200_000, "final_pool_type": "max"} | NO_TOKEN,
        ("200000 numbers each by num_classes", "16384 tokens"),
    ),
    (
        {"img_size": (2048, 2048), "num_classes": 200_000, "final_pool_type": "all"} | NO_TOKEN,
        ("200000 numbers each by num_classes",),
    ),
]


@pytest.mark.parametrize(("changes", "words"), TOO_MUCH)
def test_what_a_pass_would_take_too_much_memory_for_is_named(
    changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        VimConfig(**changes)
    message = str(caught.value)
    assert all(word in message for word in (*words, "img_size", "; expected at most "))
    assert "\n" not in message


@pytest.mark.parametrize(
    "changes",
    [
        {"img_size": (2048, 2048), "stride": 8, "embed_dim": 768},  # the largest that there may be
        {"img_size": (1024, 1024), "stride": 4, "embed_dim": 768},
        LARGE,
        {"img_size": (2048, 2048), "num_classes": 200_000},  # one token's logits
        {"img_size": (512, 512), "num_classes": 100_000, "final_pool_type": "all"} | NO_TOKEN,
    ],
)
def test_large_networks_are_allowed(changes: dict[str, Any]) -> None:
    assert VimConfig(**changes).img_size == changes["img_size"]


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.uint16])
def test_numbers_of_numpy_are_kept_as_whole_numbers(kind: type) -> None:
    counts = {name: kind(4) for name in COUNTS}
    config = VimConfig(img_size=(kind(32), kind(48)), **counts)
    assert config == VimConfig(img_size=(32, 48), **dict.fromkeys(COUNTS, 4))
    assert {type(value) for value in (*config.img_size, *map(config.__getattribute__, COUNTS))} == {
        int
    }
    assert VimConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_epsilon_of_numpy_is_kept_as_a_number() -> None:
    assert type(VimConfig(norm_epsilon=np.float64(1e-6)).norm_epsilon) is float
    assert VimConfig(norm_epsilon=np.float32(0.5)).norm_epsilon == 0.5


def test_sizes_may_be_a_list_or_an_array() -> None:
    for sides in ([48, 80], np.array([48, 80])):
        config = VimConfig(img_size=sides)  # type: ignore[arg-type]
        assert config == VimConfig(img_size=(48, 80))
        assert isinstance(config.img_size, tuple)
        assert hash(config) == hash(VimConfig(img_size=(48, 80)))


ROPE = {"if_rope": True}
REFUSED_COMBINATIONS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"final_pool_type": "max"}, ("final_pool_type", "class token", "if_cls_token")),
    ({"final_pool_type": "max"} | DOUBLE_TOKEN, ("final_pool_type", "if_cls_token")),
    (ROPE | {"embed_dim": 190}, ("embed_dim is 190", "if_rope", "multiple of 4")),
    (ROPE | {"embed_dim": 1}, ("embed_dim is 1", "if_rope")),
    (ROPE | DOUBLE_TOKEN, ("use_double_cls_token", "if_rope")),
    ({"if_bidirectional": True, "depth": 1}, ("depth is 1", "if_bidirectional")),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED_COMBINATIONS)
def test_what_does_not_go_together_is_named(
    changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        VimConfig(**changes)
    message = str(caught.value)
    assert all(word in message for word in words)
    assert "\n" not in message


@pytest.mark.parametrize(
    "changes",
    [
        NO_TOKEN | {"final_pool_type": "max"},
        NO_TOKEN | DOUBLE_TOKEN | {"final_pool_type": "max"},
        NO_TOKEN | DOUBLE_TOKEN | ROPE,  # no class token: nothing to double
        ROPE | {"embed_dim": 4},
        {"if_rope_residual": True, "embed_dim": 190},  # means nothing without if_rope
        {"if_bidirectional": True, "depth": 2},
    ],
)
def test_what_goes_together(changes: dict[str, Any]) -> None:
    config = VimConfig(**changes)
    assert {name: getattr(config, name) for name in changes} == changes


@pytest.mark.parametrize(("field", "limit"), COUNTS.items())
def test_the_bounds_themselves_are_allowed(field: str, limit: int) -> None:
    img_size = (1024, 1024)
    assert getattr(VimConfig(img_size=img_size, **{field: limit}), field) == limit
    assert getattr(VimConfig(img_size=(16, 16), **{field: 1}), field) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("expand", 64), ("num_classes", 0), ("num_classes", 1_000_000), ("norm_epsilon", 0.0)],
)
def test_the_ends_of_other_ranges_are_allowed(field: str, value: float) -> None:
    assert getattr(VimConfig(**{field: value}), field) == value


@pytest.mark.parametrize(
    ("expand", "embed_dim", "kept", "d_inner"),
    [
        (2.0, 192, 2, 384),
        (1.5, 192, 1.5, 288),
        (0.5, 192, 0.5, 96),
        (1.5, 5, 1.5, 7),  # what is left of a channel is dropped
        (np.float64(0.5), 2, 0.5, 1),
        (np.int64(3), 2, 3, 6),
    ],
)
def test_a_mixer_may_be_of_any_width(
    expand: float, embed_dim: int, kept: float, d_inner: int
) -> None:
    config = VimConfig(expand=expand, embed_dim=embed_dim)
    assert (config.expand, type(config.expand)) == (kept, type(kept))
    assert config.d_inner == d_inner
    assert config.parameter_shapes()["layers.0.mixer.D"] == (d_inner,)


def test_a_mixer_has_a_channel_at_least() -> None:
    with pytest.raises(ConfigError, match=r"expand is 0\.5; .* embed_dim of 1 makes a channel"):
        VimConfig(expand=0.5, embed_dim=1)


@pytest.mark.parametrize("patch_size", [(16, 8), [16, 8], np.array([16, 8])])
def test_patches_may_have_two_sides(patch_size: Any) -> None:
    config = VimConfig(img_size=(64, 64), patch_size=patch_size, stride=8)
    assert (config.patch_size, config.patch, config.grid_size) == ((16, 8), (16, 8), (7, 8))
    assert config.parameter_shapes()["patch_embed.proj.weight"] == (192, 3, 16, 8)
    assert VimConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_square_is_told_by_one_side() -> None:
    assert VimConfig(patch_size=(16, 16)) == VimConfig(patch_size=16) == VIM_TINY
    assert VIM_TINY.patch == (16, 16)


def test_a_patch_has_to_fit_into_the_picture_both_ways() -> None:
    for patch_size in ((33, 8), (8, 33)):
        with pytest.raises(ConfigError, match=r"img_size is 32x32 with patch_size \("):
            VimConfig(img_size=(32, 32), patch_size=patch_size)


MOST = {"embed_dim": 200}  # together with the largest picture within the bounds
any_config = configurations(
    img_size=st.tuples(st.integers(16, 200), st.integers(16, 200)),
    patch_size=patch_sizes(1, 16),
    expand=st.integers(1, 8) | st.floats(0.5, 8),
    num_classes=st.integers(0, 2000),
    dt_rank=st.none() | st.integers(1, 100),
    norm_epsilon=st.just(0.0) | st.floats(1e-12, 0.5),
    pt_hw_seq_len=st.integers(1, 16384),
    **{
        name: st.integers(1, MOST.get(name, min(limit, 2000)))
        for name, limit in COUNTS.items()
        if name not in ("patch_size", "dt_rank", "pt_hw_seq_len")
    },
)


@settings(deadline=None, max_examples=60)
@given(config=any_config)
def test_a_configuration_survives_json(config: VimConfig) -> None:
    assert VimConfig.from_dict(config.to_dict()) == config
    assert VimConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@settings(deadline=None, max_examples=30)
@given(config=any_config)
def test_derived_sizes_agree_with_the_shapes(config: VimConfig) -> None:
    rows, columns = config.grid_size
    sides = zip((rows, columns), config.img_size, config.patch, strict=True)
    for count, side, length in sides:
        end = (count - 1) * config.stride + length
        assert end <= side < end + config.stride  # one more patch would not fit
    assert config.num_tokens - config.num_patches == len(config.class_tokens)
    assert all(0 <= index < config.num_tokens for index in config.class_tokens.values())
    shapes = config.parameter_shapes()
    assert {name for name in shapes if "cls_token" in name} == set(config.class_tokens)
    assert shapes["layers.0.mixer.D"] == (config.d_inner,)
    assert ("layers.0.mixer.A_b_log" in shapes) == (config.bimamba_type != "none")
    assert sum(name.endswith(".out_proj.weight") for name in shapes) == config.depth
    assert ("head.weight" in shapes) == ("head.bias" in shapes) == (config.num_classes > 0)
    assert ("layers.0.mixer.in_proj.bias" in shapes) == config.bias
    assert ("layers.0.mixer.conv1d.bias" in shapes) == config.conv_bias


LATER_FIELDS = {
    "use_fast_path": True,
    "flip_img_sequences_ratio": 0.0,
    "conv_bias": True,
    "bias": False,
    "channels": 3,
}


@pytest.mark.parametrize("field", sorted(VIM_TINY.to_dict().keys() - LATER_FIELDS.keys()))
def test_from_dict_names_a_missing_field(field: str) -> None:
    values = VIM_TINY.to_dict()
    del values[field]
    with pytest.raises(ConfigError, match=f"lacks {field}$"):
        VimConfig.from_dict(values)


def test_from_dict_takes_what_was_written_before_there_were_all_fields() -> None:
    values = VIM_TINY.to_dict()
    assert {field: values.pop(field) for field in LATER_FIELDS} == LATER_FIELDS
    assert VimConfig.from_dict(values) == VIM_TINY


def test_from_dict_names_an_unknown_field() -> None:
    with pytest.raises(ConfigError, match="unknown field 'init_layer_scale'"):
        VimConfig.from_dict(VIM_TINY.to_dict() | {"init_layer_scale": 0.1})


def test_from_dict_checks_the_values_and_leaves_the_mapping_alone() -> None:
    values = VIM_TINY.to_dict() | {"depth": "24"}
    before = dict(values)
    with pytest.raises(ConfigError, match="depth is '24'"):
        VimConfig.from_dict(values)
    assert values == before


def test_a_configuration_cannot_be_changed_afterwards() -> None:
    with pytest.raises(AttributeError):
        VIM_TINY.depth = 12  # type: ignore[misc]
