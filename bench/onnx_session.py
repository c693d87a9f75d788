"""Networks in ONNX Runtime, ready to run."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import onnxruntime


def session(
    model: bytes | str | os.PathLike[str], num_threads: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Prepare a network of pictures to run with so many threads.

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
    loaded = load(model, num_threads)

    def run(pixels: np.ndarray) -> np.ndarray:
        return loaded.run(["logits"], {"pixels": pixels[None]})[0][0]

    return run


def load(model: bytes | str | os.PathLike[str], num_threads: int) -> onnxruntime.InferenceSession:
    """A model that runs with so many threads, ONNX Runtime's other settings untouched."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
