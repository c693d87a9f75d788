"""The networks that MzeroMiko/VMamba has published, and their names.

Every published file holds one of them. The files' own names are mixed up easily:
``vssm_tiny_0230`` and ``vssm1_tiny_0230s`` are two networks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from vimnp.models.vmamba.config import PerStage, VMambaConfig


def _stages(first: int) -> PerStage:
    return (first, 2 * first, 4 * first, 8 * first)


def _vanilla(dim: int, depth: int) -> VMambaConfig:
    """VMamba of January 2024: 16 states, a gate, no MLP."""
    return VMambaConfig(dims=_stages(dim), depths=(2, 2, depth, 2))


def _later(dim: int, depth: int, ssm_ratio: int, *, gated: bool = False) -> VMambaConfig:
    """VMamba since February 2024: one state, MLPs."""
    return VMambaConfig(
        dims=_stages(dim),
        depths=(2, 2, depth, 2),
        d_inner=_stages(ssm_ratio * dim),
        d_state=1,
        gated=gated,
        mlp_ratio=4.0,
        conv_bias=False,
        patch_embed="v2",
        downsample="v3",
    )


PUBLISHED = {
    "vmamba-tiny": _vanilla(96, 9),
    "vmamba-small": _vanilla(96, 27),
    "vmamba-base": _vanilla(128, 27),
    "vmamba-tiny-0220": _later(96, 4, 2, gated=True),
    "vmamba-tiny-s2l5": _later(96, 5, 2),
    "vmamba-small-s2l15": _later(96, 15, 2),
    "vmamba-base-s2l15": _later(128, 15, 2),
    "vmamba-tiny-s1l8": _later(96, 8, 1),
    "vmamba-small-s1l20": _later(96, 20, 1),
    "vmamba-base-s1l20": _later(128, 20, 1),
}
"""By the names that the command knows them by: the vanilla ones have the plain sizes."""

FILES = {
    "vssmtiny_dp01_ckpt_epoch_292.pth": "vmamba-tiny",
    "vssmsmall_dp03_ckpt_epoch_238.pth": "vmamba-small",
    "vssmbase_dp06_ckpt_epoch_241.pth": "vmamba-base",
    "vssmbase_dp05_ckpt_epoch_260.pth": "vmamba-base",
    "vssmtiny_dp02_ckpt_epoch_258.pth": "vmamba-tiny-0220",
    "vssm_tiny_0230_ckpt_epoch_262.pth": "vmamba-tiny-s2l5",
    "vssm_small_0229_ckpt_epoch_222.pth": "vmamba-small-s2l15",
    "vssm_base_0229_ckpt_epoch_237.pth": "vmamba-base-s2l15",
    "vssm1_tiny_0230s_ckpt_epoch_264.pth": "vmamba-tiny-s1l8",
    "vssm1_small_0229s_ckpt_epoch_240.pth": "vmamba-small-s1l20",
    "vssm1_base_0229s_ckpt_epoch_225.pth": "vmamba-base-s1l20",
}
"""Which network is in each published file."""

_BESIDE_THE_NETWORK = ("img_size", "num_classes", "out_norms", "downsample_pad", "norm_epsilon")
"""Fields in which what is made of a published network may differ from it."""


def name_of(config: VMambaConfig) -> str | None:
    """The published network that has these sizes; None if there is none.

    It may look at pictures of another size and tell other classes, or be a backbone.
    """
    return name_among(PUBLISHED, config)


def name_among(networks: Mapping[str, VMambaConfig], config: VMambaConfig) -> str | None:
    """The same of a network that stands on a VMamba, among those of its kind."""
    same = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name not in _BESIDE_THE_NETWORK
    }
    for name, published in networks.items():
        if all(getattr(published, field) == value for field, value in same.items()):
            return name
    return None
