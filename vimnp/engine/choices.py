"""The words that options take, for those who check types."""

from __future__ import annotations

from typing import Literal, TypeAlias

Scan: TypeAlias = Literal["fused", "sequential", "fixlen", "fused_fixlen"]
"""How to scan; see :func:`vimnp.ops.selective_scan_bidirectional`."""

Backend: TypeAlias = Literal["auto", "numpy", "native"]
"""What multiplies the matrices; see :class:`vimnp.VisionMamba`."""
