"""Sizes of the networks that can be compared; weights are random, whatever they are."""

from __future__ import annotations

from typing import NamedTuple

from peers.vmamba.classifier_sizes import ConvNeXtSizes, SwinSizes
from vimnp.models.vmamba.config import VMambaConfig


class Sizes(NamedTuple):
    """Of each family; pictures have other sizes yet.

    Parameters
    ----------
    vmambas : dict
        By family of ``networks.py``.
    convnext : ConvNeXtSizes
    swin : SwinSizes
    """

    vmambas: dict[str, VMambaConfig]
    convnext: ConvNeXtSizes
    swin: SwinSizes


def _s1l8(dims: tuple[int, int, int, int], depths: tuple[int, int, int, int]) -> VMambaConfig:
    """As the original's ``vssm1_tiny_0230s``."""
    return VMambaConfig(
        dims=dims,
        depths=depths,
        d_inner=dims,
        d_state=1,
        gated=False,
        mlp_ratio=4.0,
        conv_bias=False,
        patch_embed="v2",
        downsample="v3",
    )


_FEW, _ONCE = (8, 16, 24, 32), (1, 1, 1, 1)

SIZES = {
    "tiny": Sizes(
        {"s1l8": _s1l8((96, 192, 384, 768), (2, 2, 8, 2)), "v0": VMambaConfig()},
        ConvNeXtSizes(),
        SwinSizes(),
    ),
    "micro": Sizes(
        {"s1l8": _s1l8(_FEW, _ONCE), "v0": VMambaConfig(dims=_FEW, depths=_ONCE)},
        ConvNeXtSizes(dims=_FEW, depths=_ONCE),
        SwinSizes(embed_dim=8, depths=(2, 2, 2, 1), num_heads=(1, 2, 2, 4), window=3),
    ),
}
"""By the names that ``--size`` takes. The smaller one shows that everything runs."""
