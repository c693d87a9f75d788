"""Networks in OpenVINO, ready to run."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import openvino


def session(path: str | os.PathLike[str], num_threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Prepare a network of pictures, as :func:`onnx_session.session` does.

    Parameters
    ----------
    path : path-like
        An ONNX file of "pixels" and "logits".
    num_threads : int
    """
    request = load(path, num_threads).create_infer_request()

    def run(pixels: np.ndarray) -> np.ndarray:
        return request.infer({"pixels": pixels[None]})["logits"][0].copy()

    return run


def load(path: str | os.PathLike[str], num_threads: int) -> openvino.CompiledModel:
    """A model that runs with so many threads, set as its documentation advises for low latency."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": num_threads,
        "INFERENCE_PRECISION_HINT": "f32",  # some CPUs would multiply in bfloat16
    }
    return openvino.compile_model(os.fspath(path), "CPU", settings)
