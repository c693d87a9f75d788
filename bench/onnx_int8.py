"""An ONNX graph's matrix products in int8, by ONNX Runtime's own tool.

Activations get 8 bits as the graph runs, with one scale and one zero for all rows of a product. The
weights are signed and have a scale for each output: with unsigned ones, another choice of the tool,
DeiT-tiny takes 40 % longer on a CPU with VNNI (ONNX Runtime 1.32). The patches stay in floats,
because ONNX Runtime has no convolution with signed weights.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from instructions import lacking
from onnxruntime.quantization import QuantType, quantize_dynamic


def in_int8(model: bytes) -> bytes:
    """Quantise every product with a constant matrix, which a Gemm has as well.

    Where the CPU has no VNNI, ONNX Runtime adds two products in 16 bits, which overflow. Weights
    have 7 bits there, as its documentation advises (``reduce_range``): with 8, AVX2's logits of
    DeiT-tiny were 29 % of the largest away from those of float32, and with 7 they are 5 %.
    """
    with tempfile.TemporaryDirectory() as folder, _without_advice():
        path = Path(folder, "int8.onnx")
        quantize_dynamic(
            onnx.load_from_string(model),
            path,
            op_types_to_quantize=["MatMul"],  # the tool makes those of a Gemm
            per_channel=True,
            weight_type=QuantType.QInt8,
            reduce_range=bool(lacking(["VNNI"])),
            # The tool does not find out what operators of ONNX Runtime's own give.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        return path.read_bytes()


@contextmanager
def _without_advice() -> Iterator[None]:
    """The tool recommends to optimise the graph before, and logs so every time.

    ONNX Runtime does that when it loads the graph.
    """
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
