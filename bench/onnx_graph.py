"""Networks of random weights for ONNX Runtime, written without an exporter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS, NUM_CLASSES = 3, 1000
OPSET, CONTRIB_OPSET, IR_VERSION = 20, 1, 10  # opset 20 is the first with Gelu
CONTRIB = "com.microsoft"


class Graph:
    """Nodes and weights, in the order in which they are added.

    Parameters
    ----------
    seed : int
        Of the weights.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append a node of one output; return the output's name."""
        output = output or f"{kind}_{len(self._nodes)}"
        self.node(kind, inputs, [output], **attributes)
        return output

    def node(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> None:
        """Append a node of any number of outputs, whose names are given."""
        self._nodes.append(helper.make_node(kind, inputs, outputs, **attributes))

    def several(
        self, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any
    ) -> list[str]:
        """Append a node of several outputs; their names."""
        names = [f"{kind}_{len(self._nodes)}.{index}" for index in range(outputs)]
        self.node(kind, inputs, names, **attributes)
        return names

    def split(self, x: str, *sizes: int) -> list[str]:
        """The last axis in parts."""
        return self.several("Split", [x, self.integers(*sizes)], len(sizes), axis=-1)

    def silu(self, x: str) -> str:
        return self.add("Mul", x, self.add("Sigmoid", x))

    def constant(self, array: np.ndarray, name: str = "") -> str:
        name = name or f"constant_{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values))

    def weight(self, name: str, *shape: int, mean: float = 0.0, std: float = 0.02) -> str:
        return self.constant(self._rng.normal(mean, std, shape).astype(np.float32), name)

    def reshape(self, values: str, *shape: int) -> str:
        return self.add("Reshape", values, self.integers(*shape))

    def linear(
        self,
        x: str,
        name: str,
        in_features: int,
        out_features: int,
        output: str = "",
        *,
        bias: bool = True,
    ) -> str:
        """(rows, in_features) -> (rows, out_features)."""
        weight = self.weight(f"{name}.weight", in_features, out_features, std=in_features**-0.5)
        biases = [self.weight(f"{name}.bias", out_features)] if bias else []
        return self.add("Gemm", x, weight, *biases, output=output)

    def convolution(
        self,
        planes: str,
        name: str,
        inputs: int,
        outputs: int,
        size: int,
        stride: int = 1,
        pad: int = 0,
        group: int = 1,
    ) -> str:
        """A square one: (1, inputs, H, W) -> (1, outputs, H / stride, W / stride)."""
        std = (inputs // group * size**2) ** -0.5  # keeps the variance
        weight = self.weight(f"{name}.weight", outputs, inputs // group, size, size, std=std)
        bias = self.weight(f"{name}.bias", outputs)
        window = {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self.add("Conv", planes, weight, bias, group=group, **window)

    def layer_norm(self, x: str, name: str, features: int, epsilon: float) -> str:
        """Of the last axis; (rows, features) -> (rows, features)."""
        weight = self.weight(f"{name}.weight", features, mean=1.0)
        bias = self.weight(f"{name}.bias", features)
        return self.add("LayerNormalization", x, weight, bias, epsilon=epsilon)

    def to_tokens(self, planes: str, channels: int) -> str:
        """(1, channels, H, W) -> (H W, channels)."""
        return self.add("Transpose", self.reshape(planes, channels, -1), perm=[1, 0])

    def to_planes(self, tokens: str, channels: int, height: int, width: int) -> str:
        """(H W, channels) -> (1, channels, H, W)."""
        planes = self.add("Transpose", tokens, perm=[1, 0])
        return self.reshape(planes, 1, channels, height, width)

    def merged(self, tokens: str, channels: int, height: int, width: int) -> str:
        """Four neighbours as one row: (H W, channels) -> (H W / 4, 4 channels).

        They come in the order (0, 0), (1, 0), (0, 1), (1, 1) of row and column. An odd row or
        column has zeros beside it.
        """
        grid = self.reshape(tokens, height, width, channels)
        if height % 2 or width % 2:
            grid = self.add("Pad", grid, self.integers(0, 0, 0, height % 2, width % 2, 0))
        rows, columns = -(-height // 2), -(-width // 2)
        parts = self.reshape(grid, rows, 2, columns, 2, channels)
        parts = self.add("Transpose", parts, perm=[0, 2, 3, 1, 4])
        return self.reshape(parts, rows * columns, 4 * channels)

    def model(self, name: str, side: int) -> bytes:
        """Serialised: from "pixels", (1, 3, side, side), to "logits", (1, classes)."""
        pixels = [1, CHANNELS, side, side]
        return self.serialized(
            name,
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, pixels)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, NUM_CLASSES])],
        )

    def serialized(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> bytes:
        """The nodes and weights so far as an ONNX model."""
        graph = helper.make_graph(self._nodes, name, inputs, outputs, self._initializers)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, CONTRIB_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        return model.SerializeToString()
