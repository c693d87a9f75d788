"""Instructions that targets are for, which not every CPU has."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_FLAGS = {"AVX-512": "avx512f", "VNNI": "vnni"}  # as Linux names them


def lacking(wanted: Iterable[str]) -> list[str]:
    """Which of them this CPU does not have."""
    flags = Path("/proc/cpuinfo").read_text()
    return [name for name in wanted if _FLAGS[name] not in flags]
