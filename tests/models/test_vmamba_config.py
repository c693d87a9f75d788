"""VMamba's configurations: what is refused, what follows, and the published networks."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from tests.support.vmamba_networks import MICRO, OPTIONS, WITH_MLP, configurations
from vimnp import VMambaConfig
from vimnp.errors import ConfigError
from vimnp.models.vmamba.published import FILES, PUBLISHED, name_of

PARAMETERS = {  # of upstream's code, in millions
    "vssmtiny_dp01_ckpt_epoch_292.pth": 22.89,
    "vssmsmall_dp03_ckpt_epoch_238.pth": 44.42,
    "vssmbase_dp06_ckpt_epoch_241.pth": 76.25,
    "vssmbase_dp05_ckpt_epoch_260.pth": 76.25,
    "vssmtiny_dp02_ckpt_epoch_258.pth": 32.48,
    "vssm_tiny_0230_ckpt_epoch_262.pth": 30.71,
    "vssm_small_0229_ckpt_epoch_222.pth": 50.15,
    "vssm_base_0229_ckpt_epoch_237.pth": 88.56,
    "vssm1_tiny_0230s_ckpt_epoch_264.pth": 30.25,
    "vssm1_small_0229s_ckpt_epoch_240.pth": 49.01,
    "vssm1_base_0229s_ckpt_epoch_225.pth": 86.61,
}


@pytest.mark.parametrize("file", PARAMETERS)
def test_a_published_network_has_as_many_parameters_as_the_original(file: str) -> None:
    config = PUBLISHED[FILES[file]]
    assert round(config.num_parameters / 1e6, 2) == PARAMETERS[file]


def test_every_published_network_is_in_a_file() -> None:
    assert {*FILES} == {*PARAMETERS}
    assert {*FILES.values()} == {*PUBLISHED}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_is_known_by_its_sizes(name: str) -> None:
    config = PUBLISHED[name]
    assert name_of(config) == name
    assert name_of(dataclasses.replace(config, img_size=(448, 320), num_classes=37)) == name
    assert name_of(dataclasses.replace(config, out_norms=True, num_classes=0)) == name
    assert name_of(dataclasses.replace(config, depths=(2, 2, 3, 2))) is None


def test_sizes_follow_from_others() -> None:
    config = VMambaConfig(dims=(96, 192, 384, 770))
    assert config.d_inner == (192, 384, 768, 1540)
    assert config.dt_rank == (6, 12, 24, 49)
    assert config.grids == ((56, 56), (28, 28), (14, 14), (7, 7))
    assert config.mlp_channels == (0, 0, 0, 0)
    assert dataclasses.replace(config, mlp_ratio=1.5).mlp_channels == (144, 288, 576, 1155)


@pytest.mark.parametrize(
    ("changes", "grids"),
    [
        ({}, ((14, 18), (7, 9), (4, 5), (2, 3))),
        ({"downsample_pad": "crop"}, ((14, 18), (7, 9), (3, 4), (1, 2))),
        ({"downsample": "v2"}, ((14, 18), (7, 9), (3, 4), (1, 2))),
        ({"downsample": "v3"}, ((14, 18), (7, 9), (4, 5), (2, 3))),
        ({"img_size": (59, 75)}, ((14, 18), (7, 9), (4, 5), (2, 3))),
        ({"img_size": (53, 69), "patch_embed": "v2"}, ((14, 18), (7, 9), (4, 5), (2, 3))),
        ({"img_size": (4, 7)}, ((1, 1), (1, 1), (1, 1), (1, 1))),
    ],
)
def test_grids(changes: dict[str, Any], grids: tuple[tuple[int, int], ...]) -> None:
    assert VMambaConfig(**{"img_size": (56, 72)} | changes).grids == grids


@given(configurations())
def test_a_configuration_survives_json(config: VMambaConfig) -> None:
    assert VMambaConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_sizes_come_in_lists_and_arrays() -> None:
    config = VMambaConfig(dims=np.array([12, 24, 40, 20]), depths=[1, 2, 1, 1], img_size=[40, 56])
    assert (config.dims, config.depths, config.img_size) == (MICRO.dims, MICRO.depths, (40, 56))
    assert all(type(dim) is int for dim in config.dims)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dims": (96, 192, 384)}, r"dims is \(96, 192, 384\); expected 4 whole numbers"),
        ({"dims": 96}, "dims is 96; expected 4 whole numbers"),
        ({"dims": "abcd"}, "dims is 'abcd'; expected 4 whole numbers"),
        ({"dims": (96, 192, 384, 1.5)}, "dims is 1.5; expected a whole number from 1 to"),
        ({"depths": (2, 2, 0, 2)}, "depths is 0; expected a whole number from 1 to 512"),
        ({"d_inner": (1, 2, 3, 1 << 20)}, "d_inner is 1048576; expected"),
        ({"dt_rank": (1, 2, 3, True)}, "dt_rank is True; expected"),
        ({"d_state": 0}, "d_state is 0; expected"),
        ({"d_state": 257}, "d_state is 257; expected a whole number from 1 to 256"),
        ({"gated": 1}, "gated is 1; expected true or false"),
        ({"conv_bias": None}, "conv_bias is None; expected true or false"),
        ({"mlp_ratio": -1}, "mlp_ratio is -1; expected a number from 0 to 64"),
        ({"mlp_ratio": float("nan")}, "mlp_ratio is nan; expected"),
        ({"mlp_ratio": True}, "mlp_ratio is True; expected"),
        ({"mlp_ratio": 0.01}, "mlp_ratio is 0.01, which makes less than a channel of dims"),
        ({"patch_embed": "v3"}, "patch_embed is 'v3'; expected one of"),
        ({"downsample": "v4"}, "downsample is 'v4'; expected one of"),
        ({"downsample_pad": "reflect"}, "downsample_pad is 'reflect'; expected one of"),
        ({"downsample_pad": "crop", "downsample": "v3"}, "downsample_pad is 'crop' and downsample"),
        ({"out_norms": True}, "num_classes is 1000 in a network with out_norms"),
        ({"dims": (1, 2, 3, 4), "patch_embed": "v2"}, "dims begins with 1"),
        ({"num_classes": -1}, "num_classes is -1; expected"),
        ({"channels": 65}, "channels is 65; expected"),
        ({"img_size": 224}, r"img_size is 224; expected \(height, width\), two whole numbers"),
        ({"img_size": (224, 3)}, "img_size is 224x3, .* expected 4 pixels or more each way"),
        (
            {"img_size": (31, 64), "downsample_pad": "crop"},
            "img_size is 31x64, .* expected 32 pixels or more each way",
        ),
        ({"img_size": (63, 31), "downsample": "v2"}, "expected 32 pixels or more each way"),
        ({"img_size": (16384, 16384)}, "expected at most 67108864 pixels"),
        ({"img_size": (8000, 8000)}, "the tokens of stage 0 are 4000000 with 96 numbers each"),
        ({"norm_epsilon": 1.0}, "norm_epsilon is 1.0; expected"),
        ({"norm_epsilon": "1e-5"}, "norm_epsilon is '1e-5'; expected"),
    ],
)
def test_what_is_wrong_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VMambaConfig(**changes)


@pytest.mark.parametrize("option", OPTIONS)
def test_tensors_are_alike_only_where_options_need_none(option: str) -> None:
    config = dataclasses.replace(MICRO, **OPTIONS[option])
    needs_none = {"default", "crop", "epsilon"}
    same = config.parameter_shapes() == MICRO.parameter_shapes()
    assert same == (option in needs_none)


def test_a_backbone_has_norms_and_no_classifier() -> None:
    names = dataclasses.replace(MICRO, out_norms=True, num_classes=0).parameter_shapes()
    assert all(f"outnorm{stage}.weight" in names for stage in range(4))
    assert not any(name.startswith("classifier") for name in names)
    names = dataclasses.replace(MICRO, num_classes=0, **WITH_MLP).parameter_shapes()
    assert "classifier.norm.weight" in names
    assert "classifier.head.weight" not in names


def test_a_vision_mamba_does_not_wait_for_it() -> None:
    code = "import sys, vimnp; vimnp.load('digits'); "
    code += "assert not [name for name in sys.modules if 'vmamba' in name]; "
    code += "vimnp.VMamba; assert 'vimnp.models.vmamba.model' in sys.modules; "
    code += "assert 'vimnp.models.vmamba.network' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
