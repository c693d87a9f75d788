"""The configuration of a MedMamba: that of a VMamba, of whose channels half are scanned."""

from __future__ import annotations

import dataclasses

from vimnp.errors import ConfigError
from vimnp.models.vmamba.config import PerStage, VMambaConfig


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MedMambaConfig(VMambaConfig):
    """What a MedMamba is made of. The defaults are those of MedMamba-T.

    Parameters
    ----------
    dims : tuple of int
        Channels of a token in each stage, even numbers: the last half goes through the cross-scan,
        and the first through convolutions.
    d_inner, dt_rank : tuple of int, optional
        By default ``dims`` and ``ceil(dims / 32)``: of a half, what a VMamba has of all.
    downsample_pad : {"crop", "zeros"}
        As for :class:`vimnp.VMambaConfig`; the original crops.
    norm_epsilon : float
        Of LayerNorm, and of the convolutions' batch normalisation.
    depths, d_state, gated, mlp_ratio, conv_bias, patch_embed, downsample, out_norms, num_classes, \
    channels, img_size
        As for :class:`vimnp.VMambaConfig`. Blocks have no MLP, and stages no norm of their own:
        `mlp_ratio` is 0 and `out_norms` false.

    Raises
    ------
    ConfigError
        As for :class:`vimnp.VMambaConfig`, or if there is something that a MedMamba has not.
    """

    depths: PerStage = (2, 2, 4, 2)
    downsample_pad: str = "crop"

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(dim % 2 for dim in self.dims):
            raise ConfigError(f"dims is {self.dims}; expected even numbers, which have halves")
        if self.mlp_ratio or self.out_norms:
            raise ConfigError(
                f"mlp_ratio is {self.mlp_ratio} and out_norms {self.out_norms}; expected 0 and "
                "false: a MedMamba has neither MLPs nor norms of its stages"
            )

    @property
    def op_dims(self) -> PerStage:
        """The last half of a stage's channels, which goes through its cross-scans."""
        return tuple(dim // 2 for dim in self.dims)
