"""How long int8 takes on Raspberry Pis, as ``bench/cortex_a72.py --int8`` estimates it."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

from cortex_a72 import ANOTHER, LLVM_MCA

from peers.processes import BENCH


class Board(NamedTuple):
    """Its core, as llvm-mca knows it or a sibling of it, and its clock."""

    cpu: str
    gigahertz: float


BOARDS = {"Pi 4": Board("cortex-a72", 1.5), "Pi 5": Board("neoverse-n1", 2.4)}
"""By name, for which there are targets."""

# Milliseconds, products longer than their loops, as that program says.
_EXPECTED = re.compile(r"^expected +([0-9.]+)$", re.MULTILINE)

log = logging.getLogger(__name__)


def estimates() -> dict[str, float | None]:
    """Seconds of a picture by board; None where the program that estimates has not its tools."""
    return {name: _estimate(name, board) for name, board in BOARDS.items()}


def _estimate(name: str, board: Board) -> float | None:
    command = [sys.executable, BENCH / "cortex_a72.py", "--int8", "--llvm-mca", newest_llvm_mca()]
    command += ["--cpu", board.cpu, "--gigahertz", str(board.gigahertz)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = _EXPECTED.search(done.stdout)
    if done.returncode or found is None:
        reason = (done.stderr or done.stdout).strip().splitlines()
        log.info("  no estimate for a %s: %s", name, reason[-1] if reason else "no sum")
        return None
    if ANOTHER in done.stdout:
        log.info("  no estimate for a %s: llvm-mca has no model of %s", name, board.cpu)
        return None
    return float(found[1]) / 1e3


def newest_llvm_mca() -> str:
    """The llvm-mca of the highest number: older ones do not know the Pi 5's core."""
    plain, *numbered = LLVM_MCA
    return next(filter(shutil.which, [*numbered, plain]), plain)
