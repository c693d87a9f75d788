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

    def constant(self, array: np.ndarray, name: str = "") -> str:
        name = name or f"constant_{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, *shape: int, mean: float = 0.0, std: float = 0.02) -> str:
        return self.constant(self._rng.normal(mean, std, shape).astype(np.float32), name)

    def reshape(self, values: str, *shape: int) -> str:
        return self.add("Reshape", values, self.constant(np.array(shape)))

    def linear(
        self, x: str, name: str, in_features: int, out_features: int, output: str = ""
    ) -> str:
        """(rows, in_features) -> (rows, out_features)."""
        weight = self.weight(f"{name}.weight", in_features, out_features, std=in_features**-0.5)
        return self.add("Gemm", x, weight, self.weight(f"{name}.bias", out_features), output=output)

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
