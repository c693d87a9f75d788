"""What the breakdowns of a pass have in common: names of its steps, and the peak beside them."""

from __future__ import annotations

import time

from vimnp.measure.profiling import Span
from vimnp.runtime import extension


def step(span: Span) -> str:
    """An operation's, but that the native backend computes dt_proj within the scan."""
    return "scan" if span.operation == "dt_proj" else span.operation


def peak_rate() -> float:
    """Multiply-adds a second of one core, without memory."""
    compiled = extension.kernels()
    assert compiled is not None
    start = time.perf_counter()
    number = compiled.multiply_adds(500_000)
    return number / (time.perf_counter() - start)
