"""VMamba as a program for the compiled backend: the steps of ``network.py``, in its order.

Threads split channels from in_proj through the depthwise convolution, and in the scans; they split
tokens where all channels of a token meet: in x_proj, and from out_norm through the MLP to what the
next block begins with. Where tokens are few, threads split the channels of the products there, too.
Letters as in ``network.py``.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from vimnp.engine.builder import Builder
from vimnp.engine.costs import Cost
from vimnp.engine.packing import PackedMatrix, PackMatrix, sizes_only
from vimnp.engine.program import NO_LAYER, Array, Filter, Program, ScanDirection
from vimnp.models.parameters import Norm
from vimnp.models.precision import Precision, read_sizes
from vimnp.models.vmamba import parameters
from vimnp.models.vmamba.config import DIRECTIONS, VMambaConfig
from vimnp.models.vmamba.outputs import (
    Output,
    Stages,
    last_stage,
    places,
    shape_of,
    shape_of_stage,
)
from vimnp.ops.walks import cross_walks
from vimnp.weights.family import ReadTensor

Block: TypeAlias = parameters.Block[PackedMatrix]
Convolution: TypeAlias = parameters.Convolution[PackedMatrix]
CrossScan: TypeAlias = parameters.CrossScan[PackedMatrix]
Merging: TypeAlias = parameters.Merging[PackedMatrix]
Mlp: TypeAlias = parameters.Mlp[PackedMatrix]
Parameters: TypeAlias = parameters.Parameters[PackedMatrix]

BLOCK = 102
"""Tokens that a step hands on to the next one of its stage at a time."""

FEW_TOKENS = 64
"""Below it a matrix takes longer to read than to multiply with: each thread reads a part of it."""


def build(
    config: VMambaConfig, parameters: Parameters, output: Output, *, apart: bool = False
) -> Program:
    """Write the network down as a program.

    Parameters
    ----------
    config : VMambaConfig
    parameters : Parameters
    output : Output
        What is asked for of a picture; see :mod:`vimnp.models.vmamba.outputs`.
    apart : bool
        Leave dt_proj by itself, as the NumPy network does: what its costs are counted by.
    """
    return VMambaProgram(config, parameters, output, apart).program()


def operation_costs(
    config: VMambaConfig, backend: str = "numpy", precision: Precision = "float32"
) -> dict[str, Cost]:
    """Costs of a picture's logits, all blocks together, by the operations' names.

    Parameters
    ----------
    config : VMambaConfig
    backend : {"numpy", "native"}
        The native one has dt_proj in its scan.
    precision : {"float32", "int8"}
        In int8 the large matrices take a quarter of the bytes.
    """
    return costs_of(config, parameters.load_parameters, build, backend, precision)


def costs_of(
    config: VMambaConfig,
    load: Callable[[Any, ReadTensor, PackMatrix[PackedMatrix]], Any],
    build: Callable[..., Program],
    backend: str,
    precision: Precision,
) -> dict[str, Cost]:
    """The same of any network that a program is built for as here."""
    weights = load(config, read_sizes(precision, config), sizes_only)
    return build(config, weights, "logits", apart=backend == "numpy").costs


class Memory:
    """What the stages' arrays lie in, one stage's after the other's."""

    def __init__(self, b: Builder, config: VMambaConfig, apart: bool) -> None:
        lengths = [math.prod(grid) for grid in config.grids]

        def space(channels: tuple[int, ...], least: int = 0) -> Array:
            floats = max(length * c for length, c in zip(lengths, channels, strict=True))
            return b.array(1, max(floats, least))

        dims, d_inner = config.dims, config.d_inner
        self.residuals = space(dims), space(dims)  # of a stage, and of the next
        self.normed = space(dims)
        self.xz = space(tuple((1 + config.gated) * channels for channels in d_inner))
        self.u = space(d_inner)
        stages = range(config.num_stages)
        self.dbc = space(tuple(DIRECTIONS * config.dbc_channels(stage) for stage in stages))
        # Of the MLPs; before that the stem's tokens, and between stages squares of tokens.
        self.wide = space(config.mlp_channels, max(_half(config), _most_squares(config)))
        self.deltas = [space(d_inner) for _ in range(DIRECTIONS * apart)]


def _half(config: VMambaConfig) -> int:
    """Floats of the tokens between the two convolutions of patch_embed "v2"."""
    return math.prod(config.half_grid) * (config.dims[0] // 2) * (config.patch_embed == "v2")


def _most_squares(config: VMambaConfig) -> int:
    """Floats of what patch merging gathers, at the most."""
    if config.downsample != "v1":
        return 0
    return max(
        math.prod(grid) * 4 * dim for grid, dim in zip(config.grids[1:], config.dims, strict=False)
    )


class StageArrays:
    """What a stage's steps write."""

    def __init__(self, memory: Memory, config: VMambaConfig, stage: int) -> None:
        self.grid, self.d_inner = config.grids[stage], config.d_inner[stage]
        self.length, dim = shape_of_stage(config, stage)
        self.is_short = self.length < FEW_TOKENS
        self.residual = memory.residuals[stage % 2].reshaped(self.length, dim)
        scanned = config.op_dims[stage]
        self.scanned = self.residual.columns(dim - scanned, dim)
        self.normed = memory.normed.reshaped(self.length, scanned)
        self.xz = memory.xz.reshaped(self.length, (1 + config.gated) * self.d_inner)
        self.x = self.xz.columns(0, self.d_inner)
        self.z = self.xz.columns(self.d_inner, self.xz.channels)
        self.y = self.x  # which is read before the scan writes
        self.u = memory.u.reshaped(self.length, self.d_inner)
        self.dbc = memory.dbc.reshaped(self.length, DIRECTIONS * config.dbc_channels(stage))
        self.mlp = memory.wide.reshaped(self.length, config.mlp_channels[stage])
        self.deltas = [delta.reshaped(self.length, self.d_inner) for delta in memory.deltas]
        self.quantised: Array | None = None  # the norm, where in_proj multiplies whole numbers


class VMambaProgram:
    """The arrays of a program, and its steps."""

    def __init__(
        self, config: VMambaConfig, parameters: Parameters, output: Output, apart: bool
    ) -> None:
        self.config, self.parameters = config, parameters
        self.output, self.apart = output, apart
        self.b = Builder((config.channels, *config.img_size), self.shape_of_out())
        self.memory = Memory(self.b, config, apart)
        self.stages = [
            StageArrays(self.memory, config, stage) for stage in range(config.num_stages)
        ]
        self.layer = 0
        self.kept = self.maps(output) if isinstance(output, Stages) else {}

    def shape_of_out(self) -> tuple[int, int]:
        """Rows and channels of what is asked for."""
        (channels,) = shape_of(self.config, self.output)
        return 1, channels

    def maps(self, asked: Stages) -> dict[int, Array]:
        """Where the tokens of some stages go, (L, C) each: one stage after another."""
        return {
            stage: self.b.out.columns(begin, end).reshaped(*shape_of_stage(self.config, stage))
            for stage, begin, end in places(self.config, asked)
        }

    def program(self) -> Program:
        """The picture -> what is asked for."""
        last = last_stage(self.config, self.output)
        self.patch_embed()
        for index in range(last + 1):
            blocks = self.parameters.stages[index].blocks
            self.blocks(self.stages[index], blocks, functools.partial(self.end_stage, index))
            if index < last:
                self.downsample(index)
        if self.output in ("logits", "features"):
            self.finish()
        return self.b.program()

    def blocks(self, s: StageArrays, blocks: Sequence[Block], end: Callable[[], None]) -> None:
        """Some blocks; what `end` writes down has the last one's last stage with it."""
        ends: list[Callable[[], None]] = [
            functools.partial(self.begin_block, s, after) for after in blocks[1:]
        ]
        for block, end_block in zip(blocks, [*ends, end], strict=True):
            self.b.layer, self.layer = self.layer, self.layer + 1
            self.block(s, block, end_block)

    def tokens(self, s: StageArrays) -> contextlib.AbstractContextManager[None]:
        """Steps of which threads do some tokens each, or if these are few, steps by themselves."""
        return contextlib.nullcontext() if s.is_short else self.b.rows(s.length, block=BLOCK)

    def step(
        self, s: StageArrays, out: Array | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """A step of those: a product, of whose `out` threads may do some columns, or another."""
        if self.b.is_within_stage:
            return contextlib.nullcontext()
        return self.b.rows(s.length) if out is None else self.b.columns(out.channels, s.length)

    def norm(self, x: Array, out: Array, norm: Norm, gate: Array | None = None) -> None:
        """The norm of x, which may be `out`."""
        self.b.norm(x, out, norm.weight, norm.bias, norm.epsilon, gate=gate)

    # ---- Stem and downsampling ------------------------------------------------------------------

    def patch_embed(self) -> None:
        """A picture -> the first stage's tokens, and their norm."""
        b, s = self.b, self.stages[0]
        first, *second = self.parameters.stem
        if not second:  # v1: a convolution of 4x4 pixels
            with b.rows(s.length, block=BLOCK):
                self.embed(s.residual, first, 4, 4, 0)
                self.norm(s.residual, s.residual, first.norm)
                self.begin_stage(0)
            return
        # v2: two of 3x3 with a stride of 2, and a GELU between them
        grid = self.config.half_grid
        half = self.memory.wide.reshaped(math.prod(grid), self.config.dims[0] // 2)
        with b.rows(half.rows, block=BLOCK):
            self.embed(half, first, 3, 2, 1)
            norm = first.norm
            b.norm(half, half, norm.weight, norm.bias, norm.epsilon, activation="gelu")
        with b.rows(s.length, block=BLOCK):
            self.convolve("embed", half, grid, second[0], 3, 1, s.residual)
            self.begin_stage(0)

    def embed(
        self, out: Array, convolution: Convolution, side: int, stride: int, padding: int
    ) -> None:
        """A convolution of pixels -> tokens."""
        self.b.embed(
            out,
            convolution.kernel,
            convolution.bias,
            np.arange(out.rows, dtype=np.intc),
            patch=(side, side),
            stride=stride,
            padding=padding,
        )

    def downsample(self, index: int) -> None:
        """A stage's tokens -> the next one's, of which there are a quarter, and their norm."""
        b, s, to = self.b, self.stages[index], self.stages[index + 1]
        downsample = self.parameters.stages[index].downsample
        assert downsample is not None  # between two stages there is one
        b.layer = NO_LAYER
        with b.rows(to.length, block=BLOCK):
            if isinstance(downsample, parameters.Merging):
                self.merge(s, downsample, to)
            else:
                side, padding = (2, 0) if self.config.downsample == "v2" else (3, 1)
                self.convolve(
                    "downsample", s.residual, s.grid, downsample, side, padding, to.residual
                )
            self.begin_stage(index + 1)

    def convolve(
        self,
        label: str,
        tokens: Array,
        grid: tuple[int, int],
        convolution: Convolution,
        side: int,
        padding: int,
        out: Array,
    ) -> None:
        """A convolution of tokens with a stride of 2, and its norm."""
        self.b.conv(
            label,
            tokens,
            convolution.kernel,
            out,
            grid=grid,
            kernel=(side, side),
            stride=2,
            padding=padding,
            bias=convolution.bias,
        )
        self.norm(out, out, convolution.norm)

    def merge(self, s: StageArrays, merging: Merging, to: StageArrays) -> None:
        """Patch merging: squares of four tokens, normed -> to.residual."""
        squares = self.memory.wide.reshaped(to.length, 4 * s.residual.channels)
        after = 1 if self.config.downsample_pad == "zeros" else 0  # used where a side is odd
        self.b.patches(
            s.residual,
            squares,
            grid=s.grid,
            kernel=(2, 2),
            stride=2,
            padding=(0, after),
            columns_first=True,
        )
        self.norm(squares, squares, merging.norm)
        self.b.product("downsample", squares, merging.reduction, to.residual)

    def begin_stage(self, index: int) -> None:
        """What a stage's first block begins with."""
        self.begin_block(self.stages[index], self.parameters.stages[index].blocks[0])

    # ---- A block --------------------------------------------------------------------------------

    def begin_block(self, s: StageArrays, block: Block) -> None:
        """The norm of what goes through its cross-scan."""
        with self.step(s):
            self.norm(s.scanned, s.normed, block.norm)
            in_proj = block.op.in_proj
            if in_proj.dtype == "int8_per_channel" and not self.apart:
                s.quantised = s.quantised or self.b.quantised(s.length, in_proj)
                self.b.quantise(s.normed, in_proj, s.quantised)

    def block(self, s: StageArrays, block: Block, end: Callable[[], None]) -> None:
        """Cross-scan and MLP, and in their last stage what follows."""
        self.cross_scan(s, block.op)
        with self.tokens(s):
            self.out_proj(s, block.op)
            if block.mlp is not None:
                self.mlp(s, block.mlp)
            end()

    def cross_scan(self, s: StageArrays, op: CrossScan) -> None:
        """SS2D up to its sum of directions: normed (L, C) -> y (L, D), and where gated z (L, D)."""
        b = self.b
        read = s.quantised or s.normed
        with b.columns(s.d_inner, s.length, block=BLOCK):
            b.product("in_proj", read, op.in_proj, s.xz)
            b.conv2d(s.x, Filter(op.conv_weight, op.conv_bias, s.u), grid=s.grid)
            if self.config.gated:
                b.product("in_proj", read, op.in_proj, s.xz, column=s.d_inner)
        self.directions(s, op)

    def directions(self, s: StageArrays, op: CrossScan) -> None:
        """u (L, D) -> y (L, D), the sum of four scans of it."""
        b = self.b
        with b.rows(s.length):
            b.product("x_proj", s.u, op.x_proj, s.dbc)
            for number, delta in enumerate(s.deltas):
                dt, _, _ = self.projected(s, number)
                b.product("dt_proj", dt, op.directions[number].dt_proj, delta)
        with b.columns(s.d_inner, s.length):
            self.scan(s, op)

    def projected(self, s: StageArrays, number: int) -> tuple[Array, Array, Array]:
        """What x_proj has made for a direction: dt (L, R), B and C (L, N)."""
        channels = s.dbc.channels // DIRECTIONS
        mine = s.dbc.columns(number * channels, (number + 1) * channels)
        states = self.config.d_state
        rank = channels - 2 * states
        return (
            mine.columns(0, rank),
            mine.columns(rank, rank + states),
            mine.columns(rank + states, channels),
        )

    def scan(self, s: StageArrays, op: CrossScan) -> None:
        """u, dt, B and C -> y (L, D), the sum of four directions, in which nothing is moved."""
        directions = []
        for number, walk in enumerate(cross_walks(*s.grid)):
            direction = op.directions[number]
            dt, B, C = self.projected(s, number)
            directions.append(
                ScanDirection(
                    u=s.u,
                    dt=None if self.apart else dt,
                    dt_proj=None if self.apart else direction.dt_proj,
                    delta=s.deltas[number] if self.apart else None,
                    B=B,
                    C=C,
                    z=None,
                    out=s.y,
                    delta_bias=direction.dt_bias,
                    A=direction.A,
                    D=None if number else op.D,  # the first one has that of all
                    walk=walk,
                )
            )
        self.b.scan(directions)

    def out_proj(self, s: StageArrays, op: CrossScan) -> None:
        """residual += (norm of y, gated) @ out_proj."""
        with self.step(s):
            self.norm(s.y, s.y, op.out_norm, s.z if self.config.gated else None)
        with self.step(s, s.residual):
            self.b.product("out_proj", s.y, op.out_proj, s.residual, add=s.residual)

    def mlp(self, s: StageArrays, mlp: Mlp) -> None:
        """residual += MLP of its norm."""
        b = self.b
        with self.step(s):
            self.norm(s.residual, s.normed, mlp.norm)
        with self.step(s, s.mlp):
            b.product("fc1", s.normed, mlp.fc1, s.mlp, bias=mlp.fc1_bias, activation="gelu")
        with self.step(s, s.residual):
            b.product("fc2", s.mlp, mlp.fc2, s.residual, add=s.residual, bias=mlp.fc2_bias)

    # ---- After a stage's last block -------------------------------------------------------------

    def end_stage(self, index: int) -> None:
        """A stage's tokens to the caller where they are asked for, or their norm to the pooling."""
        b, s, out_norm = self.b, self.stages[index], self.parameters.stages[index].out_norm
        b.layer = NO_LAYER
        if index in self.kept:
            with self.step(s):
                if out_norm is not None:
                    self.norm(s.residual, self.kept[index], out_norm)
                else:
                    b.copy("keep", s.residual, self.kept[index])
        elif index == self.config.num_stages - 1:
            self.end_last_stage(s)

    def end_last_stage(self, s: StageArrays) -> None:
        """The norm before the pooling, where there is one."""
        if self.parameters.norm is not None:
            with self.step(s):
                self.norm(s.residual, s.normed, self.parameters.norm)

    def finish(self) -> None:
        """The mean of the last stage's tokens, and what the head makes of it."""
        b, s = self.b, self.stages[-1]
        pooled = s.residual if self.parameters.norm is None else s.normed
        weights = self.parameters.head if self.output == "logits" else None
        features = b.out if weights is None else b.array(1, self.config.num_features)
        with b.rows(1):
            b.mean("pool", pooled, features)
        if weights is not None:
            with b.columns(weights.outputs, 1):
                b.product("head", features, weights, b.out, bias=self.parameters.head_bias)


def build_block(config: VMambaConfig, op: CrossScan) -> Program:
    """Write down a cross-scan block by itself: its tokens as a picture (C, H, W) -> (L, C).

    Parameters
    ----------
    config : VMambaConfig
        Of a network that has such a block in its first stage, whose grid it is.
    op : CrossScan
    """
    return _Block(config, op).program()


class _Block(VMambaProgram):
    """The arrays of such a program, and its steps."""

    def __init__(self, config: VMambaConfig, op: CrossScan) -> None:
        self.config, self.op, self.apart = config, op, False
        length, dim = shape_of_stage(config, 0)
        self.b = Builder((dim, *config.grids[0]), (length, dim))
        self.s = StageArrays(Memory(self.b, config, self.apart), config, 0)

    def program(self) -> Program:
        """The block's input -> its output."""
        b, s, op = self.b, self.s, self.op
        with b.rows(s.length, block=BLOCK):  # in_proj, since nothing else reads an input
            b.embed(
                s.xz,
                op.in_proj,
                np.zeros(s.xz.channels, np.float32),
                np.arange(s.length, dtype=np.intc),
                patch=(1, 1),
                stride=1,
            )
        with b.columns(s.d_inner, s.length, block=BLOCK):
            b.conv2d(s.x, Filter(op.conv_weight, op.conv_bias, s.u), grid=s.grid)
        self.directions(s, op)
        with b.rows(s.length, block=BLOCK):
            self.norm(s.y, s.y, op.out_norm, s.z if self.config.gated else None)
            b.product("out_proj", s.y, op.out_proj, b.out)
        return b.program()
