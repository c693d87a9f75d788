"""Mamba in NumPy, from tokens to logits: the network as the paper has it.

Glossary, the paper's names on the right (Mamba, Gu & Dao 2023):

    L   tokens of a pass                           L
    V   padded_vocab_size
    E   d_model, channels between layers           D
    Dn  d_inner, channels inside a mixer           E
    N   d_state                                    N
    R   dt_rank
    K   d_conv, taps of the convolution

Activations are token-major float32, (L, channels), and stand in the arrays of a :class:`Pass`,
which every step reads and writes; sequences of a batch stand one after the other. What a step knows
of earlier tokens stands in the :class:`~vimnp.engine.state.State`, and is left there for later
ones. ``program.py`` has the same steps for the compiled backend.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from vimnp.engine import numpy_network
from vimnp.engine.arena import SpareMemory
from vimnp.engine.numpy_network import NumpyNetwork, operation
from vimnp.engine.trace import Trace
from vimnp.models.mamba import parameters
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.mamba.outputs import Output
from vimnp.models.parameters import Norm
from vimnp.ops import kernels
from vimnp.ops.kernels import Filter, ScanInputs, whole_lines

if TYPE_CHECKING:
    from vimnp.engine.state import State

Layer: TypeAlias = parameters.Layer[np.ndarray]
Parameters: TypeAlias = parameters.Parameters[np.ndarray]


class Pass(numpy_network.Pass):
    """Every array that a pass writes, of all its tokens; and where the pass is.

    Parameters
    ----------
    config : MambaConfig
    output : Output
    memory : ndarray of float32, shape (floats,)
        :meth:`floats` of them, or more.
    """

    def __init__(self, config: MambaConfig, output: Output, memory: np.ndarray) -> None:
        super().__init__()
        length, d_inner = output.length, config.d_inner
        arrays = []
        for rows, channels in self._shapes(config, output):
            arrays.append(memory[: rows * channels].reshape(rows, channels))
            memory = memory[whole_lines(rows * channels) :]
        self.residual, self.normed, self.hidden, self.xz, self.u, self.x_dbl, self.delta = arrays
        self.x, self.z = np.split(self.xz, [d_inner], axis=1)
        self.y = self.x  # which is read before the scan writes
        parts = [config.dt_rank, config.dt_rank + config.d_state]
        self.dt, self.B, self.C = np.split(self.x_dbl, parts, axis=1)
        # Rows of each sequence.
        self.sequences = [slice(i * length, (i + 1) * length) for i in range(output.batch)]

    @classmethod
    def floats(cls, config: MambaConfig, output: Output) -> int:
        """How much memory it takes."""
        return sum(whole_lines(math.prod(shape)) for shape in cls._shapes(config, output))

    @staticmethod
    def _shapes(config: MambaConfig, output: Output) -> list[tuple[int, int]]:
        tokens, d_model, d_inner = output.batch * output.length, config.d_model, config.d_inner
        x_dbl = config.dt_rank + 2 * config.d_state
        channels = (d_model, d_model, d_model, 2 * d_inner, d_inner, x_dbl, d_inner)
        return [(tokens, each) for each in channels]


def multiply(x: np.ndarray, matrix: np.ndarray, out: np.ndarray) -> None:
    """``out = x @ matrix`` of rows, whose bits do not depend on how many there are.

    Of several rows at once, BLAS adds up in another order than of one. So each row is a product by
    itself: NumPy then calls the BLAS's matrix-vector product.
    """
    np.matmul(x[:, None], matrix, out=out[:, None])


class NumpyMamba(NumpyNetwork[Parameters]):
    """The network on NumPy's matrix-vector products, and kernels for the rest.

    Parameters
    ----------
    config : MambaConfig
    load, num_threads, scan
        As for every :class:`vimnp.engine.numpy_network.NumpyNetwork`.
    """

    def __init__(
        self, config: MambaConfig, load: parameters.Load, num_threads: int, scan: str
    ) -> None:
        super().__init__(load, num_threads, scan)
        self._config = config
        self._spares = SpareMemory()

    def forward(
        self,
        inputs: Sequence[np.ndarray],
        out: np.ndarray,
        *,
        output: Hashable,
        state: State | None = None,
        trace: Trace | None = None,
    ) -> None:
        """What is asked for, an :class:`Output`, of ids (batch, length), from the state on."""
        (ids,) = inputs
        assert state is not None
        asked = cast("Output", output)
        with (
            self.threads_of_products(),
            self._spares.one(Pass.floats(self._config, asked)) as memory,
        ):
            w = Pass(self._config, asked, memory)
            w.trace = trace
            self._forward(w, ids.reshape(-1), out.reshape(-1, out.shape[-1]), asked, state)

    # ---- Some tokens, from top to bottom --------------------------------------------------------

    def _forward(
        self, w: Pass, ids: np.ndarray, out: np.ndarray, output: Output, state: State
    ) -> None:
        """Ids of all sequences, (L,) -> what is asked for of them, a row for each."""
        self._embed(w, ids)  # w.residual: the tokens
        hidden = None  # what the last layer adds to them
        for index, layer in enumerate(self._parameters.layers):
            w.layer = index
            self._add_norm(w, w.residual, hidden, layer.norm, w.normed)
            self._mixer(w, layer, state.conv[index], state.ssm[index])
            hidden = w.hidden
        w.layer = None
        every = output.length if output.kind != "logits" else 1
        last = slice(every - 1, None, every)
        features = out if output.kind == "features" else w.normed[: len(out)]
        self._add_norm(w, w.residual[last], w.hidden[last], self._parameters.norm_f, features)
        if output.kind != "features":
            self._head(w, features, out)

    @operation("embed")
    def _embed(self, w: Pass, ids: np.ndarray) -> None:
        """Ids (L,) -> tokens, w.residual (L, E)."""
        w.residual[...] = self._parameters.embedding[:, ids].T

    def _mixer(self, w: Pass, layer: Layer, conv: np.ndarray, ssm: np.ndarray) -> None:
        """The Mamba block: w.normed (L, E) -> w.hidden (L, E), past the layer's states."""
        self._in_proj(w, layer)
        self._conv1d(w, layer, conv)
        self._x_proj(w, layer)
        self._dt_proj(w, layer)
        self._scan(w, layer, ssm)
        self._out_proj(w, layer)

    @operation("in_proj")
    def _in_proj(self, w: Pass, layer: Layer) -> None:
        """w.normed (L, E) -> w.x and w.z, (L, Dn) each."""
        multiply(w.normed, layer.in_proj, w.xz)
        if layer.in_proj_bias is not None:
            w.xz += layer.in_proj_bias

    @operation("conv1d")
    def _conv1d(self, w: Pass, layer: Layer, state: np.ndarray) -> None:
        """w.x (L, Dn) -> w.u, past each sequence's last inputs (batch, K - 1, Dn)."""
        for inputs, rows in zip(state, w.sequences, strict=True):
            kernels.causal_conv1d(
                w.x[rows],
                (Filter(layer.conv_weight, layer.conv_bias),),
                (w.u[rows],),
                silu=True,
                num_threads=self.num_threads,
                state=inputs,
                chosen=self._chosen,
            )

    @operation("x_proj")
    def _x_proj(self, w: Pass, layer: Layer) -> None:
        """w.u (L, Dn) -> w.dt (L, R), w.B and w.C (L, N); FalconMamba's with a mean square of 1."""
        multiply(w.u, layer.x_proj, w.x_dbl)
        epsilon = self._config.mixer_rms_eps
        if epsilon is not None:
            for part in (w.dt, w.B, w.C):
                norm = Norm(self._parameters.ones[: part.shape[1]], None, epsilon)
                self._add_norm(w, part, None, norm, part)

    @operation("dt_proj")
    def _dt_proj(self, w: Pass, layer: Layer) -> None:
        """w.dt (L, R) -> w.delta (L, Dn), before bias and softplus."""
        multiply(w.dt, layer.dt_proj, w.delta)

    @operation("scan")
    def _scan(self, w: Pass, layer: Layer, state: np.ndarray) -> None:
        """w.u (L, Dn), gated -> w.y (L, Dn), past each sequence's states (batch, N, Dn)."""
        for states, rows in zip(state, w.sequences, strict=True):
            inputs = ScanInputs(
                w.u[rows], w.delta[rows], layer.A, w.B[rows], w.C[rows], layer.D, layer.dt_bias
            )
            kernels.selective_scan(
                (inputs,),
                w.z[rows],
                w.y[rows],
                (states,),
                delta_softplus=True,
                scan_mode=self._scan_mode,
                num_threads=self.num_threads,
                initial_states=(states,),
                chosen=self._chosen,
            )

    @operation("out_proj")
    def _out_proj(self, w: Pass, layer: Layer) -> None:
        """w.y (L, Dn) -> w.hidden (L, E)."""
        multiply(w.y, layer.out_proj, w.hidden)
        if layer.out_proj_bias is not None:
            w.hidden += layer.out_proj_bias

    @operation("norm")
    def _add_norm(
        self,
        w: Pass,
        residual: np.ndarray,
        hidden: np.ndarray | None,
        norm: Norm,
        normed: np.ndarray,
    ) -> None:
        """residual += hidden where there is one, and its norm into `normed`; all (tokens, ...)."""
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
    def _head(self, w: Pass, features: np.ndarray, out: np.ndarray) -> None:
        """Tokens after the last norm, (tokens, E) -> logits (tokens, V)."""
        multiply(features, self._parameters.head, out)
