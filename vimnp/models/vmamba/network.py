"""VMamba in NumPy, from a picture to logits: the network as the paper has it.

Glossary, as in "VMamba: Visual State Space Model" (Liu et al. 2024) and its code:

    H, W   a stage's tokens down and across; L = H * W
    C      dims, channels of a token
    D      d_inner, channels inside a cross-scan block
    N      d_state
    R      dt_rank

Activations are token-major float32: (L, channels), the tokens row by row, or the same array as
(H, W, channels). They stand in the arrays of a :class:`Pass`, which every step reads and writes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vimnp.engine import numpy_network
from vimnp.engine.arena import Spares
from vimnp.engine.numpy_network import NumpyNetwork, multiply, operation
from vimnp.engine.trace import Trace
from vimnp.models.parameters import Norm
from vimnp.models.vmamba import parameters
from vimnp.models.vmamba.config import DIRECTIONS, Grid, VMambaConfig
from vimnp.models.vmamba.outputs import Output, Stages, last_stage, places, shape_of_stage
from vimnp.ops import kernels
from vimnp.ops.grids import token_patches
from vimnp.ops.kernels import Filter, ScanInputs, aligned_empty

if TYPE_CHECKING:
    from vimnp.engine.numpy_network import NumpyMatrix
    from vimnp.engine.state import State

Block: TypeAlias = "parameters.Block[NumpyMatrix]"
Convolution: TypeAlias = "parameters.Convolution[NumpyMatrix]"
CrossScan: TypeAlias = "parameters.CrossScan[NumpyMatrix]"
Merging: TypeAlias = "parameters.Merging[NumpyMatrix]"
Mlp: TypeAlias = "parameters.Mlp[NumpyMatrix]"
Parameters: TypeAlias = "parameters.Parameters[NumpyMatrix]"


class StageArrays:
    """What a stage's steps write."""

    def __init__(self, config: VMambaConfig, stage: int) -> None:
        self.grid = config.grids[stage]
        self.d_state, self.dt_rank = config.d_state, config.dt_rank[stage]
        length, dim, d_inner = math.prod(self.grid), config.dims[stage], config.d_inner[stage]
        self.residual = aligned_empty(length, dim)
        self.normed = aligned_empty(length, config.op_dims[stage])
        self.xz = aligned_empty(length, (1 + config.gated) * d_inner)
        self.x, self.z = self.xz[:, :d_inner], self.xz[:, d_inner:]
        self.u = aligned_empty(length, d_inner)
        self.dbc = aligned_empty(length, DIRECTIONS * config.dbc_channels(stage))
        self.deltas = [aligned_empty(length, d_inner) for _ in range(DIRECTIONS)]
        self.y = aligned_empty(length, d_inner)
        self.normed_y = self.u  # which the scans have read
        self.hidden = aligned_empty(length, dim)
        self.mlp = aligned_empty(length, config.mlp_channels[stage])


class Pass(numpy_network.Pass):
    """Every array that a pass writes, made once and reused; and where the pass is."""

    def __init__(self, config: VMambaConfig) -> None:
        super().__init__()
        self.stages = [StageArrays(config, stage) for stage in range(config.num_stages)]
        # Between the two convolutions of patch_embed "v2".
        length = math.prod(config.half_grid) * (config.patch_embed == "v2")
        self.half = aligned_empty(length, config.dims[0] // 2)
        self.half_normed = aligned_empty(length, config.dims[0] // 2)


class NumpyVMamba(NumpyNetwork[Parameters]):
    """The network on NumPy's matrix products, and kernels for the rest.

    Parameters
    ----------
    config : VMambaConfig
    load, num_threads
        As for every :class:`vimnp.engine.numpy_network.NumpyNetwork`.
    """

    def __init__(self, config: VMambaConfig, load: parameters.Load, num_threads: int) -> None:
        super().__init__(load, num_threads, "fused")
        self._config = config
        self._spares = Spares(functools.partial(Pass, config))

    def forward(
        self,
        inputs: Sequence[np.ndarray],
        out: np.ndarray,
        *,
        output: Hashable,
        state: State | None = None,
        trace: Trace | None = None,
    ) -> None:
        """What is asked for, an :data:`Output`, of some pictures (channels, H, W), one by one."""
        with self.threads_of_products(), self._spares.one() as w:
            w.trace = trace
            for of_picture, pixels in zip(out, inputs, strict=True):
                self._forward(w, pixels, of_picture, cast("Output", output))

    # ---- One picture, from top to bottom --------------------------------------------------------

    def _forward(self, w: Pass, pixels: np.ndarray, out: np.ndarray, output: Output) -> None:
        """A picture (channels, H, W) -> what is asked for of it."""
        maps = self._maps(out, output) if isinstance(output, Stages) else {}
        w.layer = None
        self._patch_embed(w, pixels)
        layer = 0
        last = last_stage(self._config, output)
        for index, stage in enumerate(self._parameters.stages[: last + 1]):
            s = w.stages[index]
            layer = self._blocks(w, s, stage.blocks, layer)
            if index in maps:
                self._keep(w, s, stage.out_norm, maps[index])
            if index < last:
                self._downsample(w, s, stage.downsample, w.stages[index + 1])
        if output in ("logits", "features"):
            self._finish(w, out, output)

    def _blocks(self, w: Pass, s: StageArrays, blocks: Sequence[Block], layer: int) -> int:
        """Some blocks, the first of which is this layer; the number of the layer behind them."""
        for number, block in enumerate(blocks, layer):
            w.layer = number
            self._block(w, s, block)
        w.layer = None
        return layer + len(blocks)

    def _finish(self, w: Pass, out: np.ndarray, output: Output) -> None:
        """What comes after the last stage's blocks."""
        if output == "features" or self._parameters.head is None:
            self._pool(w, out)
            return
        features = np.empty(self._config.num_features, np.float32)
        self._pool(w, features)
        self._head(w, features, out)

    def _maps(self, out: np.ndarray, asked: Stages) -> dict[int, np.ndarray]:
        """Where the tokens of some stages go, (L, C) each: one stage after another."""
        return {
            stage: out[begin:end].reshape(shape_of_stage(self._config, stage))
            for stage, begin, end in places(self._config, asked)
        }

    def _keep(self, w: Pass, s: StageArrays, norm: Norm | None, out: np.ndarray) -> None:
        """A stage's tokens to the caller; of a backbone their norm."""
        if norm is not None:
            self._norm(w, s.residual, norm, out)
            return
        with w.span("keep"):
            out[...] = s.residual

    # ---- Stem and downsampling ------------------------------------------------------------------

    def _patch_embed(self, w: Pass, pixels: np.ndarray) -> None:
        """A picture (channels, H, W) -> the first stage's tokens."""
        s = w.stages[0]
        first, *second = self._parameters.stem
        if not second:  # v1: a convolution of 4x4 pixels
            self._embed(w, pixels, first, 4, 4, 0, s.hidden)
            self._norm(w, s.hidden, first.norm, s.residual)
            return
        # v2: two of 3x3 with a stride of 2, and a GELU between them
        self._embed(w, pixels, first, 3, 2, 1, w.half)
        self._norm(w, w.half, first.norm, w.half_normed)
        with w.span("norm"):
            self._gelu(w.half_normed)
        with w.span("embed"):
            self._convolve(w.half_normed, self._config.half_grid, second[0], 3, 1, s.hidden)
        self._norm(w, s.hidden, second[0].norm, s.residual)

    @operation("embed")
    def _embed(
        self,
        w: Pass,
        pixels: np.ndarray,
        convolution: Convolution,
        side: int,
        stride: int,
        padding: int,
        out: np.ndarray,
    ) -> None:
        """A convolution of pixels (channels, H, W) -> tokens."""
        padded = np.pad(pixels, ((0, 0), (padding, padding), (padding, padding)))
        windows = sliding_window_view(padded, (side, side), axis=(1, 2))
        patches = windows[:, ::stride, ::stride].transpose(1, 2, 0, 3, 4).reshape(len(out), -1)
        multiply(patches, convolution.kernel, out)
        out += convolution.bias

    def _downsample(
        self, w: Pass, s: StageArrays, downsample: Convolution | Merging | None, to: StageArrays
    ) -> None:
        """A stage's tokens -> the next one's, of which there are a quarter."""
        assert downsample is not None  # between two stages there is one
        if isinstance(downsample, parameters.Merging):
            self._merge(w, s, downsample, to)
            return
        side, padding = (2, 0) if self._config.downsample == "v2" else (3, 1)
        with w.span("downsample"):
            self._convolve(s.residual, s.grid, downsample, side, padding, to.hidden)
        self._norm(w, to.hidden, downsample.norm, to.residual)

    def _convolve(
        self,
        tokens: np.ndarray,
        grid: Grid,
        convolution: Convolution,
        side: int,
        padding: int,
        out: np.ndarray,
    ) -> None:
        """A convolution with a stride of 2: tokens (H * W, C) -> tokens, a quarter of them."""
        patches = token_patches(tokens, grid=grid, kernel=(side, side), stride=2, padding=padding)
        multiply(patches, convolution.kernel, out)
        out += convolution.bias

    def _merge(self, w: Pass, s: StageArrays, merging: Merging, to: StageArrays) -> None:
        """Patch merging: squares of four tokens, normed -> to.residual."""
        after = 1 if self._config.downsample_pad == "zeros" else 0  # used where a side is odd
        with w.span("patches"):
            squares = token_patches(
                s.residual,
                grid=s.grid,
                kernel=(2, 2),
                stride=2,
                padding=(0, after),
                columns_first=True,
            )
        normed = np.empty_like(squares)
        self._norm(w, squares, merging.norm, normed)
        with w.span("downsample"):
            multiply(normed, merging.reduction, to.residual)

    # ---- A block --------------------------------------------------------------------------------

    def _block(self, w: Pass, s: StageArrays, block: Block) -> None:
        """s.residual (L, C): what cross-scan and MLP make of its norm is added to it."""
        self._norm(w, s.residual, block.norm, s.normed)
        self._cross_scan(w, s, block.op)
        if block.mlp is not None:
            self._norm(w, s.residual, block.mlp.norm, s.normed)
            self._fc1(w, s, block.mlp)
            self._fc2(w, s, block.mlp)

    def _cross_scan(self, w: Pass, s: StageArrays, op: CrossScan) -> None:
        """SS2D: s.normed (L, C) -> more of s.residual (L, C)."""
        self._in_proj(w, s, op)
        self._conv2d(w, s, op)
        self._x_proj(w, s, op)
        self._scan(w, s, op)
        self._norm(w, s.y, op.out_norm, s.normed_y, gate=s.z if self._config.gated else None)
        self._out_proj(w, s, op)

    @operation("in_proj")
    def _in_proj(self, w: Pass, s: StageArrays, op: CrossScan) -> None:
        """s.normed (L, C) -> s.x, and where gated s.z, (L, D) each."""
        multiply(s.normed, op.in_proj, s.xz)

    @operation("conv2d")
    def _conv2d(self, w: Pass, s: StageArrays, op: CrossScan) -> None:
        """s.x (L, D) -> s.u (L, D)."""
        kernels.conv2d(
            s.x,
            Filter(op.conv_weight, op.conv_bias),
            s.u,
            grid=s.grid,
            silu=True,
            num_threads=self.num_threads,
            chosen=self._chosen,
        )

    @operation("x_proj")
    def _x_proj(self, w: Pass, s: StageArrays, op: CrossScan) -> None:
        """s.u (L, D) -> dt (L, R), B and C (L, N) of each direction, side by side in s.dbc."""
        multiply(s.u, op.x_proj, s.dbc)

    @operation("scan")
    def _scan(self, w: Pass, s: StageArrays, op: CrossScan) -> None:
        """All four directions, summed -> s.y (L, D): rows, columns, and both backwards."""
        inputs: list[ScanInputs] = []
        for direction, dbc, delta in zip(
            op.directions, np.split(s.dbc, DIRECTIONS, axis=1), s.deltas, strict=True
        ):
            dt, B, C = np.split(dbc, [s.dt_rank, s.dt_rank + s.d_state], axis=1)
            with w.span("dt_proj"):
                multiply(dt, direction.dt_proj, delta)
            D = None if inputs else op.D  # the first one has that of all
            inputs.append(ScanInputs(s.u, delta, direction.A, B, C, D, direction.dt_bias))
        kernels.selective_scan_2d(
            tuple(inputs),
            s.y,
            grid=s.grid,
            delta_softplus=True,
            num_threads=self.num_threads,
            chosen=self._chosen,
        )

    @operation("norm")
    def _norm(
        self,
        w: Pass,
        x: np.ndarray,
        norm: Norm,
        out: np.ndarray,
        *,
        gate: np.ndarray | None = None,
    ) -> None:
        """LayerNorm of each token, times silu(gate) where there is one: all (tokens, channels)."""
        kernels.fused_add_norm(
            x,
            None,
            norm.weight,
            norm.bias,
            out,
            epsilon=norm.epsilon,
            gate=gate,
            num_threads=self.num_threads,
            chosen=self._chosen,
        )

    @operation("out_proj")
    def _out_proj(self, w: Pass, s: StageArrays, op: CrossScan) -> None:
        """s.normed_y (L, D) -> more of s.residual (L, C)."""
        multiply(s.normed_y, op.out_proj, s.hidden)
        s.residual += s.hidden

    @operation("fc1")
    def _fc1(self, w: Pass, s: StageArrays, mlp: Mlp) -> None:
        """s.normed (L, C) -> s.mlp (L, hidden)."""
        multiply(s.normed, mlp.fc1, s.mlp)
        s.mlp += mlp.fc1_bias
        self._gelu(s.mlp)

    @operation("fc2")
    def _fc2(self, w: Pass, s: StageArrays, mlp: Mlp) -> None:
        """s.mlp (L, hidden) -> more of s.residual (L, C)."""
        multiply(s.mlp, mlp.fc2, s.hidden)
        s.hidden += mlp.fc2_bias
        s.residual += s.hidden

    def _gelu(self, x: np.ndarray) -> None:
        """The activation of MLPs and of the stem, in place."""
        kernels.gelu(x, x, num_threads=self.num_threads, chosen=self._chosen)

    # ---- After the last block -------------------------------------------------------------------

    @operation("pool")
    def _pool(self, w: Pass, out: np.ndarray) -> None:
        """The mean of the last stage's tokens after their norm, if there is one -> out (C,)."""
        s, norm = w.stages[-1], self._parameters.norm
        if norm is None:
            s.residual.mean(axis=0, out=out)
            return
        self._norm(w, s.residual, norm, s.normed)
        s.normed.mean(axis=0, out=out)

    @operation("head")
    def _head(self, w: Pass, features: np.ndarray, out: np.ndarray) -> None:
        """The features (C,) -> logits (classes,)."""
        head = self._parameters.head
        assert isinstance(head, np.ndarray)  # never whole numbers; without, features are asked for
        np.matmul(features, head, out=out)
        out += self._parameters.head_bias
