"""What a pass of Vim-tiny adds to its products and scans, and what more tokens and threads cost.

    python bench/limits.py [--rounds 40]

The NumPy backend, whose parts can be called by themselves. What is compared is measured in turn, in
one run; every figure is a median.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import numpy as np
from script_tables import Bound, bounds
from surroundings import rounds_parser, run
from threadpoolctl import ThreadpoolController

import vimnp
from vimnp.measure.timing import time_in_turn
from vimnp.models.precision import Precision
from vimnp.models.vim.model import VisionMamba
from vimnp.models.vim.network import Layer, NumpyVim, Pass
from vimnp.runtime import extension

Call = Callable[[], object]

VECTOR_SETS = [name for name in extension.usable_instruction_sets() if name != "scalar"]

_SAME_FLOATS = {"avx512vnni": "avx512", "avxvnni": "avx2", "neondotprod": "neon"}
FLOAT_SETS = [
    name
    for name in extension.usable_instruction_sets()
    if _SAME_FLOATS.get(name) not in extension.usable_instruction_sets()
]
"""Those of this machine whose float32 differs."""

PAUSE = 0.1  # seconds before a turn; OpenBLAS spins for a fifth of it
BLAS = ThreadpoolController().select(user_api="blas")


def medians(
    calls: dict[Any, Call], rounds: int, burst: int = 1, pause: float = 0.0
) -> dict[Any, float]:
    """Median seconds of each call, in turn; see :func:`vimnp.measure.timing.time_in_turn`."""
    warm_up = 3 if burst > 1 else 1
    seconds = time_in_turn(calls, rounds, burst=burst, warm_up=warm_up, pause=pause)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def instruction_set(name: str | None) -> AbstractContextManager[object]:
    """In here, the kernels of this name are taken; plain NumPy for None."""
    if name is None:
        return mock.patch.object(extension, "_scan", None)
    return mock.patch.dict(os.environ, VIMNP_ISA=name)


def blas_as_it_is_set() -> AbstractContextManager[object]:
    """A model that is made in here leaves the threads of the BLAS as they are in its passes."""
    return mock.patch.dict(os.environ, OPENBLAS_NUM_THREADS="as set")


def with_threads(call: Call, blas_threads: int) -> Call:
    def limited() -> None:
        with BLAS.limit(limits=blas_threads):
            call()

    return limited


# ---- The network's parts -------------------------------------------------------------------------


def pixels(side: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3, side, side)).astype(np.float32)


def network(
    side: int = 224,
    num_threads: int = 1,
    backend: str = "numpy",
    precision: Precision = "float32",
) -> tuple[VisionMamba, np.ndarray]:
    """Vim-tiny for pictures of this size, and one."""
    config = dataclasses.replace(vimnp.config.VIM_TINY, img_size=(side, side))
    model = vimnp.VimTiny.random(
        config=config, num_threads=num_threads, backend=backend, precision=precision
    )
    return model, pixels(side)


def forward_pass(model: VisionMamba, image: np.ndarray) -> Call:
    return lambda: model(image)


def numpy_network(model: VisionMamba) -> NumpyVim:
    """Of a model on the NumPy backend."""
    network = model._network
    assert isinstance(network, NumpyVim)
    return network


def workspace(model: VisionMamba) -> Pass:
    """What the last pass has written."""
    with numpy_network(model)._spares.one() as w:
        return w


def products_alone(model: VisionMamba) -> Call:
    """Every matrix product of a pass, on the arrays of the pass, and nothing else."""
    p, w = numpy_network(model).plain(), workspace(model)
    patches = w.patches.reshape(model.config.num_patches, -1)

    def run() -> None:
        np.matmul(patches, p.patch_proj, out=w.residual[1:])
        for layer in p.layers:
            layer_products(numpy_network(model), layer, w)
        w.normed[0] @ p.head

    return run


def layer_products(network: NumpyVim, layer: Layer, w: Pass) -> None:
    network._in_proj(w, layer)
    for direction, d in zip(layer.directions, w.parameter_sets, strict=True):
        network._x_proj(w, direction, d)
        network._dt_proj(w, direction, d)
    network._out_proj(w, layer, w.hidden)


def scans_alone(model: VisionMamba) -> Call:
    w, network = workspace(model), numpy_network(model)

    def run() -> None:
        for layer in network.plain().layers:
            network._scan(w, layer)

    return run


def one_layer(model: VisionMamba) -> dict[str, Call]:
    """One layer whole, and its products and its scan."""
    network, w = numpy_network(model), workspace(model)
    layer = network.plain().layers[0]

    def whole() -> None:
        network._add_norm(w, w.residual, w.hidden, layer.norm, w.normed)
        network._mixer(w, layer, w.hidden)

    return {
        "whole": whole,
        "products": lambda: layer_products(network, layer, w),
        "scan": lambda: network._scan(w, layer),
    }


# ---- The rows ------------------------------------------------------------------------------------


def rows(rounds: int) -> Iterator[Bound]:
    """Every figure, with what it is to be."""
    with BLAS.limit(limits=1):
        yield from one_thread(rounds)
        yield from tokens(rounds)
    yield from threads(rounds)


def one_thread(rounds: int) -> Iterator[Bound]:
    model, image = network()
    model(image)
    layer = medians(one_layer(model), rounds, 30)
    share = 1 - (layer["products"] + layer["scan"]) / layer["whole"]
    yield Bound("a layer's time in neither products nor scan", share, "%", 0.15)
    found = medians(
        {
            "whole": forward_pass(model, image),
            "products": products_alone(model),
            "scans": scans_alone(model),
        },
        rounds,
    )
    ratio = found["whole"] / (found["products"] + found["scans"])
    what = "the network, 1 thread, over its products alone + its scans alone"
    yield Bound(what, ratio, "x", 1.10)


def threads(rounds: int) -> Iterator[Bound]:
    with blas_as_it_is_set():
        models = {number: network(num_threads=number) for number in (1, 2, 3, 4, 8, 16)}
    for blas_threads in (1, 2):
        found = medians(
            {
                str(number): with_threads(forward_pass(model, image), blas_threads)
                for number, (model, image) in models.items()
            },
            rounds,
        )
        worst = max(found, key=lambda number: found[number])
        what = f"the network, any threads of ours from 1 to 16 over 1, {blas_threads} of BLAS"
        yield Bound(what, found[worst] / found["1"], "x", 1.10, f"{worst} threads")


def tokens(rounds: int) -> Iterator[Bound]:
    calls = {}
    for side in (512, 1024):
        calls[str(side)] = forward_pass(*network(side))
    found = medians(calls, max(rounds // 8, 3))
    yield Bound("4097 tokens over 1025, the network", found["1024"] / found["512"], "x", 4.2)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: a row for each :class:`script_tables.Bound`."""
    return {
        "rounds": options.rounds,
        "bounds": [bound._asdict() for bound in rows(options.rounds)],
    }


def main() -> None:
    run(rounds_parser(__doc__, 40), measure, bounds)


if __name__ == "__main__":
    main()
