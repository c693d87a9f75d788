"""Instructions that one picture takes on the cores of a Raspberry Pi 4 and 5, counted by emulation.

    python bench/arm_instructions.py PYTHON

PYTHON is an emulated 64-bit ARM Python with vimnp, numpy and threadpoolctl. qemu-user counts, by
the plugin count_instructions.c. Counts are exact and repeatable; they say nothing of how long an
instruction takes (for that see cortex_a72.py).
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from layer_arrays import add_norm, convolution, scan

ASK = 4242  # count_instructions.c
CORES = {"cortex-a72": "Raspberry Pi 4", "cortex-a76": "Raspberry Pi 5"}
TOKENS, LAYERS = 197, 24
KERNELS = ("scan", "convolutions", "norm")
PASSES = ("a pass, numpy", "a pass, native")


def calls() -> dict[str, Callable[[], object]]:
    """One layer's kernels, and whole passes of Vim-tiny, each on one thread."""
    from limits import forward_pass, network

    found: dict[str, Callable[[], object]] = {
        "scan": scan(TOKENS, 1),
        "convolutions": convolution(TOKENS, 1),
        "norm": add_norm(TOKENS, 1),
    }
    for name in PASSES:
        found[name] = forward_pass(*network(224, 1, name.rpartition(" ")[2]))
    return found


def count() -> None:
    """In the emulated Python: ask before and after each call, once it is warm."""
    ask = ctypes.CDLL(None).syscall
    for label, call in enumerate(calls().values(), 1):
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
    return {name: int(found[str(label)]) for label, name in enumerate((*KERNELS, *PASSES), 1)}


def main() -> None:
    if sys.argv[1:] == ["--count"]:
        count()
        return
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder, "count_instructions.so")
        source = Path(__file__).with_name("count_instructions.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", source, "-o", plugin], check=True)
        found = {core: counted(sys.argv[1], core, plugin) for core in CORES}
    print("| millions of instructions |", " | ".join(f"{c} ({CORES[c]})" for c in CORES), "|")
    print("|---|---|---|")
    for name in KERNELS:
        cells = (f"{counts[name] / 1e6:.2f}" for counts in found.values())
        print(f"| {name} of one layer |", " | ".join(cells), "|")
    sums = (LAYERS * sum(counts[name] for name in KERNELS) for counts in found.values())
    print(f"| all three, {LAYERS} layers |", " | ".join(f"{s / 1e6:.0f}" for s in sums), "|")
    for name in PASSES:
        cells = (f"{counts[name] / 1e6:.0f}" for counts in found.values())
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
