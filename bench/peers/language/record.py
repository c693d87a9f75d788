"""What one run gives: ``comparison.py`` makes it, targets, report and plots read it.

As in results.json:

    date, machine, lacks, versions, rounds    where, with what and how it was measured
    size, parameters, weight_bytes            of the network, in float32
    speed        a row for each network, number of threads and workload, whose tokens it has
    memory_rate  a row for each number of threads, with the bytes that were read
    start        a row for each network and for ``vimnp generate``: peak_memory, first_token
    agreement    a row for each network and number of threads: largest difference of logits

Rows of times have median, lower_quartile and upper_quartile in seconds, and the number of passes.
"""

from __future__ import annotations

from peers.record import Results


def tokens_per_second(results: Results) -> dict[tuple[str, int, str], float]:
    """Medians, by network, number of threads and workload."""
    return {
        (row["network"], row["threads"], row["workload"]): row["tokens"] / row["median"]
        for row in results["speed"]
    }


def bytes_per_second(results: Results) -> dict[int, float]:
    """Of reading memory, by number of threads."""
    return {row["threads"]: row["bytes"] / row["median"] for row in results["memory_rate"]}
