"""The configuration of a Vision Mamba, and the tensors that it implies.

Field names are those of the original's constructors (``VisionMamba`` in ``vim/models_mamba.py``
and ``Mamba`` in ``mamba_ssm/modules/mamba_simple.py`` of hustvl/Vim).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from vimnp.errors import ConfigError

CHANNELS = 3  # pictures are RGB; every published network has this many input channels

POOL_TYPES = ("mean", "none")

MAX_D_STATE = 256  # of the kernels, and of the original's CUDA kernel
MAX_D_CONV = 64

# Bounds far beyond any Vision Mamba: a damaged file then fails on a number that it names, before
# anything is computed or allocated from it.
_LIMITS = {
    "patch_size": 1024,
    "stride": 1024,
    "depth": 512,
    "embed_dim": 16384,
    "d_state": MAX_D_STATE,
    "d_conv": MAX_D_CONV,
    "expand": 64,
    "dt_rank": 16384,
    "num_classes": 1_000_000,
}
_LARGEST_SIDE = 16384
_MOST_PATCHES = 1 << 18  # 8192x8192 pixels in patches of 16x16


def _check_count(name: str, value: object, limit: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
        raise ConfigError(f"{name} is {value!r}; expected a whole number from 1 to {limit}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VimConfig:
    """What a Vision Mamba (``bimamba_type="v2"``) is made of. The defaults are those of Vim-tiny.

    Parameters
    ----------
    img_size : tuple of int
        Height and width of the input in pixels.
    patch_size, stride : int
        Side of the square patches and the distance between two of them, in pixels.
    depth : int
        Number of layers.
    embed_dim : int
        Channels of a token between the layers, E.
    d_state : int
        States per channel of the selective scan, N.
    d_conv : int
        Taps of the causal convolution, K.
    expand : int
        ``d_inner / embed_dim``.
    dt_rank : int, optional
        Rank of the step size's projection, R; None stands for ``ceil(embed_dim / 16)``, the
        original's ``"auto"``.
    num_classes : int
        Outputs of the head.
    norm_epsilon : float
        Added to the mean square (or the variance) before the root.
    rms_norm : bool
        RMSNorm if true, LayerNorm if false.
    if_abs_pos_embed : bool
        Whether a learned position embedding is added to the tokens.
    if_cls_token : bool
        Whether there is a class token, whose output the head reads.
    use_middle_cls_token : bool
        Class token in the middle of the sequence if true, first if false.
    final_pool_type : {"mean", "none"}
        Without a class token: the head reads the tokens' mean, or the last token.
    if_divide_out : bool
        Whether the sum of both directions is halved.

    Raises
    ------
    ConfigError
        If a value has the wrong type, is out of range, or no patch fits into the picture.
    """

    img_size: tuple[int, int] = (224, 224)
    patch_size: int = 16
    stride: int = 16
    depth: int = 24
    embed_dim: int = 192
    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    dt_rank: int | None = None
    num_classes: int = 1000
    norm_epsilon: float = 1e-5
    rms_norm: bool = True
    if_abs_pos_embed: bool = True
    if_cls_token: bool = True
    use_middle_cls_token: bool = True
    final_pool_type: str = "mean"
    if_divide_out: bool = True

    def __post_init__(self) -> None:
        sides = self.img_size
        if not (isinstance(sides, tuple) and len(sides) == 2):
            raise ConfigError(f"img_size is {sides!r}; expected (height, width), two whole numbers")
        for side in sides:
            _check_count("img_size", side, _LARGEST_SIDE)
        if self.dt_rank is None:
            _check_count("embed_dim", self.embed_dim, _LIMITS["embed_dim"])
            object.__setattr__(self, "dt_rank", math.ceil(self.embed_dim / 16))
        for name, limit in _LIMITS.items():
            _check_count(name, getattr(self, name), limit)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "bool" and not isinstance(value, bool):
                raise ConfigError(f"{field.name} is {value!r}; expected true or false")
        epsilon = self.norm_epsilon
        if not (isinstance(epsilon, float) and 0.0 < epsilon < 1.0):
            raise ConfigError(f"norm_epsilon is {epsilon!r}; expected a number between 0 and 1")
        if self.final_pool_type not in POOL_TYPES:
            raise ConfigError(
                f"final_pool_type is {self.final_pool_type!r}; expected one of {POOL_TYPES}"
            )
        if min(sides) < self.patch_size:
            raise ConfigError(
                f"img_size is {sides[0]}x{sides[1]} with patch_size {self.patch_size}; "
                "expected at least one whole patch each way"
            )
        if self.num_patches > _MOST_PATCHES:
            raise ConfigError(
                f"img_size {sides[0]}x{sides[1]} and stride {self.stride} make {self.num_patches} "
                f"patches; expected at most {_MOST_PATCHES}"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VimConfig:
        """Build a configuration from a complete mapping, as :meth:`to_dict` gives it.

        Raises
        ------
        ConfigError
            If a field is missing or unknown, or a value is not allowed.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        for name in sorted(names - set(values)):
            raise ConfigError(f"the configuration lacks {name}")
        for name in sorted(set(values) - names):
            raise ConfigError(f"the configuration has an unknown field {name!r}")
        values = dict(values)
        if isinstance(values["img_size"], list):  # JSON has no tuples
            values["img_size"] = tuple(values["img_size"])
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Every field by name, ready for JSON."""
        return {**dataclasses.asdict(self), "img_size": list(self.img_size)}

    @property
    def d_inner(self) -> int:
        """Channels inside a mixer, ``expand * embed_dim``."""
        return self.expand * self.embed_dim

    @property
    def grid_size(self) -> tuple[int, int]:
        """Patches down and across."""
        height, width = self.img_size
        return (
            (height - self.patch_size) // self.stride + 1,
            (width - self.patch_size) // self.stride + 1,
        )

    @property
    def num_patches(self) -> int:
        """Number of patches, M."""
        rows, columns = self.grid_size
        return rows * columns

    @property
    def num_tokens(self) -> int:
        """Length of the sequence, L: the patches and the class token."""
        return self.num_patches + int(self.if_cls_token)

    @property
    def token_position(self) -> int | None:
        """Index of the class token in the sequence, None without one."""
        if not self.if_cls_token:
            return None
        return self.num_patches // 2 if self.use_middle_cls_token else 0

    @property
    def num_parameters(self) -> int:
        """Number of weights, in all tensors together."""
        return sum(math.prod(shape) for shape in self.parameter_shapes().values())

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the network, as in the PyTorch state dict."""
        shapes: dict[str, tuple[int, ...]] = {}
        embed_dim = self.embed_dim
        if self.if_cls_token:
            shapes["cls_token"] = (1, 1, embed_dim)
        if self.if_abs_pos_embed:
            shapes["pos_embed"] = (1, self.num_tokens, embed_dim)
        patch = (CHANNELS, self.patch_size, self.patch_size)
        shapes["patch_embed.proj.weight"] = (embed_dim, *patch)
        shapes["patch_embed.proj.bias"] = (embed_dim,)
        for index in range(self.depth):
            for name, shape in self._mixer_shapes().items():
                shapes[f"layers.{index}.mixer.{name}"] = shape
            shapes |= self._norm_shapes(f"layers.{index}.norm")
        shapes |= self._norm_shapes("norm_f")
        shapes["head.weight"] = (self.num_classes, embed_dim)
        shapes["head.bias"] = (self.num_classes,)
        return shapes

    def _mixer_shapes(self) -> dict[str, tuple[int, ...]]:
        d_inner, dt_rank = self.d_inner, self.dt_rank
        assert dt_rank is not None  # set in __post_init__
        shapes: dict[str, tuple[int, ...]] = {"in_proj.weight": (2 * d_inner, self.embed_dim)}
        for suffix in ("", "_b"):  # the forward and the backward direction
            shapes[f"conv1d{suffix}.weight"] = (d_inner, 1, self.d_conv)
            shapes[f"conv1d{suffix}.bias"] = (d_inner,)
            shapes[f"x_proj{suffix}.weight"] = (dt_rank + 2 * self.d_state, d_inner)
            shapes[f"dt_proj{suffix}.weight"] = (d_inner, dt_rank)
            shapes[f"dt_proj{suffix}.bias"] = (d_inner,)
            shapes[f"A{suffix}_log"] = (d_inner, self.d_state)
            shapes[f"D{suffix}"] = (d_inner,)
        shapes["out_proj.weight"] = (self.embed_dim, d_inner)
        return shapes

    def _norm_shapes(self, prefix: str) -> dict[str, tuple[int, ...]]:
        names = ["weight"] if self.rms_norm else ["weight", "bias"]
        return {f"{prefix}.{name}": (self.embed_dim,) for name in names}


VIM_TINY = VimConfig()
VIM_SMALL = VimConfig(embed_dim=384)
VIM_BASE = VimConfig(embed_dim=768)
