"""The pictures that lie in the repository: handwritten digits, which the bundled model reads."""

from __future__ import annotations

from pathlib import Path

SCANS = sorted((Path(__file__).parents[1] / "data").glob("digit_*.png"))
"""A 0, a 1, and so on up to 9."""
