"""VMamba for ONNX Runtime and OpenVINO, without an exporter: with Scans, or with scans unrolled.

The names of tensors are those of the original's state dict. Tokens are rows, but for convolutions.
x_proj is one product for all four directions; one Gather puts what it gives, and one more the
tokens, in the order of each direction, and a third one the outputs back in place.

Shapes: H rows and W columns of tokens, L = H W, D channels inside a block, K = 4 directions, N
states, R rank of the step size's projection.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx_graph import Graph

from vimnp.models.vmamba.config import DIRECTIONS, STAGES, VMambaConfig
from vimnp.weights.family import ReadTensor

FLOAT = TensorProto.FLOAT


class VMambaGraph(Graph):
    """Everything but the scan itself.

    Parameters
    ----------
    config : VMambaConfig
        Of a classifier, with patch merging or downsampling "v3".
    read : callable
        A tensor of the original's state dict by name.
    """

    def __init__(self, config: VMambaConfig, read: ReadTensor) -> None:
        super().__init__(seed=0)
        self.config = config
        self.read = read

    @abstractmethod
    def scan(self, A: np.ndarray, length: int, delta: str, delta_u: str, B: str, C: str) -> str:
        """What the states give in all directions.

        Parameters
        ----------
        A : ndarray, shape (K, N, D)
        length : int
            L.
        delta, delta_u : str
            Arrays (K, L, D).
        B, C : str
            Arrays (K, L, N).

        Returns
        -------
        str
            An array (K, L, D).
        """

    def network(self) -> bytes:
        """The whole graph, serialised: "pixels", (1, 3, H, W), to "logits", (1, classes)."""
        config = self.config
        x = self._stem()
        for stage in range(STAGES):
            for index in range(config.depths[stage]):
                x = self._block(x, f"layers.{stage}.blocks.{index}", stage)
            if stage < STAGES - 1:
                x = self._downsample(x, f"layers.{stage}.downsample", stage)
        x = self._norm(x, "classifier.norm")
        x = self.add("ReduceMean", x, self.integers(0), keepdims=1)  # (1, features)
        self._multiply(x, "classifier.head", bias=True, output="logits")
        pixels = [1, config.channels, *config.img_size]
        return self.serialized(
            "vmamba",
            [helper.make_tensor_value_info("pixels", FLOAT, pixels)],
            [helper.make_tensor_value_info("logits", FLOAT, [1, config.num_classes])],
        )

    def _stem(self) -> str:
        """(1, 3, height, width) -> (L, C)."""
        config = self.config
        first = config.dims[0]
        if config.patch_embed == "v1":
            x = self._convolution("pixels", "patch_embed.0", stride=4, pad=0)
            return self._norm(self.to_tokens(x, first), "patch_embed.2")
        half = first // 2
        grid = [-(-side // 2) for side in config.img_size]
        x = self.to_tokens(self._convolution("pixels", "patch_embed.0"), half)
        x = self.add("Gelu", self._norm(x, "patch_embed.2"))
        x = self._convolution(self.to_planes(x, half, *grid), "patch_embed.5")
        return self._norm(self.to_tokens(x, first), "patch_embed.7")

    def _downsample(self, x: str, name: str, stage: int) -> str:
        """(L, C) -> (L / 4, C of the next stage)."""
        inputs, outputs = self.config.dims[stage : stage + 2]
        grid = self.config.grids[stage]
        if self.config.downsample == "v1":
            x = self.merged(x, inputs, *grid)
            return self._multiply(self._norm(x, f"{name}.norm"), f"{name}.reduction")
        x = self._convolution(self.to_planes(x, inputs, *grid), f"{name}.1")
        return self._norm(self.to_tokens(x, outputs), f"{name}.3")

    def _block(self, x: str, name: str, stage: int) -> str:
        """(L, C) -> (L, C)."""
        mixed = self._cross_scan(self._norm(x, f"{name}.norm"), f"{name}.op", stage)
        x = self.add("Add", x, mixed)
        if not self.config.mlp_ratio:
            return x
        hidden = self._multiply(self._norm(x, f"{name}.norm2"), f"{name}.mlp.fc1", bias=True)
        hidden = self._multiply(self.add("Gelu", hidden), f"{name}.mlp.fc2", bias=True)
        return self.add("Add", x, hidden)

    def _cross_scan(self, x: str, name: str, stage: int) -> str:
        """The block's operation: (L, C) -> (L, C)."""
        config, d_inner = self.config, self.config.d_inner[stage]
        grid = config.grids[stage]
        u = self._multiply(x, f"{name}.in_proj")
        if config.gated:
            u, z = self.split(u, d_inner, d_inner)
        planes = self.to_planes(u, d_inner, *grid)
        planes = self._convolution(planes, f"{name}.conv2d", stride=1, group=d_inner)
        u = self.to_tokens(self.silu(planes), d_inner)  # (L, D)
        y = self._norm(self._directions(u, name, stage), f"{name}.out_norm")
        if config.gated:
            y = self.add("Mul", y, self.silu(z))
        return self._multiply(y, f"{name}.out_proj")

    def _directions(self, u: str, name: str, stage: int) -> str:
        """Sum of the four scans: (L, D) -> (L, D)."""
        config, d_inner, d_state = self.config, self.config.d_inner[stage], self.config.d_state
        dt_rank, parts = config.dt_rank[stage], config.dbc_channels(stage)
        order = walks(*config.grids[stage])  # (K, L)
        length = order.shape[1]
        directions = np.arange(DIRECTIONS)[:, None]
        x_proj = self.read(f"{name}.x_proj_weight").reshape(-1, d_inner)
        projected = self.add("Gemm", u, self.constant(x_proj), transB=1)
        projected = self._rows(
            self.reshape(projected, -1, parts), order * DIRECTIONS + directions
        )  # (K, L, R + 2 N)
        dt, B, C = self.split(projected, dt_rank, d_state, d_state)
        dt_projs = self.read(f"{name}.dt_projs_weight").transpose(0, 2, 1)  # (K, R, D)
        bias = self.read(f"{name}.dt_projs_bias")[:, None]
        delta = self.add("MatMul", dt, self.constant(np.ascontiguousarray(dt_projs)))
        delta = self.add("Softplus", self.add("Add", delta, self.constant(bias)))
        delta_u = self.add("Mul", delta, self._rows(u, order))
        A_logs = (
            self.read(f"{name}.A_logs").reshape(DIRECTIONS, d_inner, d_state).transpose(0, 2, 1)
        )
        ys = self.scan(-np.exp(A_logs), length, delta, delta_u, B, C)
        back = np.argsort(order, axis=1) + directions * length
        ys = self._rows(self.reshape(ys, -1, d_inner), back.T)  # (L, K, D)
        y = self.add("ReduceSum", ys, self.integers(1), keepdims=0)
        D = self.read(f"{name}.Ds").reshape(DIRECTIONS, -1).sum(axis=0)
        return self.add("Add", y, self.add("Mul", u, self.constant(D)))

    def _rows(self, x: str, indices: np.ndarray) -> str:
        return self.add("Gather", x, self.constant(indices), axis=0)

    def _convolution(
        self, planes: str, name: str, *, stride: int = 2, pad: int = 1, group: int = 1
    ) -> str:
        """(1, channels, H, W) -> (1, outputs, H / stride, W / stride)."""
        weight = self.read(f"{name}.weight")
        inputs = [self.constant(weight)]
        if group == 1 or self.config.conv_bias:
            inputs.append(self.constant(self.read(f"{name}.bias")))
        window = {"kernel_shape": weight.shape[2:], "strides": [stride] * 2, "pads": [pad] * 4}
        return self.add("Conv", planes, *inputs, group=group, **window)

    def _multiply(self, x: str, name: str, *, bias: bool = False, output: str = "") -> str:
        """(rows, inputs) -> (rows, outputs)."""
        inputs = [x, self.constant(self.read(f"{name}.weight"))]
        if bias:
            inputs.append(self.constant(self.read(f"{name}.bias")))
        return self.add("Gemm", *inputs, transB=1, output=output)

    def _norm(self, x: str, name: str) -> str:
        weight, bias = (self.constant(self.read(f"{name}.{kind}")) for kind in ("weight", "bias"))
        return self.add(
            "LayerNormalization", x, weight, bias, epsilon=self.config.norm_epsilon, axis=-1
        )


def walks(height: int, width: int) -> np.ndarray:
    """Each direction's tokens in its order, (K, L): rows, columns, and both from the end."""
    places = np.arange(height * width).reshape(height, width)
    forward = np.stack((places.ravel(), places.T.ravel()))
    return np.concatenate((forward, forward[:, ::-1]))


class ScanGraph(VMambaGraph):
    """With an ONNX Scan over the tokens in each block."""

    def scan(self, A: np.ndarray, length: int, delta: str, delta_u: str, B: str, C: str) -> str:
        d_state, d_inner = A.shape[1:]
        B = self.add("Unsqueeze", B, self.integers(3))  # (K, L, N, 1)
        C = self.add("Unsqueeze", C, self.integers(2))  # (K, L, 1, N)
        delta, delta_u = (self.add("Unsqueeze", x, self.integers(2)) for x in (delta, delta_u))
        scanned = [self.add("Transpose", x, perm=[1, 0, 2, 3]) for x in (delta, delta_u, B, C)]
        start = self.constant(np.zeros((DIRECTIONS, d_state, d_inner), np.float32))
        body = _step(self.constant(A), d_state, d_inner)
        _, ys = self.several("Scan", [start, *scanned], 2, body=body, num_scan_inputs=4)
        ys = self.add("Transpose", ys, perm=[1, 0, 2, 3])  # (K, L, 1, D)
        return self.add("Squeeze", ys, self.integers(2))


def _step(A: str, d_state: int, d_inner: int) -> onnx.GraphProto:
    """One token of each direction; A comes from the graph around."""
    nodes = [
        helper.make_node("Mul", ["delta", A], ["delta_A"]),
        helper.make_node("Exp", ["delta_A"], ["A_bar"]),
        helper.make_node("Mul", ["B", "delta_u"], ["B_bar_u"]),
        helper.make_node("Mul", ["A_bar", "h"], ["kept"]),
        helper.make_node("Add", ["kept", "B_bar_u"], ["h_next"]),
        helper.make_node("MatMul", ["C", "h_next"], ["y"]),
    ]

    def infos(shapes: dict[str, Sequence[int]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, FLOAT, s) for name, s in shapes.items()]

    row, state = (DIRECTIONS, 1, d_inner), (DIRECTIONS, d_state, d_inner)
    inputs = {"h": state, "delta": row, "delta_u": row}
    inputs |= {"B": (DIRECTIONS, d_state, 1), "C": (DIRECTIONS, 1, d_state)}
    return helper.make_graph(nodes, "step", infos(inputs), infos({"h_next": state, "y": row}))


class AssociativeGraph(VMambaGraph):
    """With each scan unrolled into what works on whole arrays; subclasses say how.

    h = kept h + added is associative: two tokens in a row do what one with the product of both
    "kept" does.
    """

    @abstractmethod
    def states(self, kept: str, added: str, length: int, width: int) -> str:
        """All of them: two arrays (K, length, width = N D) -> one of the same shape."""

    def scan(self, A: np.ndarray, length: int, delta: str, delta_u: str, B: str, C: str) -> str:
        d_state, d_inner = A.shape[1:]
        delta, delta_u = (self.add("Unsqueeze", x, self.integers(2)) for x in (delta, delta_u))
        B, C = (self.add("Unsqueeze", x, self.integers(3)) for x in (B, C))  # (K, L, N, 1)
        A_bar = self.add("Exp", self.add("Mul", delta, self.constant(A[:, None])))  # (K, L, N, D)
        B_bar_u = self.add("Mul", B, delta_u)
        flat = (self.reshape(x, DIRECTIONS, -1, d_state * d_inner) for x in (A_bar, B_bar_u))
        h = self.reshape(
            self.states(*flat, length, d_state * d_inner), DIRECTIONS, -1, d_state, d_inner
        )
        if d_state == 1:
            return self.add("Squeeze", self.add("Mul", C, h), self.integers(2))
        return self.add("ReduceSum", self.add("Mul", C, h), self.integers(2), keepdims=0)

    def part(self, x: str, start: int, end: int) -> str:
        """Tokens from one place to another."""
        return self.add("Slice", x, *(self.integers(value) for value in (start, end, 1)))


class TreeGraph(AssociativeGraph):
    """Neighbours are joined, pairs of them, and so on: the least arithmetic.

    Blelloch 1990, "Prefix Sums and Their Applications", section 1.4.1.
    """

    def states(self, kept: str, added: str, length: int, width: int) -> str:
        if length == 1:
            return added
        if length % 2:
            padding = self.integers(0, 0, 0, 0, 1, 0)
            kept, added = (self.add("Pad", x, padding) for x in (kept, added))
        half = (length + 1) // 2
        kept, kept_next = self._neighbours(kept, half, width)
        added, added_next = self._neighbours(added, half, width)
        both = self.add("Mul", kept_next, kept)
        pairs = self.states(both, self._step(kept_next, added, added_next), half, width)
        start = self.constant(np.zeros((DIRECTIONS, 1, width), np.float32))
        before = self.add("Concat", start, self.part(pairs, 0, half - 1), axis=1)
        joined = self.add("Concat", self._step(kept, before, added), pairs, axis=2)
        h = self.reshape(joined, DIRECTIONS, 2 * half, -1)
        return self.part(h, 0, length) if length % 2 else h

    def _neighbours(self, x: str, half: int, width: int) -> list[str]:
        """The first and the second of each pair: (K, 2 half, width) -> two of (K, half, width)."""
        return self.split(self.reshape(x, DIRECTIONS, half, -1), width, width)

    def _step(self, kept: str, before: str, added: str) -> str:
        return self.add("Add", self.add("Mul", kept, before), added)


class DoublingGraph(AssociativeGraph):
    """Every token joins the one before it, then the two before, the four, and so on.

    Hillis & Steele 1986, "Data Parallel Algorithms": the form that is written most easily.
    """

    def states(self, kept: str, added: str, length: int, width: int) -> str:
        step = 1
        while step < length:
            padding = self.integers(0, step, 0, 0, 0, 0)
            before = self.add("Pad", self.part(added, 0, length - step), padding)
            added = self.add("Add", self.add("Mul", kept, before), added)
            before = self.add("Pad", self.part(kept, 0, length - step), padding)
            kept = self.add("Mul", kept, before)
            step *= 2
        return added


GRAPHS: dict[str, type[VMambaGraph]] = {
    "scans": ScanGraph,
    "associative": TreeGraph,
    "doubling": DoublingGraph,
}
"""By what they make of the recurrence."""
