"""Mamba for ONNX Runtime and OpenVINO: two graphs with the same weights, without an exporter.

One is for prompts, with a Scan over the tokens in each layer, and one for a token of each of
several sequences. Both take the states of a sequence and give those that follow.

Shapes: L tokens, B sequences, D channels inside a mixer, N states, K taps of the convolution. Rows
are tokens in the one graph and sequences in the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx_graph import Graph

from peers.language.onnx_weights import SharedWeights
from vimnp.models.mamba.config import MambaConfig
from vimnp.weights.family import ReadTensor

FLOAT = TensorProto.FLOAT
EMBEDDING = "backbone.embedding.weight"


def write_graphs(
    stem: Path, config: MambaConfig, read: ReadTensor, storage: Storage
) -> tuple[Path, Path]:
    """Write ``STEM_prompt.onnx``, ``STEM_token.onnx`` and ``STEM.weights``, which both read.

    Parameters
    ----------
    stem : Path
    config : MambaConfig
        Tied, with RMSNorm, and without biases of in_proj and out_proj.
    read : callable
        A tensor of the original's state dict by name.
    storage : Storage
        One of ``onnx_storage.py``: how matrices are kept and multiplied.

    Returns
    -------
    prompt : Path
        Maps "ids", int64 (L,), and the states to "logits", float32 (1, vocabulary), of the last
        token, and to the states after it.
    token : Path
        Maps "ids", int64 (B,), and the states to "logits", float32 (B, vocabulary), and states.
    """
    paths = stem.with_name(f"{stem.name}_prompt.onnx"), stem.with_name(f"{stem.name}_token.onnx")
    with SharedWeights(stem.with_name(f"{stem.name}.weights")) as weights:
        for path, kind in zip(paths, (PromptGraph, TokenGraph), strict=True):
            path.write_bytes(kind(config, read, storage, weights).network())
    return paths


def states_of(config: MambaConfig) -> Iterator[tuple[str, tuple[int, int]]]:
    """Name, and shape for a sequence, of each state: "conv.I" and "ssm.I" of layer I.

    A graph's inputs have these names, and its outputs have "next." before them.
    """
    for index in range(config.n_layer):
        yield f"conv.{index}", (config.d_conv - 1, config.d_inner)
        yield f"ssm.{index}", (config.d_state, config.d_inner)


class Storage(Protocol):
    """What a graph does with a matrix; each returns the name of the output."""

    def multiply(self, graph: MambaGraph, x: str, name: str) -> str:
        """(rows, inputs) -> (rows, outputs)."""

    def look_up(self, graph: MambaGraph, ids: str, name: str) -> str:
        """Some of a matrix's rows: int64 (rows,) -> (rows, inputs)."""


class MambaGraph(Graph):
    """What both graphs have in common: everything that goes row by row.

    Parameters
    ----------
    config : MambaConfig
    read : callable
    storage : Storage
    weights : SharedWeights
    """

    rows: str
    sequences: str | int

    def __init__(
        self, config: MambaConfig, read: ReadTensor, storage: Storage, weights: SharedWeights
    ) -> None:
        super().__init__(seed=0)
        self.config = config
        self.read = read
        self._storage = storage
        self._weights = weights
        self._own: set[str] = set()

    def shared(self, name: str, array: Callable[[], np.ndarray]) -> str:
        """An array that the other graph has, too: made and written once."""
        if name not in self._weights:
            self._weights.write(name, array())
        if name not in self._own:
            self._own.add(name)
            self._initializers.append(self._weights[name])
        return name

    def tensor(self, name: str) -> str:
        """A tensor of the original as it is."""
        return self.shared(name, lambda: self.read(name))

    def network(self) -> bytes:
        """The whole graph, serialised."""
        x = self._storage.look_up(self, "ids", EMBEDDING)  # (rows, d_model)
        for index in range(self.config.n_layer):
            x = self._layer(x, index)
        x = self._norm(self.last(x), "backbone.norm_f.weight")
        self.add("Identity", self._multiply(x, EMBEDDING), output="logits")

        def info(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, kind, shape)

        states = list(states_of(self.config))
        inputs = [info("ids", TensorProto.INT64, self.rows)]
        inputs += [info(name, FLOAT, self.sequences, *shape) for name, shape in states]
        outputs = [info("logits", FLOAT, self.sequences, self.config.padded_vocab_size)]
        outputs += [info(f"next.{name}", FLOAT, self.sequences, *shape) for name, shape in states]
        return self.serialized("mamba", inputs, outputs)

    def last(self, x: str) -> str:
        """The rows that want logits."""
        raise NotImplementedError

    def convolve(self, u: str, index: int) -> str:
        """Causal convolution with the layer's weights and state: (rows, D) -> (rows, D)."""
        raise NotImplementedError

    def scan(self, delta: str, A: str, B: str, C: str, delta_u: str, index: int) -> str:
        """The selective scan from the layer's state on, without D.

        Shapes: delta and delta_u (rows, D), A (N, D), B and C (rows, N), the output (rows, D).
        """
        raise NotImplementedError

    def _layer(self, x: str, index: int) -> str:
        config, mixer = self.config, f"backbone.layers.{index}.mixer"
        hidden = self._norm(x, f"backbone.layers.{index}.norm.weight")
        xz = self._multiply(hidden, f"{mixer}.in_proj.weight")
        u, z = self.split(xz, config.d_inner, config.d_inner)
        u = self.silu(self.convolve(u, index))
        projected = self._multiply(u, f"{mixer}.x_proj.weight")
        dt, B, C = self.split(projected, config.dt_rank, config.d_state, config.d_state)
        delta = self.add(
            "Add",
            self._multiply(dt, f"{mixer}.dt_proj.weight"),
            self.tensor(f"{mixer}.dt_proj.bias"),
        )
        delta = self.add("Softplus", delta)
        A = self.shared(f"{mixer}.A", lambda: -np.exp(self.read(f"{mixer}.A_log").T))
        y = self.scan(delta, A, B, C, self.add("Mul", delta, u), index)
        y = self.add("Add", y, self.add("Mul", u, self.tensor(f"{mixer}.D")))
        y = self.add("Mul", y, self.silu(z))
        return self.add("Add", x, self._multiply(y, f"{mixer}.out_proj.weight"))

    def _multiply(self, x: str, name: str) -> str:
        return self._storage.multiply(self, x, name)

    def _norm(self, x: str, name: str) -> str:
        """RMSNorm, in the form that ONNX Runtime fuses."""
        squares = self.add("Pow", x, self.constant(np.float32(2)))
        mean = self.add("ReduceMean", squares, self.integers(-1), keepdims=1)
        epsilon = self.constant(np.float32(self.config.norm_epsilon))
        root = self.add("Sqrt", self.add("Add", mean, epsilon))
        return self.add("Mul", self.add("Div", x, root), self.tensor(name))


class PromptGraph(MambaGraph):
    """For the L tokens of one sequence."""

    rows, sequences = "L", 1

    def last(self, x: str) -> str:
        return self.add("Gather", x, self.integers(-1), axis=0)

    def convolve(self, u: str, index: int) -> str:
        mixer = f"backbone.layers.{index}.mixer"
        u = self.add("Unsqueeze", u, self.integers(0))  # (1, L, D)
        window = self.add("Concat", f"conv.{index}", u, axis=1)  # (1, K - 1 + L, D)
        taps = self.config.d_conv - 1
        start, end, axis = (
            self.integers(-taps),
            self.integers(np.iinfo(np.int64).max),
            self.integers(1),
        )
        self.add("Slice", window, start, end, axis, output=f"next.conv.{index}")
        u = self.add(
            "Conv",
            self.add("Transpose", window, perm=[0, 2, 1]),
            self.tensor(f"{mixer}.conv1d.weight"),
            self.tensor(f"{mixer}.conv1d.bias"),
            group=self.config.d_inner,
        )  # (1, D, L)
        u = self.add("Transpose", u, perm=[0, 2, 1])
        return self.add("Squeeze", u, self.integers(0))

    def scan(self, delta: str, A: str, B: str, C: str, delta_u: str, index: int) -> str:
        h = self.add("Squeeze", f"ssm.{index}", self.integers(0))  # (N, D)
        B = self.add("Unsqueeze", B, self.integers(2))  # (L, N, 1)
        C = self.add("Unsqueeze", C, self.integers(1))  # (L, 1, N)
        inputs = [h, delta, delta_u, B, C]
        last, y = self.several("Scan", inputs, 2, body=self._step(A), num_scan_inputs=4)
        self.add("Unsqueeze", last, self.integers(0), output=f"next.ssm.{index}")
        return self.add("Squeeze", y, self.integers(1))  # (L, 1, D) before

    def _step(self, A: str) -> onnx.GraphProto:
        """One token; A comes from the graph around."""
        d_state, d_inner = self.config.d_state, self.config.d_inner
        nodes = [
            helper.make_node("Mul", ["delta", A], ["delta_A"]),
            helper.make_node("Exp", ["delta_A"], ["A_bar"]),
            helper.make_node("Mul", ["B", "delta_u"], ["B_bar_u"]),
            helper.make_node("Mul", ["A_bar", "h"], ["kept"]),
            helper.make_node("Add", ["kept", "B_bar_u"], ["h_next"]),
            helper.make_node("MatMul", ["C", "h_next"], ["y"]),
        ]
        shapes = {
            "h": (d_state, d_inner),
            "delta": (d_inner,),
            "delta_u": (d_inner,),
            "B": (d_state, 1),
            "C": (1, d_state),
        }
        inputs = [helper.make_tensor_value_info(name, FLOAT, s) for name, s in shapes.items()]
        shapes = {"h_next": (d_state, d_inner), "y": (1, d_inner)}
        outputs = [helper.make_tensor_value_info(name, FLOAT, s) for name, s in shapes.items()]
        return helper.make_graph(nodes, "step", inputs, outputs)


class TokenGraph(MambaGraph):
    """For one token of each of B sequences."""

    rows = sequences = "B"

    def last(self, x: str) -> str:
        return x

    def convolve(self, u: str, index: int) -> str:
        mixer = f"backbone.layers.{index}.mixer"
        u = self.add("Unsqueeze", u, self.integers(1))  # (B, 1, D)
        window = self.add("Concat", f"conv.{index}", u, axis=1)  # (B, K, D)
        taps = self.config.d_conv
        self.add(
            "Slice",
            window,
            *(self.integers(value) for value in (1, taps, 1)),
            output=f"next.conv.{index}",
        )
        weight = f"{mixer}.conv1d.weight"
        filters = self.shared(f"{weight}.taps", lambda: self.read(weight)[:, 0].T)  # (K, D)
        products = self.add("Mul", window, filters)
        u = self.add("ReduceSum", products, self.integers(1), keepdims=0)
        return self.add("Add", u, self.tensor(f"{mixer}.conv1d.bias"))

    def scan(self, delta: str, A: str, B: str, C: str, delta_u: str, index: int) -> str:
        B = self.add("Unsqueeze", B, self.integers(2))  # (B, N, 1)
        C = self.add("Unsqueeze", C, self.integers(1))  # (B, 1, N)
        delta, delta_u = (self.add("Unsqueeze", x, self.integers(1)) for x in (delta, delta_u))
        A_bar = self.add("Exp", self.add("Mul", delta, A))  # (B, N, D)
        kept = self.add("Mul", A_bar, f"ssm.{index}")
        new = self.add("Mul", B, delta_u)
        h = self.add("Add", kept, new, output=f"next.ssm.{index}")
        return self.add("Squeeze", self.add("MatMul", C, h), self.integers(1))
