"""VimConfig: defaults, derived sizes, the tensors it implies, and every value it refuses."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vimnp.config import VIM_BASE, VIM_SMALL, VIM_TINY, VimConfig
from vimnp.errors import ConfigError, VimnpError

COUNTS = {
    "patch_size": 1024,
    "stride": 1024,
    "depth": 512,
    "embed_dim": 16384,
    "d_state": 256,
    "d_conv": 64,
    "expand": 64,
    "dt_rank": 16384,
    "num_classes": 1_000_000,
}
FLAGS = (
    "rms_norm",
    "if_abs_pos_embed",
    "if_cls_token",
    "use_middle_cls_token",
    "if_divide_out",
)
NO_TOKEN = {"if_cls_token": False}
FIRST_TOKEN = {"use_middle_cls_token": False}


def parameter_count(config: VimConfig) -> int:
    return sum(math.prod(shape) for shape in config.parameter_shapes().values())


def test_the_defaults_are_vim_tiny() -> None:
    config = VimConfig()
    assert config == VIM_TINY
    assert parameter_count(config) == 7_148_008
    assert (config.d_inner, config.dt_rank) == (384, 12)
    assert (config.grid_size, config.num_patches, config.num_tokens) == ((14, 14), 196, 197)
    assert config.class_tokens == {"cls_token": 98}


def test_the_larger_variants_differ_in_width_alone() -> None:
    for config, embed_dim in ((VIM_SMALL, 384), (VIM_BASE, 768)):
        assert {**config.to_dict(), "embed_dim": 192, "dt_rank": 12} == VIM_TINY.to_dict()
        assert config.embed_dim == embed_dim
        assert config.dt_rank == embed_dim // 16


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
    ("changes", "patches", "tokens", "position"),
    [
        ({}, 196, 197, 98),
        (FIRST_TOKEN, 196, 197, 0),
        (NO_TOKEN, 196, 196, None),
        (NO_TOKEN | FIRST_TOKEN, 196, 196, None),
        ({"stride": 8}, 729, 730, 364),  # an odd number of patches: half, rounded down
        ({"img_size": (16, 16)}, 1, 2, 0),
        ({"img_size": (16, 32)}, 2, 3, 1),
    ],
)
def test_where_the_class_token_stands(
    changes: dict[str, Any], patches: int, tokens: int, position: int | None
) -> None:
    config = VimConfig(**changes)
    assert (config.num_patches, config.num_tokens) == (patches, tokens)
    assert config.class_tokens.get("cls_token") == position


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


@pytest.mark.parametrize(
    ("changes", "gone", "come"),
    [
        ({"if_cls_token": False}, {"cls_token"}, set()),
        ({"if_abs_pos_embed": False}, {"pos_embed"}, set()),
        ({"rms_norm": False}, set(), {"layers.0.norm.bias", "norm_f.bias"}),
        ({"if_divide_out": False, "final_pool_type": "none"}, set(), set()),
    ],
)
def test_tensors_that_depend_on_a_setting(
    changes: dict[str, Any], gone: set[str], come: set[str]
) -> None:
    before = set(VimConfig(**SMALL).parameter_shapes())
    assert set(VimConfig(**SMALL | changes).parameter_shapes()) == before - gone | come


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
    ("img_size", 224, "(height, width)"),
    ("img_size", [224, 224], "(height, width)"),
    ("img_size", (224,), "(height, width)"),
    ("img_size", (3, 224, 224), "(height, width)"),
    ("img_size", (0, 224), "from 1 to 16384"),
    ("img_size", (224, 16385), "16385"),
    ("img_size", (224.0, 224), "224.0"),
    ("img_size", (True, 224), "True"),
    ("img_size", (15, 224), "patch_size 16"),
    ("img_size", (224, 15), "one whole patch"),
    ("img_size", (16384, 16384), "262144"),
    ("norm_epsilon", 0.0, "between 0 and 1"),
    ("norm_epsilon", 1.0, "between 0 and 1"),
    ("norm_epsilon", -1e-5, "-1e-05"),
    ("norm_epsilon", math.nan, "nan"),
    ("norm_epsilon", math.inf, "inf"),
    ("norm_epsilon", 0, "between 0 and 1"),
    ("norm_epsilon", "1e-5", "'1e-5'"),
    ("norm_epsilon", None, "None"),
    ("final_pool_type", "max", "'mean', 'none'"),
    ("final_pool_type", None, "None"),
    ("final_pool_type", ["mean"], "['mean']"),
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


@pytest.mark.parametrize(("field", "limit"), COUNTS.items())
def test_the_bounds_themselves_are_allowed(field: str, limit: int) -> None:
    img_size = (1024, 1024)
    assert getattr(VimConfig(img_size=img_size, **{field: limit}), field) == limit
    assert getattr(VimConfig(img_size=(16, 16), **{field: 1}), field) == 1


def configs() -> st.SearchStrategy[VimConfig]:
    counts = {
        name: st.integers(1, min(limit, 2000))
        for name, limit in COUNTS.items()
        if name not in ("patch_size", "dt_rank")
    }
    return st.builds(
        VimConfig,
        img_size=st.tuples(st.integers(16, 500), st.integers(16, 500)),
        patch_size=st.integers(1, 16),
        dt_rank=st.none() | st.integers(1, 100),
        norm_epsilon=st.floats(1e-12, 0.5),
        final_pool_type=st.sampled_from(("mean", "none")),
        **counts,
        **{name: st.booleans() for name in FLAGS},
    )


@settings(deadline=None, max_examples=60)
@given(config=configs())
def test_a_configuration_survives_json(config: VimConfig) -> None:
    assert VimConfig.from_dict(config.to_dict()) == config
    assert VimConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@settings(deadline=None, max_examples=30)
@given(config=configs())
def test_derived_sizes_agree_with_the_shapes(config: VimConfig) -> None:
    rows, columns = config.grid_size
    for count, side in ((rows, config.img_size[0]), (columns, config.img_size[1])):
        end = (count - 1) * config.stride + config.patch_size
        assert end <= side < end + config.stride  # one more patch would not fit
    assert config.num_tokens - config.num_patches == config.if_cls_token
    shapes = config.parameter_shapes()
    assert shapes["layers.0.mixer.D"] == (config.d_inner,)
    assert sum(name.endswith(".out_proj.weight") for name in shapes) == config.depth


@pytest.mark.parametrize("field", VIM_TINY.to_dict())
def test_from_dict_names_a_missing_field(field: str) -> None:
    values = VIM_TINY.to_dict()
    del values[field]
    with pytest.raises(ConfigError, match=f"lacks {field}$"):
        VimConfig.from_dict(values)


def test_from_dict_names_an_unknown_field() -> None:
    with pytest.raises(ConfigError, match="unknown field 'if_bidirectional'"):
        VimConfig.from_dict(VIM_TINY.to_dict() | {"if_bidirectional": True})


def test_from_dict_checks_the_values_and_leaves_the_mapping_alone() -> None:
    values = VIM_TINY.to_dict() | {"depth": "24"}
    before = dict(values)
    with pytest.raises(ConfigError, match="depth is '24'"):
        VimConfig.from_dict(values)
    assert values == before


def test_a_configuration_cannot_be_changed_afterwards() -> None:
    with pytest.raises(AttributeError):
        VIM_TINY.depth = 12  # type: ignore[misc]
