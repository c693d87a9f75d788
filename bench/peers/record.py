"""What one run of the comparison gives: ``comparison.py`` makes it, report and plots read it.

As in results.json:

    date, machine, versions, rounds    where, with what and how it was measured
    parameters                         number by family
    latency                            a row for each network, side and number of threads
    scan_modes                         a row for each mode and number of threads
    start                              a row for each network: peak_memory, cold_start
    agreement                          a row for each family, precision and side: largest
                                       difference of logits

Rows of times have median, lower_quartile and upper_quartile in seconds, and the number of passes.
Memory is in bytes, sides are in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

Results: TypeAlias = dict[str, Any]


def fastest(results: Results, networks: Sequence[str], num_threads: int, side: int) -> float | None:
    """Median seconds of a pass of the fastest of some networks; None if none was measured."""
    found = [
        row["median"]
        for row in results["latency"]
        if row["network"] in networks and (row["threads"], row["side"]) == (num_threads, side)
    ]
    return min(found, default=None)


def quotient(number: float | None, by: float | None) -> float | None:
    """None if either was not measured."""
    return number / by if number and by else None
