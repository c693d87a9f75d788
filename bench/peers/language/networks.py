"""Which language models are compared, and what runs each of them.

All are the same network with the same random weights, in float32 or rounded to fewer bits. Nothing
that loads a framework is imported here: each network's process loads its own alone, and what a
loader imports, a user of that run-time imports as well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

from peers.language.runner import Runner

Load: TypeAlias = Callable[[Path, int], Runner]
"""Takes the path of the weights and the number of threads."""


class Network(NamedTuple):
    """A network in a run-time.

    Parameters
    ----------
    label : str
        In tables and plots.
    storage : str
        Of its matrices: one of ``TOLERANCES``.
    weights : str
        Name of its weights, which ``weights_files.py`` writes.
    load : callable
        Loads them.
    needs : tuple of str
        Modules that vimnp does without.
    package : str
        The run-time's distribution, whose version is recorded.
    """

    label: str
    storage: str
    weights: str
    load: Load
    needs: tuple[str, ...] = ()
    package: str = "vimnp"


TOLERANCES = {
    "float32": 1e-4,
    "float16": 1e-2,
    "bfloat16": 5e-2,
    "int8": 0.15,
    "dynamic int8": 0.5,  # one scale for all activations of a product
    "int4": 0.8,
}
"""How far logits may be from float32's, relative to the largest of these.

A network with an error is as far as random logits are: by more than the largest.
"""


def _vimnp(path: Path, num_threads: int, *, backend: str) -> Runner:
    from peers.language.vimnp_runner import VimnpRunner

    return VimnpRunner(path, num_threads, backend)


def _llama(path: Path, num_threads: int) -> Runner:
    from peers.language.llama_runner import LlamaRunner

    return LlamaRunner(path, num_threads)


def _openvino(path: Path, num_threads: int) -> Runner:
    from peers.language.openvino_runner import OpenVinoRunner

    return OpenVinoRunner(path, num_threads)


def _onnxruntime(path: Path, num_threads: int) -> Runner:
    from peers.language.onnxruntime_runner import OnnxRuntimeRunner

    return OnnxRuntimeRunner(path, num_threads)


def _transformers(path: Path, num_threads: int) -> Runner:
    from peers.language.transformers_runner import TransformersRunner

    return TransformersRunner(path, num_threads)


NATIVE = {
    f"vimnp-{storage}": Network(
        f"vimnp native, {storage}", storage, f"{storage}.npz", partial(_vimnp, backend="native")
    )
    for storage in ("float32", "bfloat16", "int8", "int4")
}

LLAMA = {
    f"llama-{kind}": Network(
        f"llama.cpp, {kind}",
        storage,
        f"{kind}.gguf",
        _llama,
        ("llama_cpp", "gguf"),
        "llama-cpp-python",
    )
    for kind, storage in (
        ("F32", "float32"),
        ("F16", "float16"),
        ("Q8_0", "int8"),
        ("Q4_0", "int4"),
    )
}

NETWORKS = {
    **NATIVE,
    "vimnp-numpy": Network(
        "vimnp numpy, float32", "float32", "float32.npz", partial(_vimnp, backend="numpy")
    ),
    **LLAMA,
    "openvino-float32": Network(
        "OpenVINO, float32", "float32", "float32", _openvino, ("openvino", "onnx"), "openvino"
    ),
    "openvino-int8": Network(
        "OpenVINO, int8", "int8", "weights_only", _openvino, ("openvino", "onnx"), "openvino"
    ),
    "onnxruntime-float32": Network(
        "ONNX Runtime, float32",
        "float32",
        "float32",
        _onnxruntime,
        ("onnxruntime", "onnx"),
        "onnxruntime",
    ),
    "onnxruntime-int8": Network(
        "ONNX Runtime, dynamic int8",
        "dynamic int8",
        "dynamic",
        _onnxruntime,
        ("onnxruntime", "onnx"),
        "onnxruntime",
    ),
    "transformers": Network(
        "transformers, float32",
        "float32",
        "transformers",
        _transformers,
        ("transformers", "torch", "safetensors"),
        "transformers",
    ),
}
"""By the names that ``--peers`` takes."""
