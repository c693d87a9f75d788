"""Vision Mamba as a program for the compiled backend: the steps of ``network.py``, in its order.

Threads split channels where time is to pass (from in_proj through the convolutions, and from
dt_proj through the scans and the gate), and tokens where all channels of a token meet (x_proj;
out_proj, residual and norm). Letters as in ``network.py``.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from vimnp.engine.builder import Builder
from vimnp.engine.costs import Cost
from vimnp.engine.packing import PackedMatrix, sizes_only
from vimnp.engine.program import NO_LAYER, Array, Filter, Program, Rows, ScanDirection
from vimnp.models.parameters import Norm
from vimnp.models.precision import Precision, read_sizes
from vimnp.models.vim import parameters
from vimnp.models.vim.config import VimConfig
from vimnp.models.vim.outputs import Layers, Output, shape_of

Layer: TypeAlias = parameters.Layer[PackedMatrix]
Parameters: TypeAlias = parameters.Parameters[PackedMatrix]

BLOCK = 120
"""Tokens that in_proj hands on to the convolutions at a time."""


def build(
    config: VimConfig,
    parameters: Parameters,
    output: Output,
    *,
    apart: bool = False,
    coarse: bool | None = None,
) -> Program:
    """Write the network down as a program.

    Parameters
    ----------
    config : VimConfig
    parameters : Parameters
    output : str
        What is asked for of a picture; see :mod:`vimnp.models.vim.outputs`.
    apart : bool
        Leave every step by itself, and every token in every layer, as the NumPy network does: what
        its costs are counted by.
    coarse : bool, optional
        Whether scans and convolutions have functions of four digits; see
        :class:`~vimnp.engine.builder.Builder`. By default where matrices are int8 per channel.
    """
    if coarse is None:
        coarse = parameters.patch_proj.dtype == "int8_per_channel"
    return _Vim(config, parameters, output, apart, coarse).program()


def operation_costs(
    config: VimConfig, backend: str = "numpy", precision: Precision = "float32"
) -> dict[str, Cost]:
    """Costs of a picture's logits, all layers together, by the operations' names.

    Parameters
    ----------
    config : VimConfig
    backend : {"numpy", "native"}
        The native one leaves out of the last layer what the pooled token does not need, adds a
        layer's output to the residual in out_proj, and has dt_proj in its scan.
    precision : {"float32", "int8"}
        In int8 the large matrices take a quarter of the bytes.
    """
    weights = parameters.load_parameters(config, read_sizes(precision, config), sizes_only)
    return build(config, weights, "logits", apart=backend == "numpy").costs


class _ParameterSet:
    """What a mixer computes from x with one set of parameters."""

    def __init__(self, b: Builder, config: VimConfig, apart: bool) -> None:
        assert config.dt_rank is not None
        dt_rank, d_state = config.dt_rank, config.d_state
        self.u = b.array(config.num_tokens, config.d_inner)
        self.x_dbl = b.array(config.num_tokens, dt_rank + 2 * d_state)
        self.dt = self.x_dbl.columns(0, dt_rank)
        self.B = self.x_dbl.columns(dt_rank, dt_rank + d_state)
        self.C = self.x_dbl.columns(dt_rank + d_state, dt_rank + 2 * d_state)
        self.delta = b.array(config.num_tokens, config.d_inner) if apart else None


class _Vim:
    """The arrays of a program, and its steps."""

    def __init__(
        self,
        config: VimConfig,
        parameters: Parameters,
        output: Output,
        apart: bool,
        coarse: bool,
    ) -> None:
        self.config, self.parameters = config, parameters
        self.output, self.apart = output, apart
        self.length, embed_dim = config.num_tokens, config.embed_dim
        *rows, channels = shape_of(config, output)
        out = math.prod(rows), channels
        self.b = b = Builder((config.channels, *config.img_size), out, coarse=coarse)
        self.block = len(parameters.blocks[0])  # layers that read the same tokens
        self.residual = b.array(self.length, embed_dim)
        # A norm for each layer of a block. The last one may go to the caller at once.
        self.normed = [b.array(self.length, embed_dim) for _ in range(self.block)]
        self.quantised = self._quantised()
        self.xz = b.array(self.length, 2 * config.d_inner)
        self.x = self.xz.columns(0, config.d_inner)
        self.z = self.xz.columns(config.d_inner, 2 * config.d_inner)
        self.y = self.x  # which is read before the scan writes
        self.sets = [_ParameterSet(b, config, apart) for _ in config.direction_suffixes]
        self.hidden = self._hidden()

    def _quantised(self) -> list[Array]:
        """Beside the norms, what in_proj reads of them where it multiplies whole numbers."""
        weights = [layer.in_proj for layer in self.parameters.blocks[0]]
        if self.apart or weights[0].dtype != "int8_per_channel":
            return []
        return [self.b.quantised(self.length, matrix) for matrix in weights]

    def _hidden(self) -> Array | None:
        """Where a block's output waits, if it does not join the residual at once.

        It waits to be rotated alone. Then nobody reads the block's first norm any more. Or it is
        what is asked for.
        """
        if self.apart or self.asks_for("hidden"):
            return self.b.array(self.length, self.config.embed_dim)
        rotates_alone = self.parameters.rotation is not None and not self.config.if_rope_residual
        return self.normed[0] if rotates_alone else None

    def program(self) -> Program:
        """The picture -> what is asked for."""
        b = self.b
        with b.rows(self.length):
            self.embed()
            self.begin_block(0, (0, self.length))
        for index, layer in enumerate(self.parameters.layers[: self.number_of_layers()]):
            self.mixer(index, layer)
        b.layer = NO_LAYER
        if self.output in ("logits", "features") and not self.config.reads_every_token:
            self.pool()
        if self.output == "logits":
            self.head()
        return b.program()

    def embed(self) -> None:
        """The picture -> residual (L, E): patches, class tokens and position embedding."""
        config = self.config
        patches = np.full(self.length, -1, np.intc)
        class_tokens = list(config.class_tokens.values())
        patches[np.delete(np.arange(self.length), class_tokens)] = np.arange(config.num_patches)
        self.b.embed(
            self.residual,
            self.parameters.patch_proj,
            self.parameters.token_offset,
            np.ascontiguousarray(patches[::-1]) if config.flips_sequence else patches,
            patch=config.patch,
            stride=config.stride,
        )

    def begin_block(self, first: int, needed: Rows) -> None:
        """residual, and what waits beside it -> the norm for each layer of the next block."""
        layers = self.parameters.layers[first : first + self.block]
        hidden = self.hidden if first else None
        if not layers:
            self.b.layer = NO_LAYER
            self.norm(self.parameters.norm_f, self.last_norm(), hidden, needed)
        for i, layer in enumerate(layers):
            self.b.layer = first
            if i == 0:
                self.rotate(hidden, needed)
            self.norm(layer.norm, self.normed[i], None if i else hidden, needed)
            if self.quantised:
                self.b.quantise(self.normed[i], layer.in_proj, self.quantised[i], rows=needed)

    def rotate(self, hidden: Array | None, needed: Rows) -> None:
        """Rotary position embedding of a block's input, where the network has it."""
        rotation = self.parameters.rotation
        if rotation is None:
            return
        if hidden is not None:
            self.b.rotate(hidden, rotation.cos, rotation.sin, needed)
        if hidden is None or self.config.if_rope_residual:
            self.b.rotate(self.residual, rotation.cos, rotation.sin, needed)

    def norm(self, norm: Norm, out: Array, hidden: Array | None, needed: Rows) -> None:
        """residual += hidden where there is one, and its norm into `out`."""
        self.b.norm(
            self.residual, out, norm.weight, norm.bias, norm.epsilon, add=hidden, rows=needed
        )

    def last_norm(self) -> Array:
        """Where the norm after the last layer goes: to the caller, if that is what is asked for."""
        is_of_every_token = self.config.reads_every_token and not self.takes_largest
        goes_out = self.output == "tokens" or (self.gives_features and is_of_every_token)
        return self.b.out if goes_out else self.normed[0]

    @property
    def gives_features(self) -> bool:
        """Whether what the head would read is what is asked for."""
        has_head = self.parameters.head is not None
        return self.output == "features" or (self.output == "logits" and not has_head)

    @property
    def takes_largest(self) -> bool:
        """Whether of every token's logits the largest are asked for."""
        return self.output == "logits" and self.config.final_pool_type == "max"

    def asks_for(self, kind: str) -> bool:
        """Whether what some layers give is asked for, and in this way."""
        return isinstance(self.output, Layers) and self.output.kind == kind

    def number_of_layers(self) -> int:
        """Of those that have to run, whole blocks."""
        if isinstance(self.output, Layers):
            return (max(self.output.layers) // self.block + 1) * self.block
        return len(self.parameters.layers)

    def keep(self, kind: str, index: int, tokens: Array) -> None:
        """A layer's tokens to the caller, where they are asked for."""
        if isinstance(self.output, Layers) and self.asks_for(kind) and index in self.output.layers:
            self.b.layer = index
            begin = self.output.layers.index(index) * self.length
            self.b.copy("keep", tokens, self.b.out.part(begin, self.length))

    def needed(self, index: int) -> Rows:
        """What a layer has to hand on: every token, but of the last block the one that is pooled.

        If one is, alone.
        """
        pooled = self.config.pooled_tokens or ()
        is_last = index + self.block >= len(self.parameters.layers)
        is_pooled = self.output in ("logits", "features") and len(pooled) == 1
        if is_last and is_pooled and not self.apart:
            return pooled[0], pooled[0] + 1
        return 0, self.length

    def mixer(self, index: int, layer: Layer) -> None:
        """The bidirectional block: normed (L, E) -> residual (L, E), or hidden."""
        b, d_inner = self.b, self.config.d_inner
        b.layer = index
        needed = self.needed(index)
        with b.columns(d_inner, self.length, block=BLOCK):
            self.in_proj(index, layer, needed)
            self.conv1d(layer)
        with b.rows(self.length):
            self.x_proj(layer, needed)
        with b.columns(d_inner, self.length):
            self.scan(layer, needed)  # with dt_proj
        with b.rows(self.length):
            self.out_proj(index, layer, needed)
            if (index + 1) % self.block == 0:
                if self.hidden is not None:
                    self.keep("hidden", index, self.hidden)
                self.begin_block(index + 1, needed)
                self.keep("residual", index, self.residual)

    def in_time(self, array: Array, is_backward: bool) -> Array:
        """The same array, its tokens in the order in which they are read."""
        return array.backward() if is_backward else array

    def rows_in_time(self, rows: Rows, is_backward: bool) -> Rows:
        return (self.length - rows[1], self.length - rows[0]) if is_backward else rows

    def in_proj(self, index: int, layer: Layer, needed: Rows) -> None:
        """normed (L, E) -> x of every token, and z of those that are needed: (L, Dn) each."""
        read = self.quantised or self.normed
        normed = self.in_time(read[index % self.block], layer.is_flipped)
        xz = self.in_time(self.xz, layer.is_flipped)
        self.b.product("in_proj", normed, layer.in_proj, xz, bias=layer.in_proj_bias)
        self.b.product(
            "in_proj",
            normed,
            layer.in_proj,
            xz,
            bias=layer.in_proj_bias,
            column=self.config.d_inner,
            rows=self.rows_in_time(needed, layer.is_flipped),
        )

    def conv1d(self, layer: Layer) -> None:
        """x -> u of each set of parameters, (L, Dn)."""
        self.b.conv1d(
            self.in_time(self.x, layer.is_flipped),
            [
                Filter(d.conv_weight, d.conv_bias, self.in_time(s.u, layer.is_flipped))
                for d, s in zip(layer.directions, self.sets, strict=False)
            ],
        )

    def x_proj(self, layer: Layer, needed: Rows) -> None:
        """u -> dt (L, R), B and C (L, N), and where it is stored delta, of the scanned tokens."""
        for i, (d, s) in enumerate(zip(layer.directions, self.sets, strict=False)):
            both = len(self.sets) < len(layer.directions)  # scans read the same
            rows = (0, self.length) if both else self.on_the_way(needed, i ^ layer.is_flipped)
            self.b.product("x_proj", s.u, d.x_proj, s.x_dbl, rows=rows)
            if s.delta is not None:
                self.b.product("dt_proj", s.dt, d.dt_proj, s.delta)

    def on_the_way(self, needed: Rows, is_backward: int) -> Rows:
        """The tokens that a scan passes on its way to the needed ones."""
        return (needed[0], self.length) if is_backward else (0, needed[1])

    def scan(self, layer: Layer, needed: Rows) -> None:
        """u, dt, B, C and z -> y (L, Dn), the directions summed and gated."""
        directions = []
        for i, d in enumerate(layer.directions):
            s = self.sets[i % len(self.sets)]
            is_backward = bool(i ^ layer.is_flipped)
            begin, end = self.on_the_way(needed, is_backward)

            def passed(
                array: Array, is_backward: bool = is_backward, n: int = end - begin
            ) -> Array:
                return self.in_time(array, is_backward).first(n)

            directions.append(
                ScanDirection(
                    u=passed(s.u),
                    dt=None if s.delta else passed(s.dt),
                    dt_proj=None if s.delta else d.dt_proj,
                    delta=passed(s.delta) if s.delta else None,
                    B=passed(s.B),
                    C=passed(s.C),
                    z=passed(self.z) if i + 1 == len(layer.directions) else None,
                    out=passed(self.y),
                    delta_bias=d.dt_bias,
                    A=d.A,
                    D=d.D,
                )
            )
        self.b.scan(directions, scale=0.5 if self.config.halves_directions else 1.0)

    def out_proj(self, index: int, layer: Layer, needed: Rows) -> None:
        """residual += y @ out_proj; or where it waits, hidden = y @ out_proj.

        To that a block's second layer adds.
        """
        out = self.residual if self.hidden is None else self.hidden
        is_first = self.hidden is not None and index % self.block == 0
        self.b.product(
            "out_proj",
            self.y,
            layer.out_proj,
            out,
            add=None if is_first else out,
            bias=layer.out_proj_bias,
            rows=needed,
        )

    def pool(self) -> None:
        """The mean of the pooled tokens, or of all: (1, E)."""
        pooled = self.config.pooled_tokens or range(self.length)
        distance = pooled[1] - pooled[0] if len(pooled) > 1 else 1
        tokens = self.normed[0].every(distance, begin=pooled[0]).first(len(pooled))
        self.features = self.b.out
        if not self.gives_features:
            self.features = self.b.array(1, self.config.embed_dim)
        with self.b.rows(1):
            self.b.mean("pool", tokens, self.features)

    def head(self) -> None:
        """The features, or every token -> logits; of several tokens the largest, if so asked.

        Without a head the features are the logits.
        """
        weights, bias = self.parameters.head, self.parameters.head_bias
        logits = reads = self.normed[0] if self.config.reads_every_token else self.features
        if weights is None and not self.takes_largest:
            return
        with self.b.columns(self.b.out.channels, reads.rows):
            if weights is not None:
                logits = self.b.out
                if self.takes_largest:
                    logits = self.b.array(self.length, weights.outputs)
                self.b.product("head", reads, weights, logits, bias=bias)
            if self.takes_largest:
                self.b.largest("head", logits, self.b.out)
