"""The configuration of a VMamba: sizes and options, checked, and what follows from them.

The original is ``VSSM`` in ``classification/models/vmamba.py`` of MzeroMiko/VMamba. A field that
has none of its argument's names says what tensors show: the original's ``forward_type``, for one,
names the day of the code, and all that it changes in a published network is the gate.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from numbers import Real
from typing import Any, cast

from vimnp.counts import checked_count
from vimnp.errors import ConfigError
from vimnp.images.sizes import MOST_CHANNELS, MOST_PIXELS
from vimnp.ops.limits import MAX_D_STATE
from vimnp.weights.family import Configuration

STAGES = 4
DIRECTIONS = 4

PATCH_EMBEDS = ("v1", "v2")
DOWNSAMPLES = ("v1", "v2", "v3")
DOWNSAMPLE_PADS = ("zeros", "crop")

PerStage = tuple[int, ...]
"""A number for each stage."""

Grid = tuple[int, int]
"""Tokens down and across."""

# Bounds far beyond any VMamba: a damaged file then fails on a number that it names, before
# anything is computed or allocated from it.
_MOST = {"dims": 1 << 14, "depths": 512, "d_inner": 1 << 16, "dt_rank": 1 << 14}
_LARGEST_SIDE = 1 << 14
_LARGEST_MLP_RATIO = 64
_MOST_CLASSES = 1_000_000

# Factors within their bounds make products without. A pass keeps some fifteen arrays (network.py,
# program.py), each of at most so many float32.
_MOST_NUMBERS = 3 << 26

_FOLLOWS = cast("PerStage", None)  # sizes that follow from others: numbers once made


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class VMambaConfig(Configuration):
    """What a VMamba is made of. The defaults are those of the vanilla VMamba-T.

    Parameters
    ----------
    dims : tuple of int
        Channels of a token in each of the four stages, C.
    depths : tuple of int
        Blocks of each stage.
    d_inner : tuple of int, optional
        Channels inside each stage's cross-scan blocks, D, by default ``2 * dims``: the original's
        ``ssm_ratio * dims``.
    dt_rank : tuple of int, optional
        Rank of each stage's projection of the step size, R, by default ``ceil(dims / 16)``: the
        original's ``"auto"``.
    d_state : int
        States per channel of the selective scan, N.
    gated : bool
        Whether in_proj gives z as well, by which the scan's output is gated. The original has no
        gate where its ``forward_type`` ends in "noz".
    mlp_ratio : float
        ``mlp_channels / dims``, where a block has an MLP; what is left of a channel is dropped. 0
        stands for blocks without one.
    conv_bias : bool
        Whether the depthwise convolutions have a bias.
    patch_embed : {"v1", "v2"}
        The stem: one convolution of 4x4 pixels, or two of 3x3 with stride 2.
    downsample : {"v1", "v2", "v3"}
        Between two stages: patch merging, a convolution of 2x2 tokens, or one of 3x3 with stride 2.
    downsample_pad : {"zeros", "crop"}
        What patch merging does with an odd number of rows or columns: it adds one of zeros, as the
        original does, or drops the last one, as the original did before 2024-01-28 and as networks
        that have its code from then do.
    out_norms : bool
        Whether the weights are a detector's or segmenter's backbone: each stage's output then has
        a norm of its own, and there is no classifier.
    num_classes : int
        Outputs of the head; 0 for a network without one, which gives the features.
    channels : int
        Channels of a picture: 3 of RGB.
    img_size : tuple of int
        Height and width of the input in pixels. No tensor depends on it.
    norm_epsilon : float
        Added to the variance before the root; from 0 to below 1.

    Raises
    ------
    ConfigError
        If a value has the wrong type or is out of range, two exclude each other, or a stage would
        have no tokens of so small a picture.
    """

    dims: PerStage = (96, 192, 384, 768)
    depths: PerStage = (2, 2, 9, 2)
    d_inner: PerStage = _FOLLOWS
    dt_rank: PerStage = _FOLLOWS
    d_state: int = 16
    gated: bool = True
    mlp_ratio: float = 0.0
    conv_bias: bool = True
    patch_embed: str = "v1"
    downsample: str = "v1"
    downsample_pad: str = "zeros"
    out_norms: bool = False
    num_classes: int = 1000
    channels: int = 3
    img_size: tuple[int, int] = (224, 224)
    norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        self._check_sizes()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "bool" and not isinstance(value, bool):
                raise ConfigError(f"{field.name} is {value!r}; expected true or false")
        for name, choices in (
            ("patch_embed", PATCH_EMBEDS),
            ("downsample", DOWNSAMPLES),
            ("downsample_pad", DOWNSAMPLE_PADS),
        ):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected one of {choices}")
        object.__setattr__(self, "norm_epsilon", _checked_epsilon(self.norm_epsilon))
        object.__setattr__(self, "mlp_ratio", _checked_mlp_ratio(self.mlp_ratio, self.dims))
        self._check_combinations()
        self._check_grids()
        self._check_memory()

    def _check_sizes(self) -> None:
        """Put every size as whole numbers, and those that follow from others where none are given.

        JSON has them in lists.
        """
        stages = self._count_stages()
        for name, count, most in (
            ("dims", stages, _MOST["dims"]),
            ("img_size", 2, _LARGEST_SIDE),
        ):
            numbers = checked_numbers(name, getattr(self, name), count, most)
            object.__setattr__(self, name, numbers)
        if self.d_inner is None:
            object.__setattr__(self, "d_inner", tuple(2 * dim for dim in self.op_dims))
        if self.dt_rank is None:
            object.__setattr__(self, "dt_rank", tuple(math.ceil(d / 16) for d in self.op_dims))
        for name in ("depths", "d_inner", "dt_rank"):
            numbers = checked_numbers(name, getattr(self, name), stages, _MOST[name])
            object.__setattr__(self, name, numbers)
        for name, most, least in (
            ("d_state", MAX_D_STATE, 1),
            ("channels", MOST_CHANNELS, 1),
            ("num_classes", _MOST_CLASSES, 0),
        ):
            count = checked_count(name, getattr(self, name), most, least=least)
            object.__setattr__(self, name, count)

    def _count_stages(self) -> int:
        """How many stages there must be."""
        return STAGES

    def _check_combinations(self) -> None:
        if self.downsample_pad == "crop" and self.downsample != "v1":
            raise ConfigError(
                f"downsample_pad is 'crop' and downsample {self.downsample!r}, whose convolution "
                "says itself what becomes of an odd row; expected 'zeros', or downsample 'v1'"
            )
        if self.out_norms and self.num_classes:
            raise ConfigError(
                f"num_classes is {self.num_classes} in a network with out_norms, which has no "
                "classifier; expected 0"
            )
        if self.patch_embed == "v2" and self.dims[0] < 2:
            raise ConfigError(
                f"dims begins with {self.dims[0]} in a network with patch_embed 'v2', whose first "
                "convolution has half as many channels; expected 2 or more"
            )

    def _check_grids(self) -> None:
        """Refuse a picture of which a stage would have no tokens."""
        if min(self.grids[-1]) < 1:
            height, width = self.img_size
            least = next(side for side in range(1, _LARGEST_SIDE) if self._grid_sides(side)[-1])
            raise ConfigError(
                f"img_size is {height}x{width}, of which the network's stem and downsampling "
                f"leave nothing; expected {least} pixels or more each way"
            )

    def _check_memory(self) -> None:
        """Refuse a network whose pass would fill the memory, though every size is in bounds."""
        height, width = self.img_size
        if height * width > MOST_PIXELS:
            raise ConfigError(
                f"img_size is {height}x{width}; expected at most {MOST_PIXELS} pixels"
            )
        self._check_array("img_size", height * width, "channels", self.channels)
        stem = math.prod(self.half_grid) if self.patch_embed == "v2" else 0
        self._check_array("the stem's tokens", stem, "dims", self.dims[0] // 2)
        for stage, (rows, columns) in enumerate(self.grids):
            name = f"the tokens of stage {stage}"
            for width_name, channels in (
                ("dims", self.dims[stage]),
                ("d_inner", self.d_inner[stage]),
                ("mlp_ratio * dims", self.mlp_channels[stage]),
                ("dt_rank + 2 * d_state", DIRECTIONS * self.dbc_channels(stage)),
            ):
                self._check_array(name, rows * columns, width_name, channels)

    def _check_array(self, rows: str, number: int, columns: str, channels: int) -> None:
        if number * channels > _MOST_NUMBERS:
            height, width = self.img_size
            raise ConfigError(
                f"img_size is {height}x{width}, and {rows} are {number} with {channels} numbers "
                f"each by {columns}; expected at most {_MOST_NUMBERS} together: a smaller "
                f"img_size or {columns}"
            )

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Tokens down and across in each stage."""
        height, width = self.img_size
        return tuple(zip(self._grid_sides(height), self._grid_sides(width), strict=True))

    @property
    def half_grid(self) -> Grid:
        """Tokens down and across between the two convolutions of patch_embed "v2"."""
        height, width = self.img_size
        return -(-height // 2), -(-width // 2)

    @property
    def num_tokens(self) -> int:
        """Tokens of the first stage: each of the others has a quarter of those before."""
        return math.prod(self.grids[0])

    def _grid_sides(self, pixels: int) -> PerStage:
        """Tokens along a side in each stage."""
        first = pixels // 4 if self.patch_embed == "v1" else -(-pixels // 4)
        rounds_up = self.downsample == "v3" or (
            self.downsample == "v1" and self.downsample_pad == "zeros"
        )
        sides = [first]
        for _ in range(self.num_stages - 1):
            sides.append((sides[-1] + rounds_up) // 2)
        return tuple(sides)

    @property
    def num_stages(self) -> int:
        """How many stages there are: four, but in networks that stand on this one."""
        return len(self.dims)

    @property
    def op_dims(self) -> PerStage:
        """The last so many channels of a stage's tokens go through its cross-scans: here all."""
        return self.dims

    @property
    def mlp_channels(self) -> PerStage:
        """Channels inside each stage's MLPs; 0 where there is none."""
        return tuple(int(self.mlp_ratio * dim) for dim in self.dims)

    @property
    def num_features(self) -> int:
        """Channels of the features: what the head reads."""
        return self.dims[-1]

    def dbc_channels(self, stage: int) -> int:
        """Count what x_proj makes for a direction of each token of a stage: dt, B and C.

        Parameters
        ----------
        stage : int
            From 0 on.

        Returns
        -------
        int
            R + 2N channels.
        """
        return self.dt_rank[stage] + 2 * self.d_state


def checked_numbers(name: str, numbers: Any, count: int, most: int) -> tuple[int, ...]:
    """So many whole numbers, which may be in a list or in an array."""
    is_listed = isinstance(numbers, Iterable) and not isinstance(numbers, str | bytes | dict)
    found = list(numbers) if is_listed else []
    if len(found) != count:
        expected = "(height, width), two" if count == 2 else f"{count}"
        raise ConfigError(f"{name} is {numbers!r}; expected {expected} whole numbers")
    return tuple(checked_count(name, number, most) for number in found)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _checked_epsilon(epsilon: Any) -> float:
    if not _is_number(epsilon) or not 0.0 <= epsilon < 1.0:
        raise ConfigError(f"norm_epsilon is {epsilon!r}; expected a number from 0 to below 1")
    return float(epsilon)


def _checked_mlp_ratio(ratio: Any, dims: PerStage) -> float:
    """0, or a number that leaves every MLP at least one channel."""
    if not _is_number(ratio) or not 0 <= ratio <= _LARGEST_MLP_RATIO:
        raise ConfigError(
            f"mlp_ratio is {ratio!r}; expected a number from 0 to {_LARGEST_MLP_RATIO}"
        )
    if ratio and int(ratio * min(dims)) < 1:
        raise ConfigError(
            f"mlp_ratio is {ratio!r}, which makes less than a channel of dims {dims}; expected a "
            "larger one, or 0 for blocks without an MLP"
        )
    return float(ratio)
