"""How near the kernels are to what the machine can do: prints the table of bench/README.md.

    python bench/limits.py [--rounds 40]

What is compared is measured in turn, in one run; every figure is a median. The Cortex-A72's line
comes from bench/cortex_a72.py, which analyses the compiled code.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import numpy as np
from layer_arrays import D_INNER, D_STATE, normal, scan
from surroundings import print_table, rounds_asked_for
from threadpoolctl import ThreadpoolController

import vimnp
from vimnp.measure.timing import time_in_turn
from vimnp.models.precision import Precision
from vimnp.models.vim.model import VisionMamba
from vimnp.models.vim.network import Layer, NumpyVim, Pass
from vimnp.runtime import extension

Call = Callable[[], object]
SCAN_TARGETS = {"avx512": 275, "avx2": 505, "baseline": 1700}  # microseconds

VECTOR_SETS = [name for name in extension.usable_instruction_sets() if name != "scalar"]

# Products and multiply-adds for one state and token in vimnp/csrc/scan.h: delta A (twice with
# AVX2), polynomial (2 with the table, 6 without), its product with the table's number, delta u B,
# h, y.
MULTIPLY_ADDS = {"avx512": 7, "avx2": 11}

PAUSE = 0.1  # seconds before a turn; OpenBLAS spins for a fifth of it
BLAS = ThreadpoolController().select(user_api="blas")


def medians(
    calls: dict[Any, Call], rounds: int, burst: int = 1, pause: float = 0.0
) -> dict[Any, float]:
    """Median seconds of each call, in turn; see :func:`vimnp.measure.timing.time_in_turn`."""
    warm_up = 3 if burst > 1 else 1
    seconds = time_in_turn(calls, rounds, burst=burst, warm_up=warm_up, pause=pause)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def instruction_set(name: str) -> AbstractContextManager[object]:
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


def rows(rounds: int) -> Iterator[tuple[str, str, str]]:
    """What, at most, measured."""
    with BLAS.limit(limits=1):
        yield from least_time(rounds)
        yield from scans(rounds)
        yield from one_thread(rounds)
        yield from tokens(rounds)
    yield from threads(rounds)


def scans(rounds: int) -> Iterator[tuple[str, str, str]]:
    for name, target in SCAN_TARGETS.items():
        what = f"fused scan of one layer, 1 thread, `{name}`"
        if name not in extension.usable_instruction_sets():
            yield what, f"{target} us", "not on this machine"
            continue
        with instruction_set(name):
            found = medians({"scan": scan(197, 1)}, rounds, 30)
        yield what, f"{target} us", f"{found['scan'] * 1e6:.0f} us"
    for name in VECTOR_SETS:
        with instruction_set(name):
            found = medians({"one": scan(197, 1), "two": scan(197, 2)}, rounds, 30)
        ratio = found["two"] / found["one"]
        yield f"fused scan, 2 threads over 1, `{name}`", "0.55", f"{ratio:.2f}"


def least_time(rounds: int) -> Iterator[tuple[str, str, str]]:
    """The scan's multiply-adds at the rate that a large matrix product reaches."""
    name = extension.instruction_set()
    number = MULTIPLY_ADDS.get(name or "none")
    if number is None:
        return
    size = 1024
    a, b, out = (normal(size, size) for _ in range(3))
    seconds = medians({"product": lambda: np.matmul(a, b, out=out)}, rounds)["product"]
    least = 2 * 197 * D_INNER * D_STATE * number * seconds / size**3
    yield f"a scan's {number} multiply-adds a state alone, `{name}`", "-", f"{least * 1e6:.0f} us"


def one_thread(rounds: int) -> Iterator[tuple[str, str, str]]:
    model, image = network()
    model(image)
    layer = medians(one_layer(model), rounds, 30)
    share = 1 - (layer["products"] + layer["scan"]) / layer["whole"]
    yield "a layer's time in neither products nor scan", "15 %", f"{share:.1%}"
    found = medians(
        {
            "whole": forward_pass(model, image),
            "products": products_alone(model),
            "scans": scans_alone(model),
        },
        rounds,
    )
    ratio = found["whole"] / (found["products"] + found["scans"])
    yield "the network, 1 thread, over its products alone + its scans alone", "1.10", f"{ratio:.3f}"


def threads(rounds: int) -> Iterator[tuple[str, str, str]]:
    calls = {}
    for number in (1, 2):
        calls[str(number)] = with_threads(forward_pass(*network(num_threads=number)), number)
    found = medians(calls, rounds)
    yield "the network, 2 threads over 1", "0.75", f"{found['2'] / found['1']:.2f}"

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
        yield what, "1.10", f"{found[worst] / found['1']:.2f} ({worst} threads)"


def tokens(rounds: int) -> Iterator[tuple[str, str, str]]:
    calls = {}
    for side in (512, 1024):
        calls[str(side)] = forward_pass(*network(side))
    found = medians(calls, max(rounds // 8, 3))
    yield "4097 tokens over 1025, the network", "4.2", f"{found['1024'] / found['512']:.2f}"


def main() -> None:
    rounds = rounds_asked_for(__doc__, 40)
    print_table(("what", "at most", "measured"), rows(rounds))


if __name__ == "__main__":
    main()
