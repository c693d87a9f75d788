"""Instructions that one picture takes on the cores of a Raspberry Pi 4 and 5, counted by emulation.

    python bench/arm_instructions.py PYTHON

PYTHON is an emulated 64-bit ARM Python with vimnp, numpy and threadpoolctl. qemu-user counts, by
the plugin count_instructions.c. Counts are exact and repeatable; they say nothing of how long an
instruction takes (for that see cortex_a72.py).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from layer_arrays import add_norm, convolution, scan
from script_tables import arm_instructions
from surroundings import run

from vimnp.models.precision import PRECISIONS

ASK = 4242  # count_instructions.c
CORES = {"cortex-a72": "Raspberry Pi 4", "cortex-a76": "Raspberry Pi 5"}
TOKENS, LAYERS = 197, 24
KERNELS = {"scan": scan, "convolutions": convolution, "norm": add_norm}
PASSES = [(backend, precision) for precision in PRECISIONS for backend in ("numpy", "native")]
CALLS = (*KERNELS, *(f"{backend}, {precision}" for backend, precision in PASSES))


def calls() -> Iterator[Callable[[], object]]:
    """One layer's kernels, and whole passes of Vim-tiny, each on one thread, as in CALLS."""
    from limits import forward_pass, network

    yield from (kernel(TOKENS, 1) for kernel in KERNELS.values())
    yield from (forward_pass(*network(224, 1, *way)) for way in PASSES)


def count() -> None:
    """In the emulated Python: ask before and after each call, once it is warm."""
    ask = ctypes.CDLL(None).syscall
    for label, call in enumerate(calls(), 1):
        call()
        ask(ASK, 0)
        call()
        ask(ASK, label)


def counted(python: str, core: str, plugin: Path) -> dict[str, int]:
    """Instructions of each call on a core."""
    environment = {
        **os.environ,
        "ARM_CPU": core,
        "QEMU_PLUGIN": str(plugin),
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [python, __file__, "--count"], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    found = dict(re.findall(r"^instructions (\d+) (\d+)$", done.stderr, re.MULTILINE))
    return {name: int(found[str(label)]) for label, name in enumerate(CALLS, 1)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: a row for each core and call."""
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder, "count_instructions.so")
        source = Path(__file__).with_name("count_instructions.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", source, "-o", plugin], check=True)
        found = {core: counted(options.python, core, plugin) for core in CORES}
    return {
        "kernels": list(KERNELS),
        "layers": LAYERS,
        "counts": [
            {"core": core, "board": CORES[core], "call": call, "instructions": number}
            for core, counts in found.items()
            for call, number in counts.items()
        ],
    }


def main() -> None:
    if sys.argv[1:] == ["--count"]:
        count()
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("python", metavar="PYTHON", help="emulated, with vimnp")
    run(parser, measure, arm_instructions)


if __name__ == "__main__":
    main()
