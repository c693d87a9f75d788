"""How long an image takes on a Raspberry Pi 4 and 5, as cortex_a72.py estimates it: all of it.

    python bench/raspberry_pi.py [--compiler GCC] [--llvm-mca LLVM_MCA]

Both boards, float32 and int8 mode. Needs a compiler for AArch64, and an llvm-mca that knows the
Pi 5's core or its sibling.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from cortex_a72 import (
    ANOTHER,
    LONGER,
    Core,
    compile_kernels,
    compiler_version,
    estimates,
    llvm_version,
    model,
    simulate,
    states_of,
    tools_parser,
    total,
    with_tools,
)
from peers.int8.boards import BOARDS, newest_llvm_mca
from script_tables import raspberry_pi_tables
from surroundings import run

from vimnp.models.precision import PRECISIONS


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures: a row for each board, precision and part, and the sums."""
    options.llvm_mca = options.llvm_mca or newest_llvm_mca()
    options = with_tools(options)
    assembly = compile_kernels(options.compiler)
    parts, sums = [], []
    for board, (cpu, gigahertz) in BOARDS.items():
        core = Core(options.llvm_mca, cpu, gigahertz)
        found = model(simulate(core, states_of(assembly, False)), cpu)
        if ANOTHER in found:
            sys.exit(f"llvm-mca's model is {found}")
        for precision in PRECISIONS:
            key = {"board": board, "precision": precision}
            estimated = estimates(assembly, core, precision == "int8")
            parts += [
                key
                | {
                    "part": part.name,
                    "instructions": part.each.instructions,
                    "cycles": part.each.cycles,
                    "seconds": part.milliseconds / 1e3,
                }
                for part in estimated
            ]
            expected = total(estimated, LONGER) / 1e3
            sums.append(key | {"sum": total(estimated) / 1e3, "expected": expected})
    return {
        "compiler": compiler_version(options.compiler),
        "llvm_mca": llvm_version(options.llvm_mca),
        "longer": LONGER,
        "parts": parts,
        "sums": sums,
    }


def main() -> None:
    run(tools_parser(__doc__), measure, raspberry_pi_tables)


if __name__ == "__main__":
    main()
