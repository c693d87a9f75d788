"""Sizes of the other networks of VMamba-T's size and accuracy, as they were published."""

from __future__ import annotations

from typing import NamedTuple

NUM_CLASSES = 1000


class ConvNeXtSizes(NamedTuple):
    """ConvNeXt-T: Liu et al. 2022, https://arxiv.org/abs/2201.03545 (section 2).

    Its names are those of the original, facebookresearch/ConvNeXt.
    """

    dims: tuple[int, ...] = (96, 192, 384, 768)
    depths: tuple[int, ...] = (3, 3, 9, 3)
    mlp_ratio: int = 4
    kernel_size: int = 7
    patch_size: int = 4
    norm_epsilon: float = 1e-6


class SwinSizes(NamedTuple):
    """Swin-T: Liu et al. 2021, https://arxiv.org/abs/2103.14030 (table 7).

    Its names are those of the original, microsoft/Swin-Transformer.
    """

    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    mlp_ratio: int = 4
    patch_size: int = 4
    norm_epsilon: float = 1e-5

    def dim(self, stage: int) -> int:
        """Channels of a token."""
        return self.embed_dim << stage

    def shift(self, grid: int, index: int) -> int:
        """By how many tokens a block's windows are shifted: half a window in every second one.

        None are where one window is all there is.
        """
        return self.window // 2 if index % 2 and grid > self.window else 0
