"""MedMamba and VM-UNet networks of the tests: small ones, every option by itself, drawn ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.support import vmamba_networks
from vimnp import MedMamba, MedMambaConfig, VMUNet, VMUNetConfig
from vimnp.weights import Metadata

MEDMAMBA = MedMambaConfig(
    dims=(12, 24, 42, 20), depths=(1, 2, 1, 1), d_state=5, num_classes=7, img_size=(40, 56)
)
"""Runs in a moment; grids of 10x14, 5x7, 2x3 and 1x1 have odd sides, halves make tails."""

MEDMAMBA_OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "zeros": {"downsample_pad": "zeros"},
    "no_gate": {"gated": False},
    "no_conv_bias": {"conv_bias": False},
    "stem_v2": {"patch_embed": "v2"},
    "downsample_v3": {"downsample": "v3", "downsample_pad": "zeros"},
    "one_state": {"d_state": 1},
    "other_sizes": {"d_inner": (5, 31, 16, 70), "dt_rank": (3, 1, 7, 2)},
    "no_head": {"num_classes": 0},
    "one_channel": {"channels": 1},
    "epsilon": {"norm_epsilon": 1e-2},
}

VMUNET = VMUNetConfig(
    dims=(12, 24, 48),
    depths=(1, 2, 1),
    depths_decoder=(2, 1, 1),
    d_state=5,
    num_classes=3,
    img_size=(32, 48),
)
"""Runs in a moment: grids of 8x12, 4x6 and 2x3."""

VMUNET_OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "no_gate": {"gated": False},
    "mlp": {"mlp_ratio": 2.5},
    "stem_v2": {"patch_embed": "v2"},
    "downsample_v3": {"downsample": "v3"},
    "one_class": {"num_classes": 1},
    "two_stages": {"dims": (20, 40), "depths": (1, 1), "depths_decoder": (1, 2)},
    "four_stages": {
        "dims": (8, 16, 32, 64),
        "depths": (1, 1, 2, 1),
        "depths_decoder": (1, 1, 1, 2),
        "img_size": (32, 64),
    },
    "other_sizes": {"d_inner": (5, 31, 16), "dt_rank": (3, 1, 7)},
    "epsilon": {"norm_epsilon": 1e-2},
}
for _options in VMUNET_OPTIONS.values():
    if "dims" in _options:  # these follow from them, where nothing else is said
        _options |= {"d_inner": None, "dt_rank": None}


def lively(config: Any, seed: int = 0) -> Callable[[str], np.ndarray]:
    """Random weights under which every tensor counts; see VMamba's."""
    read = vmamba_networks.lively(config, seed)

    def livelier(name: str) -> np.ndarray:
        values = read(name)
        return values * np.float32(20) if name.endswith("running_mean") else values

    return livelier


def medmamba(config: MedMambaConfig = MEDMAMBA, **settings: Any) -> MedMamba:
    """A model with such weights."""
    return MedMamba(Metadata(config=config), lively(config), **settings)


def vmunet(config: VMUNetConfig = VMUNET, **settings: Any) -> VMUNet:
    """A model with such weights."""
    return VMUNet(Metadata(config=config), lively(config), **settings)


@st.composite
def medmambas(draw: st.DrawFn) -> MedMambaConfig:
    """Every combination of options that is allowed."""
    downsample = draw(st.sampled_from(["v1", "v2", "v3"]))
    pads = ["zeros", "crop"] if downsample == "v1" else ["zeros"]
    side, dim = st.integers(32, 50), st.sampled_from([2, 6, 16, 34, 40])
    return MedMambaConfig(
        dims=draw(st.tuples(dim, dim, dim, dim)),
        depths=draw(st.tuples(*[st.integers(1, 2)] * 4)),
        d_state=draw(st.sampled_from([1, 2, 5, 16])),
        gated=draw(st.booleans()),
        conv_bias=draw(st.booleans()),
        patch_embed=draw(st.sampled_from(["v1", "v2"])),
        downsample=downsample,
        downsample_pad=draw(st.sampled_from(pads)),
        num_classes=draw(st.integers(0, 9)),
        channels=draw(st.sampled_from([1, 3, 4])),
        img_size=(draw(side), draw(side)),
    )


@st.composite
def vmunets(draw: st.DrawFn) -> VMUNetConfig:
    """Every combination of options that is allowed."""
    stages = draw(st.integers(2, 4))
    depths = st.tuples(*[st.integers(1, 2)] * stages)
    side = st.integers(1, 2).map(lambda number: number << (stages + 1))
    first = draw(st.sampled_from([12, 16, 20, 32]))
    return VMUNetConfig(
        dims=tuple(first << stage for stage in range(stages)),
        depths=draw(depths),
        depths_decoder=draw(depths),
        d_state=draw(st.sampled_from([1, 4, 16])),
        gated=draw(st.booleans()),
        mlp_ratio=draw(st.sampled_from([0.0, 2.0])),
        conv_bias=draw(st.booleans()),
        patch_embed=draw(st.sampled_from(["v1", "v2"])),
        downsample=draw(st.sampled_from(["v1", "v2", "v3"])),
        num_classes=draw(st.integers(1, 9)),
        channels=draw(st.sampled_from([1, 3, 4])),
        img_size=(draw(side), draw(side)),
    )
