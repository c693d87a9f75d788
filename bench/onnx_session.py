"""Networks in ONNX Runtime, ready to run."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import onnxruntime


def session(
    model: bytes | str | os.PathLike[str], num_threads: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Prepare a network to run with so many threads, ONNX Runtime's other settings untouched.

    Parameters
    ----------
    model : bytes or path-like
        As :meth:`Graph.model` makes it, or a file of it.
    num_threads : int

    Returns
    -------
    callable
        Maps pixels, float32 (3, side, side), to logits, float32 (1000,).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    prepared = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(pixels: np.ndarray) -> np.ndarray:
        return prepared.run(["logits"], {"pixels": pixels[None]})[0][0]

    return run
