"""The configuration of a VM-UNet: that of a VMamba, which is its encoder, and of its decoder."""

from __future__ import annotations

import dataclasses

from vimnp.errors import ConfigError
from vimnp.models.vmamba.config import PerStage, VMambaConfig, checked_numbers

MOST_STAGES = 8

SCALE = 4
"""Pixels down and across that a token of the first stage becomes."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class VMUNetConfig(VMambaConfig):
    """What a VM-UNet is made of. The defaults are those of the original's trainings on ISIC.

    A stage of the decoder has the sizes of the encoder's stage that it goes beside.

    Parameters
    ----------
    depths_decoder : tuple of int
        Blocks of each stage of the decoder, from the smallest map to the largest.
    dims : tuple of int
        Channels of a token in each of the encoder's stages, of which there are 2 to 8: twice those
        of the stage before it, and in the first a multiple of 4.
    depths, d_inner, dt_rank, d_state, gated, mlp_ratio, conv_bias, patch_embed, downsample, \
    downsample_pad, out_norms, channels, norm_epsilon
        As for :class:`vimnp.VMambaConfig`, of which the encoder is one; `out_norms` is false.
    num_classes : int
        Classes of a pixel; 1 where pixels are told from the background.
    img_size : tuple of int
        Each side a multiple of the pixels that a token of the last stage stands for, 32 where there
        are four stages: the decoder's maps are added to the encoder's.

    Raises
    ------
    ConfigError
        As for :class:`vimnp.VMambaConfig`, or if encoder and decoder do not fit each other.
    """

    depths: PerStage = (2, 2, 2, 2)
    depths_decoder: PerStage = (2, 2, 2, 1)
    num_classes: int = 1
    img_size: tuple[int, int] = (256, 256)

    def __post_init__(self) -> None:
        super().__post_init__()
        depths = checked_numbers("depths_decoder", self.depths_decoder, self.num_stages, 512)
        object.__setattr__(self, "depths_decoder", depths)
        if self.out_norms or not self.num_classes:
            raise ConfigError(
                f"out_norms is {self.out_norms} and num_classes {self.num_classes}; expected a "
                "network with classes, for which it needs no norms of the stages"
            )
        doubled = tuple(self.dims[0] << stage for stage in range(self.num_stages))
        if self.dims != doubled or self.dims[0] % SCALE:
            raise ConfigError(
                f"dims is {self.dims}; expected a multiple of {SCALE}, and in each stage twice as "
                "much as in the one before it"
            )
        side = SCALE << (self.num_stages - 1)
        if any(pixels % side for pixels in self.img_size):
            height, width = self.img_size
            raise ConfigError(
                f"img_size is {height}x{width}; expected multiples of {side}, so that the "
                "decoder's maps fit the encoder's"
            )
        self._check_array(
            "the tokens of stage 0", self.num_tokens, "4 * dims", SCALE * self.dims[0]
        )
        pixels = SCALE**2 * self.num_tokens
        self._check_array("the pixels", pixels, "num_classes", self.num_classes)

    def _count_stages(self) -> int:
        found = len(self.dims) if isinstance(self.dims, tuple | list) else 0
        if not 2 <= found <= MOST_STAGES:
            raise ConfigError(
                f"dims is {self.dims!r}; expected 2 to {MOST_STAGES} whole numbers, one for each "
                "stage"
            )
        return found

    @property
    def num_features(self) -> int:
        """Channels of a pixel's features: what the last convolution reads."""
        return self.dims[0] // SCALE
