"""Single operations of the original that were recorded with their arguments."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def recorded_operation(golden: Path, family: str, case: str) -> dict[str, np.ndarray]:
    """Arguments, ``param/NAME`` and results of one of a family's operations."""
    with np.load(golden / family / "ops.npz") as ops:
        found = {key: ops[key] for key in ops if key.startswith(f"{case}/")}
    return {key.removeprefix(f"{case}/"): array for key, array in found.items()}
