"""VMamba networks of the tests: a small one, every option by itself, any that there can be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from vimnp import VMamba, VMambaConfig
from vimnp.models.random_weights import random_reader
from vimnp.weights import Metadata

MICRO = VMambaConfig(
    dims=(12, 24, 40, 20), depths=(1, 2, 1, 1), d_state=5, num_classes=7, img_size=(40, 56)
)
"""Runs in a moment; grids of 10x14, 5x7, 3x4 and 2x2 have odd sides, channels make tails."""

WITH_MLP: dict[str, Any] = {
    "d_state": 1,
    "gated": False,
    "mlp_ratio": 4.0,
    "conv_bias": False,
    "patch_embed": "v2",
    "downsample": "v3",
}
"""What the networks since February 2024 have."""

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "crop": {"downsample_pad": "crop"},
    "no_gate": {"gated": False},
    "no_conv_bias": {"conv_bias": False},
    "mlp": {"mlp_ratio": 2.5},
    "stem_v2": {"patch_embed": "v2"},
    "downsample_v2": {"downsample": "v2"},
    "downsample_v3": {"downsample": "v3"},
    "one_state": {"d_state": 1},
    "with_mlp": WITH_MLP,
    "with_mlp_gated": WITH_MLP | {"gated": True},
    "narrow": {"d_inner": (12, 24, 40, 20)},
    "other_sizes": {"d_inner": (5, 31, 16, 70), "dt_rank": (3, 1, 7, 2)},
    "backbone": {"out_norms": True, "num_classes": 0},
    "no_head": {"num_classes": 0},
    "one_channel": {"channels": 1},
    "epsilon": {"norm_epsilon": 1e-2},
}
"""A row is what differs from MICRO; add one and every comparison runs it."""


BLOCK = "layers.0.blocks.0.op."
"""What the names of the first block's tensors begin with."""


def lively(config: VMambaConfig, seed: int = 0) -> Callable[[str], np.ndarray]:
    """Random weights under which every tensor counts.

    Those that training begins with make so little of a block's input that a mistake in it would
    hide behind the residual.
    """
    read = random_reader(config, seed)

    def livelier(name: str) -> np.ndarray:
        values = read(name)
        if name.endswith("dt_projs_bias"):
            return values + np.float32(4)  # or what a token leaves in the states is next to nothing
        if values.ndim != 2 or name.endswith("A_logs"):
            return values
        return values * np.float32(50 / math.sqrt(values.shape[1]))

    return livelier


def block_tensors(config: VMambaConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """The tensors of a network's first block, by their names in it."""
    read = lively(config, seed)
    names = [name for name in config.parameter_shapes() if name.startswith(BLOCK)]
    return {name.removeprefix(BLOCK): read(name) for name in names}


def network(config: VMambaConfig = MICRO, seed: int = 0, **settings: Any) -> VMamba:
    """A model with such weights."""
    return VMamba(Metadata(config=config), lively(config, seed), **settings)


def normalised(config: VMambaConfig, batch: int | None = None, seed: int = 0) -> np.ndarray:
    """A picture, or a batch of them, as the network takes it."""
    shape = (config.channels, *config.img_size)
    shape = shape if batch is None else (batch, *shape)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _fours(values: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(values, values, values, values)


@st.composite
def configurations(draw: st.DrawFn) -> VMambaConfig:
    """Every combination of options that is allowed."""
    downsample = draw(st.sampled_from(["v1", "v2", "v3"]))
    pads = ["zeros", "crop"] if downsample == "v1" else ["zeros"]
    side = st.integers(32, 50)
    out_norms = draw(st.booleans())
    return VMambaConfig(
        dims=draw(_fours(st.sampled_from([6, 16, 21, 40]))),
        depths=draw(_fours(st.integers(1, 2))),
        d_inner=draw(_fours(st.sampled_from([5, 16, 37, 48]))),
        dt_rank=draw(_fours(st.integers(1, 6))),
        d_state=draw(st.sampled_from([1, 2, 5, 16])),
        gated=draw(st.booleans()),
        mlp_ratio=draw(st.sampled_from([0.0, 0.5, 3.0, 4.0])),
        conv_bias=draw(st.booleans()),
        patch_embed=draw(st.sampled_from(["v1", "v2"])),
        downsample=downsample,
        downsample_pad=draw(st.sampled_from(pads)),
        out_norms=out_norms,
        num_classes=0 if out_norms else draw(st.integers(0, 9)),
        channels=draw(st.sampled_from([1, 3, 4])),
        img_size=(draw(side), draw(side)),
    )
