"""The configuration of a Vision Mamba: sizes and options, checked, and what follows from them.

Field names are those of the original's constructors (``VisionMamba`` in ``vim/models_mamba.py``
and ``Mamba`` in ``mamba_ssm/modules/mamba_simple.py`` of hustvl/Vim).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from numbers import Real
from typing import Any, ClassVar

from vimnp.counts import checked_count
from vimnp.errors import ConfigError
from vimnp.images.sizes import MOST_CHANNELS, MOST_PIXELS
from vimnp.ops.limits import MAX_D_CONV, MAX_D_STATE
from vimnp.weights.family import Configuration

CHANNELS = 3  # of RGB pictures, which every published network takes

POOL_TYPES = ("none", "mean", "max", "all")
BIMAMBA_TYPES = ("none", "v1", "v2")

# Bounds far beyond any Vision Mamba: a damaged file then fails on a number that it names, before
# anything is computed or allocated from it.
_LIMITS = {
    "channels": MOST_CHANNELS,
    "stride": 1024,
    "depth": 512,
    "embed_dim": 16384,
    "d_state": MAX_D_STATE,
    "d_conv": MAX_D_CONV,
    "dt_rank": 16384,
    "pt_hw_seq_len": 16384,
}
_LARGEST_SIDE, _LARGEST_PATCH = 16384, 1024
_LARGEST_EXPAND = 64
_MOST_CLASSES = 1_000_000
_MOST_PATCHES = 1 << 18  # 8192x8192 pixels in patches of 16x16

# Factors within their bounds make products without. A pass keeps at most fifteen arrays
# (network.py, program.py), each of at most so many float32: Vim-base at 2048x2048 and stride 8
# has half of that. It takes 12 GB where all are largest, and 7 where those as wide as mixers are.
_MOST_NUMBERS = 3 << 26  # the most patches, of 16x16 pixels: 0.8 GB


def _checked_sides(name: str, sides: Any, most: int) -> tuple[int, int]:
    """Height and width, which may be in a list, as JSON has them, or in an array."""
    found = (
        list(sides) if isinstance(sides, Iterable) and not isinstance(sides, str | bytes) else []
    )
    if len(found) != 2:
        raise ConfigError(f"{name} is {sides!r}; expected (height, width), two whole numbers")
    height, width = (checked_count(name, side, most) for side in found)
    return height, width


def _checked_patch(size: Any) -> int | tuple[int, int]:
    """A square's side, or height and width of what is none."""
    if not isinstance(size, Iterable) or isinstance(size, str | bytes):
        return checked_count("patch_size", size, _LARGEST_PATCH)
    height, width = _checked_sides("patch_size", size, _LARGEST_PATCH)
    return height if height == width else (height, width)


def _checked_expand(expand: Any, embed_dim: int) -> int | float:
    """A number that leaves a mixer at least one channel; a whole one is an int."""
    is_number = isinstance(expand, Real) and not isinstance(expand, bool)
    if not is_number or not 0 < expand <= _LARGEST_EXPAND or int(expand * embed_dim) < 1:
        raise ConfigError(
            f"expand is {expand!r}; expected a number up to {_LARGEST_EXPAND} by which the "
            f"embed_dim of {embed_dim} makes a channel or more"
        )
    return int(expand) if expand == int(expand) else float(expand)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class VimConfig(Configuration):
    """What a Vision Mamba is made of. The defaults are those of Vim-tiny.

    Parameters
    ----------
    img_size : tuple of int
        Height and width of the input in pixels.
    channels : int
        Channels of a picture: 3 of RGB.
    patch_size : int or tuple of int
        Side of the square patches in pixels, or height and width.
    stride : int
        Distance between two patches in pixels, down as across.
    depth : int
        Number of layers.
    embed_dim : int
        Channels of a token between the layers, E.
    d_state : int
        States per channel of the selective scan, N.
    d_conv : int
        Taps of the causal convolution, K.
    expand : int or float
        ``d_inner / embed_dim``; what is left of a channel is dropped.
    dt_rank : int, optional
        Rank of the step size's projection, R; None stands for ``ceil(embed_dim / 16)``, the
        original's ``"auto"``.
    num_classes : int
        Outputs of the head; 0 for a backbone, which has none and gives the features.
    norm_epsilon : float
        Added to the mean square (or the variance) before the root; from 0 to 1.
    rms_norm : bool
        RMSNorm if true, LayerNorm if false.
    if_abs_pos_embed : bool
        Whether a learned position embedding is added to the tokens.
    if_cls_token : bool
        Whether there is a class token, whose output the head reads.
    use_double_cls_token : bool
        Two class tokens, first and last; the head reads the mean of both.
    use_middle_cls_token : bool
        A single class token in the middle of the sequence if true, first if false.
    final_pool_type : {"none", "mean", "max", "all"}
        Without a class token: the head reads the last token ("none") or the mean of all ("mean"),
        or it reads every token, and the logits are the largest of each class ("max") or those of
        every token ("all").
    bimamba_type : {"none", "v1", "v2"}
        A mixer reads the sequence forward only ("none"); in both directions with one set of
        parameters, except A ("v1"); or in both with a set for each ("v2").
    if_divide_out : bool
        Whether the sum of both directions is halved, in "v2".
    if_bidirectional : bool
        Two layers at a time read the same sequence, the second one backwards. Both outputs are
        added up, and so are both residuals, which are the same: the residual doubles with every
        pair. The last of an odd number of layers is idle.
    if_rope, if_rope_residual : bool
        Whether every layer (every two, if_bidirectional) rotates its input, by an angle for each
        patch and pair of channels, and whether it rotates the residual stream as well.
    pt_hw_seq_len : int
        Positions along a side that the angles are spread over, whatever the number of patches.
    if_layer_scale : bool
        Whether each mixer's output is multiplied by a weight for each channel, ``gamma``; the
        original's ``init_layer_scale`` is their first value.
    conv_bias : bool
        Of the original's ``ssm_cfg``: whether the convolutions have a bias.
    bias : bool
        Of the original's ``ssm_cfg``: whether in_proj and out_proj have a bias.
    use_fast_path : bool
        Of the original's ``ssm_cfg``. Without it, a mixer of any type reads the sequence forward
        only, and nothing is halved: what the weights have for the backward direction lies idle.
    flip_img_sequences_ratio : float
        The share of passes in which the original reverses the sequence of tokens before the first
        layer: 0 or 1, since what lies between leaves it to chance. The head then reads the
        position where the class token would have stood.

    Raises
    ------
    ConfigError
        If a value has the wrong type or is out of range, two exclude each other, or no patch fits
        into the picture.
    """

    later_fields: ClassVar = frozenset(
        {"use_fast_path", "flip_img_sequences_ratio", "conv_bias", "bias", "channels"}
    )

    img_size: tuple[int, int] = (224, 224)
    channels: int = CHANNELS
    patch_size: int | tuple[int, int] = 16
    stride: int = 16
    depth: int = 24
    embed_dim: int = 192
    d_state: int = 16
    d_conv: int = 4
    expand: float = 2
    dt_rank: int | None = None
    num_classes: int = 1000
    norm_epsilon: float = 1e-5
    rms_norm: bool = True
    if_abs_pos_embed: bool = True
    if_cls_token: bool = True
    use_double_cls_token: bool = False
    use_middle_cls_token: bool = True
    final_pool_type: str = "mean"
    bimamba_type: str = "v2"
    if_divide_out: bool = True
    if_bidirectional: bool = False
    if_rope: bool = False
    if_rope_residual: bool = False
    pt_hw_seq_len: int = 14
    if_layer_scale: bool = False
    conv_bias: bool = True
    bias: bool = False
    use_fast_path: bool = True
    flip_img_sequences_ratio: float = 0.0

    def __post_init__(self) -> None:
        sides = _checked_sides("img_size", self.img_size, _LARGEST_SIDE)
        object.__setattr__(self, "img_size", sides)
        object.__setattr__(self, "patch_size", _checked_patch(self.patch_size))
        if self.dt_rank is None:
            embed_dim = checked_count("embed_dim", self.embed_dim, _LIMITS["embed_dim"])
            object.__setattr__(self, "dt_rank", math.ceil(embed_dim / 16))
        for name, limit in _LIMITS.items():
            object.__setattr__(self, name, checked_count(name, getattr(self, name), limit))
        classes = checked_count("num_classes", self.num_classes, _MOST_CLASSES, least=0)
        object.__setattr__(self, "num_classes", classes)
        object.__setattr__(self, "expand", _checked_expand(self.expand, self.embed_dim))
        for name, kind in VimConfig.__annotations__.items():
            if kind == "bool" and not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected true or false")
        epsilon = self.norm_epsilon
        if not (isinstance(epsilon, Real) and 0.0 <= epsilon < 1.0):
            raise ConfigError(f"norm_epsilon is {epsilon!r}; expected a number from 0 to below 1")
        object.__setattr__(self, "norm_epsilon", float(epsilon))
        ratio = self.flip_img_sequences_ratio
        if isinstance(ratio, bool) or not isinstance(ratio, Real) or ratio not in (0, 1):
            raise ConfigError(
                f"flip_img_sequences_ratio is {ratio!r}; expected 0 or 1, since any other ratio "
                "leaves it to chance which sequences are reversed"
            )
        object.__setattr__(self, "flip_img_sequences_ratio", float(ratio))
        for name, choices in (("final_pool_type", POOL_TYPES), ("bimamba_type", BIMAMBA_TYPES)):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected one of {choices}")
        self._check_combinations()
        self._check_patches()
        self._check_memory()

    def _check_combinations(self) -> None:
        """Refuse what the original could not run either, or where its answer means nothing."""
        if self.final_pool_type == "max" and self.if_cls_token:
            raise ConfigError(
                "final_pool_type is 'max' in a network with a class token, whose single row has no "
                "largest; expected another one, or if_cls_token false"
            )
        if self.if_rope and self.embed_dim % 4:
            raise ConfigError(
                f"embed_dim is {self.embed_dim} in a network with if_rope, which rotates pairs of "
                "channels by row and by column; expected a multiple of 4"
            )
        if self.if_rope and len(self.class_tokens) > 1:
            raise ConfigError(
                "use_double_cls_token is true in a network with if_rope, which leaves out only the "
                "first token; expected one of them"
            )
        if self.if_bidirectional and self.depth < 2:
            raise ConfigError(
                "depth is 1 in a network with if_bidirectional, which takes layers in pairs; "
                "expected 2 or more"
            )

    def _check_patches(self) -> None:
        (height, width), (patch_height, patch_width) = self.img_size, self.patch
        if height < patch_height or width < patch_width:
            raise ConfigError(
                f"img_size is {height}x{width} with patch_size {self.patch_size}; "
                "expected at least one whole patch each way"
            )
        if self.num_patches > _MOST_PATCHES:
            raise ConfigError(
                f"img_size {height}x{width} and stride {self.stride} make {self.num_patches} "
                f"patches; expected at most {_MOST_PATCHES}"
            )

    def _check_memory(self) -> None:
        """Refuse a network whose pass would fill the memory, though every size is in bounds."""
        height, width = self.img_size
        if height * width > MOST_PIXELS:
            raise ConfigError(
                f"img_size is {height}x{width}; expected at most {MOST_PIXELS} pixels"
            )
        assert self.dt_rank is not None  # set in __post_init__
        x_dbl = self.dt_rank + 2 * self.d_state
        self._check_array(
            "patches", self.num_patches, "patch_size", self.channels * math.prod(self.patch)
        )
        self._check_array("tokens", self.num_tokens, "expand * embed_dim", self.d_inner)
        self._check_array("tokens", self.num_tokens, "dt_rank + 2 * d_state", x_dbl)
        if self.reads_every_token:
            self._check_array("tokens", self.num_tokens, "num_classes", self.num_classes)

    def _check_array(self, rows: str, number: int, columns: str, width: int) -> None:
        """Refuse an array of a pass that is too large, by the fields that make it so."""
        if number * width > _MOST_NUMBERS:
            height, picture_width = self.img_size
            raise ConfigError(
                f"img_size {height}x{picture_width} and stride {self.stride} make {number} {rows}, "
                f"with {width} numbers each by {columns}; expected at most {_MOST_NUMBERS} "
                f"together: a smaller img_size or {columns}, or a larger stride"
            )

    @property
    def d_inner(self) -> int:
        """Channels inside a mixer, ``expand * embed_dim``."""
        return int(self.expand * self.embed_dim)

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        size = self.patch_size
        return size if isinstance(size, tuple) else (size, size)

    @property
    def grid_size(self) -> tuple[int, int]:
        """Patches down and across."""
        (height, width), (patch_height, patch_width) = self.img_size, self.patch
        return (
            (height - patch_height) // self.stride + 1,
            (width - patch_width) // self.stride + 1,
        )

    @property
    def num_patches(self) -> int:
        """Number of patches, M."""
        rows, columns = self.grid_size
        return rows * columns

    @property
    def class_tokens(self) -> dict[str, int]:
        """Index among the tokens of each class token, by its name in the state dict, in order.

        This is the order of the picture, in which ``pos_embed`` has its rows.
        """
        if not self.if_cls_token:
            return {}
        if self.use_double_cls_token:
            return {"cls_token_head": 0, "cls_token_tail": self.num_patches + 1}
        return {"cls_token": self.num_patches // 2 if self.use_middle_cls_token else 0}

    @property
    def num_tokens(self) -> int:
        """Length of the sequence, L: the patches and the class tokens."""
        return self.num_patches + len(self.class_tokens)

    @property
    def num_active_layers(self) -> int:
        """Layers that the tokens pass through: all, or with if_bidirectional those in pairs."""
        return self.depth - self.depth % 2 if self.if_bidirectional else self.depth

    @property
    def halves_directions(self) -> bool:
        """Whether a mixer halves the sum of its directions: ``if_divide_out`` is for "v2" alone."""
        return self.if_divide_out and self.bimamba_type == "v2" and self.use_fast_path

    @property
    def num_directions(self) -> int:
        """Scans of a mixer."""
        return 2 if self.bimamba_type != "none" and self.use_fast_path else 1

    @property
    def flips_sequence(self) -> bool:
        """Whether the tokens' sequence is the reverse of the picture's order."""
        return self.flip_img_sequences_ratio == 1

    @property
    def pooled_tokens(self) -> tuple[int, ...] | None:
        """Indices in the sequence of the tokens whose mean the head reads; None where of all."""
        if self.if_cls_token:
            return tuple(self.class_tokens.values())
        return (self.num_tokens - 1,) if self.final_pool_type == "none" else None

    @property
    def reads_every_token(self) -> bool:
        """Whether the head reads each token, and not their mean or one of them."""
        return not self.if_cls_token and self.final_pool_type in ("max", "all")

    @property
    def direction_suffixes(self) -> tuple[str, ...]:
        """What the parameters' names end in for each direction that uses a set of its own."""
        return self.stored_suffixes[: self.num_directions]

    @property
    def stored_suffixes(self) -> tuple[str, ...]:
        """The same for the sets that the weights have, in use or idle."""
        return ("", "_b") if self.bimamba_type == "v2" else ("",)
