"""Whether int8 changes what the bundled network sees in the scans that it was trained for."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import checkout  # noqa: F401  (finds tests.support)

import vimnp
from tests.support.digits import all_scans
from vimnp.weights import BUNDLED_DIGITS


def changed_classes() -> dict[str, Any] | None:
    """The number of scans, and of those whose class changes; None without scikit-learn's data."""
    if find_spec("sklearn") is None:
        return None
    scans, _ = all_scans()
    exact, rounded = (
        vimnp.VisionMamba.from_npz(BUNDLED_DIGITS, backend="native", precision=precision)(scans)
        for precision in ("float32", "int8")
    )
    return {
        "scans": len(scans),
        "changed": int((exact.argmax(1) != rounded.argmax(1)).sum()),
    }
