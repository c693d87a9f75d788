"""What one run of the comparison gives: ``comparison.py`` makes it, report and plots read it.

As in results.json:

    date, machine, versions, rounds    where, with what and how it was measured
    parameters                         number by family
    latency                            a row for each network, side and number of threads
    scan_modes                         a row for each mode and number of threads
    start                              a row for each network: peak_memory, cold_start
    agreement                          a row for each family and side: largest difference of logits

Rows of times have median, lower_quartile and upper_quartile in seconds, and the number of passes.
Memory is in bytes, sides are in pixels.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Results: TypeAlias = dict[str, Any]
