"""Vision Mamba in NumPy, from a picture to logits: the network as the papers have it.

Glossary, the paper's names on the right (Vision Mamba, Zhu et al. 2024; Mamba, Gu & Dao 2023):

    L   tokens: patches and class tokens        L
    M   patches
    E   embed_dim, channels between layers      D
    Dn  d_inner, channels inside a mixer        E
    N   d_state                                 N
    R   dt_rank
    K   d_conv, taps of the convolution

Activations are token-major float32, (L, channels), and stand in the arrays of a :class:`Pass`,
which every step reads and writes. ``program.py`` has the same steps for the compiled backend.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vimnp.engine import numpy_network
from vimnp.engine.arena import Spares
from vimnp.engine.numpy_network import NumpyNetwork, multiply, operation
from vimnp.engine.trace import Trace
from vimnp.models.parameters import Norm
from vimnp.models.vim import parameters
from vimnp.models.vim.config import VimConfig
from vimnp.models.vim.outputs import Kind, Layers, Output
from vimnp.ops import kernels
from vimnp.ops.kernels import Filter, ScanInputs, aligned_empty

if TYPE_CHECKING:
    from vimnp.engine.numpy_network import NumpyMatrix
    from vimnp.engine.state import State

Layer: TypeAlias = "parameters.Layer[NumpyMatrix]"
Direction: TypeAlias = "parameters.DirectionParameters[NumpyMatrix]"
Parameters: TypeAlias = "parameters.Parameters[NumpyMatrix]"


class ParameterSet:
    """What a mixer computes from x with one set of parameters."""

    def __init__(self, config: VimConfig) -> None:
        length, d_inner, d_state = config.num_tokens, config.d_inner, config.d_state
        dt_rank = config.dt_rank
        assert dt_rank is not None
        self.u = aligned_empty(length, d_inner)
        self.x_dbl = aligned_empty(length, dt_rank + 2 * d_state)
        self.delta = aligned_empty(length, d_inner)
        self.dt, self.B, self.C = np.split(self.x_dbl, [dt_rank, dt_rank + d_state], axis=1)


class Pass(numpy_network.Pass):
    """Every array that a pass writes, made once and reused; and where the pass is."""

    def __init__(self, config: VimConfig) -> None:
        super().__init__()
        length, embed_dim, d_inner = config.num_tokens, config.embed_dim, config.d_inner
        self.patches = aligned_empty(*config.grid_size, config.channels, *config.patch)
        self.residual = aligned_empty(length, embed_dim)
        self.normed = aligned_empty(length, embed_dim)
        self.xz = aligned_empty(length, 2 * d_inner)
        self.x, self.z = np.split(self.xz, 2, axis=1)
        self.parameter_sets = [ParameterSet(config) for _ in config.direction_suffixes]
        # What each direction scans: in "v1" both the same.
        number = config.num_directions // len(self.parameter_sets)
        self.directions = self.parameter_sets * number
        self.y = self.x  # which is read before the scan writes: a sixth less memory to pass over
        self.hidden = aligned_empty(length, embed_dim)
        # Where options call for them: a second layer's output, the other channel of each pair.
        self.hidden_flipped = aligned_empty(length * config.if_bidirectional, embed_dim)
        self.partners = aligned_empty(length * config.if_rope, embed_dim)
        self.kept: tuple[Layers, np.ndarray] | None = None  # what some layers give, where asked for


class NumpyVim(NumpyNetwork[Parameters]):
    """The network on NumPy's matrix products, and kernels for the rest.

    Parameters
    ----------
    config : VimConfig
    load, num_threads, scan
        As for every :class:`vimnp.engine.numpy_network.NumpyNetwork`.
    """

    def __init__(
        self,
        config: VimConfig,
        load: parameters.Load,
        num_threads: int,
        scan: str,
    ) -> None:
        super().__init__(load, num_threads, scan)
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
        w.kept = (output, out) if isinstance(output, Layers) else None
        self._layers(w, pixels)
        if isinstance(output, Layers):
            self._final_norm(w, slice(None), w.normed)
            self._keep(w, "residual", self._config.num_active_layers - 1, w.residual)
        elif output == "tokens":
            self._final_norm(w, slice(None), out)
        elif output == "features":
            out[...] = self._features(w)
        else:
            out[...] = self._head(w, self._features(w))

    def _layers(self, w: Pass, pixels: np.ndarray) -> None:
        """A picture -> two terms of its tokens, w.residual and w.hidden: (L, E) each."""
        w.layer = None
        self._embed(w, pixels)  # w.residual: the tokens
        blocks = self._parameters.blocks
        number = len(blocks[0])  # layers that read the same tokens
        for index, (layer, *partner) in enumerate(blocks):
            w.layer = index * number
            self._rotate(w, is_first=index == 0)
            self._add_norm(w, w.residual, w.hidden if index else None, layer.norm, w.normed)
            self._keep(w, "residual", w.layer - 1, w.residual)
            self._mixer(w, layer, w.hidden)
            for flipped in partner:  # if_bidirectional: it reads the same tokens, backwards
                w.layer += 1
                self._add_norm(w, w.residual, None, flipped.norm, w.normed)
                self._mixer(w, flipped, w.hidden_flipped)
                self._add_flipped(w)
            self._keep(w, "hidden", w.layer, w.hidden)
        w.layer = None

    def _keep(self, w: Pass, kind: Kind, layer: int, tokens: np.ndarray) -> None:
        """A layer's tokens to the caller, where they are asked for."""
        if w.kept is not None:
            asked, out = w.kept
            if asked.kind == kind and layer in asked.layers:
                with w.span("keep"):
                    out[asked.layers.index(layer)] = tokens

    @operation("embed")
    def _embed(self, w: Pass, pixels: np.ndarray) -> None:
        """A picture -> tokens: patches, with class tokens and position embedding."""
        config = self._config
        windows = sliding_window_view(pixels, config.patch, axis=(1, 2))
        windows = windows[:, :: config.stride, :: config.stride]
        np.copyto(w.patches, windows.transpose(1, 2, 0, 3, 4))
        patches = w.patches.reshape(config.num_patches, -1)
        tokens = w.residual[::-1] if config.flips_sequence else w.residual  # the picture's order
        start = 0  # of a run of patches; `before` class tokens stand in front of it
        for before, stop in enumerate([*config.class_tokens.values(), len(tokens)]):
            multiply(
                patches[start - before : stop - before],
                self._parameters.patch_proj,
                tokens[start:stop],
            )
            tokens[stop : stop + 1] = 0  # a class token
            start = stop + 1
        w.residual += self._parameters.token_offset

    def _rotate(self, w: Pass, *, is_first: bool) -> None:
        """Rotary position embedding of a layer's input, where the network has it."""
        rotation = self._parameters.rotation
        if rotation is None:
            return
        with w.span("rotate"):
            if not is_first:
                rotation.apply(w.hidden, w.partners)
            if is_first or self._config.if_rope_residual:
                rotation.apply(w.residual, w.partners)

    def _mixer(self, w: Pass, layer: Layer, out: np.ndarray) -> None:
        """The bidirectional block: w.normed (L, E) -> out (L, E)."""
        self._in_proj(w, layer)
        self._conv1d(w, layer)
        for direction, d in zip(layer.directions, w.parameter_sets, strict=False):
            self._x_proj(w, direction, d)
            self._dt_proj(w, direction, d)
        self._scan(w, layer)
        self._out_proj(w, layer, out)

    @operation("in_proj")
    def _in_proj(self, w: Pass, layer: Layer) -> None:
        """w.normed (L, E) -> w.x and w.z, (L, Dn) each."""
        multiply(w.normed, layer.in_proj, w.xz)
        if layer.in_proj_bias is not None:
            w.xz += layer.in_proj_bias

    @operation("conv1d")
    def _conv1d(self, w: Pass, layer: Layer) -> None:
        """w.x -> u of each direction, (L, Dn)."""
        sets = w.parameter_sets
        directions = layer.directions[: len(sets)]  # in "v1" both directions have the same
        kernels.causal_conv1d(
            layer.in_time(w.x),
            tuple(Filter(d.conv_weight, d.conv_bias) for d in directions),
            tuple(layer.in_time(d.u) for d in sets),
            silu=True,
            num_threads=self.num_threads,
            chosen=self._chosen,
        )

    @operation("x_proj")
    def _x_proj(self, w: Pass, direction: Direction, d: ParameterSet) -> None:
        """d.u (L, Dn) -> d.dt (L, R), d.B and d.C (L, N)."""
        multiply(d.u, direction.x_proj, d.x_dbl)

    @operation("dt_proj")
    def _dt_proj(self, w: Pass, direction: Direction, d: ParameterSet) -> None:
        """d.dt (L, R) -> d.delta (L, Dn), before bias and softplus."""
        multiply(d.dt, direction.dt_proj, d.delta)

    @operation("scan")
    def _scan(self, w: Pass, layer: Layer) -> None:
        """All directions, summed and gated: (L, Dn) -> w.y (L, Dn)."""
        kernels.selective_scan(
            tuple(
                ScanInputs(
                    layer.in_time(d.u),
                    layer.in_time(d.delta),
                    direction.A,
                    layer.in_time(d.B),
                    layer.in_time(d.C),
                    direction.D,
                    direction.dt_bias,
                )
                for direction, d in zip(layer.directions, w.directions, strict=True)
            ),
            layer.in_time(w.z),
            layer.in_time(w.y),
            delta_softplus=True,
            if_divide_out=self._config.halves_directions,
            scan_mode=self._scan_mode,
            num_threads=self.num_threads,
            chosen=self._chosen,
        )

    @operation("out_proj")
    def _out_proj(self, w: Pass, layer: Layer, out: np.ndarray) -> None:
        """w.y (L, Dn) -> out (L, E)."""
        multiply(w.y, layer.out_proj, out)
        if layer.out_proj_bias is not None:
            out += layer.out_proj_bias

    @operation("out_proj")
    def _add_flipped(self, w: Pass) -> None:
        """The output of a pair's second layer joins the first one's."""
        w.hidden += w.hidden_flipped

    def _features(self, w: Pass) -> np.ndarray:
        """What the head reads: every token after the final norm, (L, E), or one for all, (E,)."""
        if self._config.reads_every_token:
            self._final_norm(w, slice(None), w.normed)
            return w.normed
        return self._pool(w)

    @operation("pool")
    def _pool(self, w: Pass) -> np.ndarray:
        """Class tokens, the last token or the mean of all, after the final norm: (E,)."""
        rows = self._config.pooled_tokens
        if rows is None:
            self._final_norm(w, slice(None), w.normed)
            return w.normed.mean(axis=0)
        for row in rows:  # the norm needs no other token
            one = slice(row, row + 1)
            self._final_norm(w, one, w.normed[one])
        return np.mean([w.normed[row] for row in rows], axis=0)

    def _final_norm(self, w: Pass, rows: slice, out: np.ndarray) -> None:
        """These tokens after the last layer -> out (tokens, E)."""
        self._add_norm(w, w.residual[rows], w.hidden[rows], self._parameters.norm_f, out)

    @operation("norm")
    def _add_norm(
        self,
        w: Pass,
        residual: np.ndarray,
        hidden: np.ndarray | None,
        norm: Norm,
        normed: np.ndarray,
    ) -> None:
        """residual += hidden where there is one, and its norm into `normed`; all (tokens, E)."""
        kernels.fused_add_norm(
            residual,
            hidden,
            norm.weight,
            norm.bias,
            normed,
            epsilon=norm.epsilon,
            num_threads=self.num_threads,
            chosen=self._chosen,
        )

    @operation("head")
    def _head(self, w: Pass, features: np.ndarray) -> np.ndarray:
        """Logits (classes,), or (L, classes) if there are some for every token.

        A backbone, which has no head, gives the features.
        """
        logits = features
        if self._parameters.head is not None:
            logits = features @ self._parameters.head
            logits += self._parameters.head_bias
        # Without a class token and with this pooling, the features are every token's.
        return logits.max(axis=0) if self._config.final_pool_type == "max" else logits
