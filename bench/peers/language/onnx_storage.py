"""How an ONNX graph keeps its matrices: in float32, or in 8 bits in one of two ways.

Matrices are (outputs, inputs), as the original has them, and bear its names.
"""

from __future__ import annotations

import numpy as np
from instructions import lacking

from peers.language.onnx_mamba import FLOAT, MambaGraph, Storage

MOST = 127
MOST_WITHOUT_VNNI = 63
"""For ONNX Runtime, which adds two products in 16 bits where the CPU does not sum without overflow.

Its documentation advises to leave the weights a bit for that (``reduce_range``).
"""


class Float32:
    """As it is."""

    def multiply(self, graph: MambaGraph, x: str, name: str) -> str:
        return graph.add("Gemm", x, graph.tensor(name), transB=1)

    def look_up(self, graph: MambaGraph, ids: str, name: str) -> str:
        return graph.add("Gather", graph.tensor(name), ids, axis=0)


class Dynamic:
    """Activations become 8 bits as well, with one scale for all rows, for a product of integers.

    What ``onnxruntime.quantization.quantize_dynamic`` makes of a MatMul, with a scale for each
    output. Codes are (inputs, outputs).
    """

    def multiply(self, graph: MambaGraph, x: str, name: str) -> str:
        codes, scales = self._shared(graph, name)
        quantized, x_scale, x_zero = graph.several("DynamicQuantizeLinear", [x], 3)
        product = graph.add("MatMulInteger", quantized, codes, x_zero)
        product = graph.add("Cast", product, to=FLOAT)
        return graph.add("Mul", product, graph.add("Mul", x_scale, scales))

    def look_up(self, graph: MambaGraph, ids: str, name: str) -> str:
        codes, scales = self._shared(graph, name)
        columns = graph.add("Cast", graph.add("Gather", codes, ids, axis=1), to=FLOAT)
        columns = graph.add("Mul", columns, graph.add("Gather", scales, ids, axis=0))
        return graph.add("Transpose", columns, perm=[1, 0])

    def _shared(self, graph: MambaGraph, name: str) -> tuple[str, str]:
        most = MOST_WITHOUT_VNNI if lacking(["VNNI"]) else MOST
        codes = graph.shared(f"{name}.codes", lambda: _codes(graph.read(name), most).T)
        return codes, graph.shared(f"{name}.scales", lambda: _scales(graph.read(name), most))


class WeightsOnly:
    """The graph says how the weights were rounded, and OpenVINO how it multiplies with them."""

    def multiply(self, graph: MambaGraph, x: str, name: str) -> str:
        codes, scales = self._shared(graph, name)
        weight = graph.add("DequantizeLinear", codes, scales, axis=0)
        return graph.add("Gemm", x, weight, transB=1)

    def look_up(self, graph: MambaGraph, ids: str, name: str) -> str:
        codes, scales = self._shared(graph, name)
        rows = graph.add("Cast", graph.add("Gather", codes, ids, axis=0), to=FLOAT)
        factors = graph.add("Gather", scales, ids, axis=0)
        return graph.add("Mul", rows, graph.add("Unsqueeze", factors, graph.integers(1)))

    def _shared(self, graph: MambaGraph, name: str) -> tuple[str, str]:
        codes = graph.shared(f"{name}.codes", lambda: _codes(graph.read(name), MOST))
        return codes, graph.shared(f"{name}.scales", lambda: _scales(graph.read(name), MOST))


def _scales(matrix: np.ndarray, most: int) -> np.ndarray:
    """One for each output: float32 (outputs,)."""
    return np.abs(matrix).max(axis=1) / np.float32(most)


def _codes(matrix: np.ndarray, most: int) -> np.ndarray:
    """int8 (outputs, inputs)."""
    return np.rint(matrix / _scales(matrix, most)[:, None]).astype(np.int8)


STORAGES: dict[str, Storage] = {
    "float32": Float32(),
    "dynamic": Dynamic(),
    "weights_only": WeightsOnly(),
}
"""By the names of the graphs' files."""
