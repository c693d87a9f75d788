"""Mamba as a program for the compiled backend: the steps of ``network.py``, in its order.

A prompt passes a chunk of tokens at a time, later tokens one by one. Threads split columns, so that
a pass reads each matrix once, whatever its number of tokens. A norm needs all columns of a token:
where there are few tokens, each thread computes it for itself; of many, a stage of its own splits
the rows. Letters as in ``network.py``. The tokens of a batch stand one sequence after the other.
"""

from __future__ import annotations

from typing import TypeAlias

from vimnp.engine.builder import Builder
from vimnp.engine.packing import PackedMatrix
from vimnp.engine.program import NO_LAYER, Array, Filter, Program, ScanDirection
from vimnp.engine.state import State, StateSizes
from vimnp.models.mamba import parameters
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.mamba.outputs import Output
from vimnp.models.parameters import Norm

Layer: TypeAlias = parameters.Layer[PackedMatrix]
Parameters: TypeAlias = parameters.Parameters[PackedMatrix]

FEW = 16
"""Tokens whose norms each thread computes for itself: it takes less time than another stage."""


def build(config: MambaConfig, parameters: Parameters, output: Output) -> Program:
    """Write the network down as a program.

    Parameters
    ----------
    config : MambaConfig
    parameters : Parameters
    output : Output
        What is asked for, of how many sequences and tokens.
    """
    return _Mamba(config, parameters, output).program()


class _Mamba:
    """The arrays of a program, and its steps."""

    def __init__(self, config: MambaConfig, parameters: Parameters, output: Output) -> None:
        self.config, self.parameters, self.output = config, parameters, output
        batch, length = output.batch, output.length
        self.tokens = batch * length
        self.layout = State.layout(StateSizes.of(config))
        rows = self.tokens if output.kind == "logits" else batch
        channels = config.d_model if output.kind == "features" else config.padded_vocab_size
        state = batch * self.layout.floats
        self.b = b = Builder((batch, length), (rows, channels), state=state)
        self.residual = b.array(self.tokens, config.d_model)
        self.has_few = self.tokens <= FEW
        array = b.private if self.has_few else b.array
        self.normed = array(self.tokens, config.d_model)
        self.xz = b.array(self.tokens, 2 * config.d_inner)
        self.x = self.xz.columns(0, config.d_inner)
        self.z = self.xz.columns(config.d_inner, 2 * config.d_inner)
        self.u = b.array(self.tokens, config.d_inner)
        self.y = self.x  # which is read before the scan writes
        dt_rank, d_state = config.dt_rank, config.d_state
        self.x_dbl = b.array(self.tokens, dt_rank + 2 * d_state)
        self.dt = self.x_dbl.columns(0, dt_rank)
        self.B = self.x_dbl.columns(dt_rank, dt_rank + d_state)
        self.C = self.x_dbl.columns(dt_rank + d_state, dt_rank + 2 * d_state)

    def program(self) -> Program:
        """Ids (B, L) -> what is asked for."""
        b = self.b
        with b.rows(self.tokens):
            b.lookup(self.parameters.embedding, self.residual)
        for index, layer in enumerate(self.parameters.layers):
            b.layer = index
            self.mixer(index, layer)
        b.layer = NO_LAYER
        self.head()
        return b.program()

    def mixer(self, index: int, layer: Layer) -> None:
        """The residual stream (tokens, E) -> the same, with what the layer adds."""
        b, config = self.b, self.config
        if not self.has_few:
            with b.rows(self.tokens):
                self.norm(layer.norm)
        with b.columns(config.d_inner, self.tokens):
            if self.has_few:
                self.norm(layer.norm)
            self.in_proj(layer)
            self.conv1d(index, layer)
        with b.columns(self.x_dbl.channels, self.tokens):
            b.product("x_proj", self.u, layer.x_proj, self.x_dbl)
        if config.mixer_rms_eps is not None:
            with b.rows(self.tokens):
                self.norm_of_parts(config.mixer_rms_eps)
        with b.columns(config.d_inner, self.tokens):
            self.scan(index, layer)
        with b.columns(config.d_model, self.tokens):
            b.product(
                "out_proj",
                self.y,
                layer.out_proj,
                self.residual,
                add=self.residual,
                bias=layer.out_proj_bias,
            )

    def norm(self, norm: Norm) -> None:
        """The residual stream -> normed, (tokens, E)."""
        self.b.norm(self.residual, self.normed, norm.weight, norm.bias, norm.epsilon)

    def in_proj(self, layer: Layer) -> None:
        """Normed -> x and z, (tokens, Dn) each: a part has the same columns of both."""
        for column in (0, self.config.d_inner):
            self.b.product(
                "in_proj",
                self.normed,
                layer.in_proj,
                self.xz,
                bias=layer.in_proj_bias,
                column=column,
            )

    def conv1d(self, index: int, layer: Layer) -> None:
        """X -> u, each sequence from its own state on."""
        for sequence in range(self.output.batch):
            x, u = self.of_sequence(sequence, self.x), self.of_sequence(sequence, self.u)
            filter = Filter(layer.conv_weight, layer.conv_bias, u)
            self.b.conv1d(x, [filter], state=self.conv_state(index, sequence))

    def norm_of_parts(self, epsilon: float) -> None:
        """FalconMamba: dt, B and C of each token, to a mean square of 1."""
        for part in (self.dt, self.B, self.C):
            ones = self.parameters.ones[: part.channels]
            self.b.norm(part, part, ones, None, epsilon)

    def scan(self, index: int, layer: Layer) -> None:
        """U, dt, B, C and z -> y (tokens, Dn), each sequence from its own state on."""
        for sequence in range(self.output.batch):
            u, dt, B, C, z, y = (
                self.of_sequence(sequence, array)
                for array in (self.u, self.dt, self.B, self.C, self.z, self.y)
            )
            direction = ScanDirection(
                u=u,
                dt=dt,
                dt_proj=layer.dt_proj,
                delta=None,
                B=B,
                C=C,
                z=z,
                out=y,
                delta_bias=layer.dt_bias,
                A=layer.A,
                D=layer.D,
                state=self.ssm_state(index, sequence),
            )
            self.b.scan([direction])

    def head(self) -> None:
        """The residual stream -> logits of every token, or of the last ones; or these without."""
        b, config, norm_f = self.b, self.config, self.parameters.norm_f
        asked = self.residual
        if self.output.kind != "logits":
            length = self.output.length
            asked = self.residual.every(length, begin=length - 1)
        features = b.out if self.output.kind == "features" else b.array(asked.rows, config.d_model)
        with b.rows(asked.rows):
            b.norm(asked, features, norm_f.weight, norm_f.bias, norm_f.epsilon)
        if self.output.kind != "features":
            with b.columns(config.padded_vocab_size, asked.rows):
                b.product("head", features, self.parameters.head, b.out)

    # ---- Of a sequence --------------------------------------------------------------------------

    def of_sequence(self, sequence: int, array: Array) -> Array:
        """A sequence's rows of an array."""
        length = self.output.length
        return array.part(sequence * length, length)

    def conv_state(self, index: int, sequence: int) -> Array:
        """The convolution's last inputs in a layer, (d_conv - 1, Dn)."""
        offset = sequence * self.layout.floats + self.layout.offsets[index][0]
        return self.b.state(offset, self.config.d_conv - 1, self.config.d_inner)

    def ssm_state(self, index: int, sequence: int) -> Array:
        """The states of a layer's scan, (N, Dn)."""
        offset = sequence * self.layout.floats + self.layout.offsets[index][1]
        return self.b.state(offset, self.config.d_state, self.config.d_inner)
