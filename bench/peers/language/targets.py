"""What vimnp is to reach among the language models, and whether a record shows that it does.

The targets are for two cores with AVX-512 and VNNI, and mamba-130m's sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from peers.language.record import bytes_per_second, tokens_per_second
from peers.language.starts import COMMAND
from peers.language.workloads import BATCH, DECODE, DECODE_BATCH, LONGEST, PROMPT_LONGEST
from peers.record import Results
from peers.target import Target
from peers.units import megabytes, percent, seconds, threads, times

WANTED = ("AVX-512", "VNNI")  # instructions


def targets(results: Results) -> Iterator[Target]:
    """All of them, with the figures of a record."""
    ratio, share, start = _ratios(results), _memory_share(results), _starts(results)
    int8, float32 = "vimnp-int8", "vimnp-float32"
    for number, bound in ((1, 2.2), (2, 2.6)):
        yield ratio(
            "decoding, int8, over llama.cpp Q8_0", bound, number, DECODE, int8, "llama-Q8_0"
        )
    for number, bound in ((1, 0.9), (2, 0.8)):
        yield share(bound, number, float32)
    what = "decoding, int4, over llama.cpp Q4_0"
    yield ratio(what, 3.0, 2, DECODE, "vimnp-int4", "llama-Q4_0")
    what = f"prompt of {LONGEST}, float32, over OpenVINO float32"
    yield ratio(what, 1.6, 2, PROMPT_LONGEST, float32, "openvino-float32")
    what = f"prompt of {LONGEST}, int8, over OpenVINO int8"
    yield ratio(what, 3.0, 2, PROMPT_LONGEST, int8, "openvino-int8")
    for number in (1, 2):
        what = "NumPy backend, decoding, over transformers"
        yield ratio(what, 2.0, number, DECODE, "vimnp-numpy", "transformers")
    yield start("peak memory, int8", 190e6, int8, "peak_memory", megabytes)
    what = f"`{COMMAND}`, int8, from the start of its process to the first token"
    yield start(what, 0.35, COMMAND, "first_token", seconds)
    for number in (1, 2):
        what = f"decoding {BATCH} sequences at once, int8, tokens/s over those of one"
        yield ratio(what, 3.0, number, DECODE_BATCH, int8, int8, DECODE)


def _ratios(results: Results) -> Callable[..., Target]:
    speed = tokens_per_second(results)

    def ratio(
        what: str,
        bound: float,
        number: int,
        workload: str,
        network: str,
        other: str,
        others_workload: str = "",
    ) -> Target:
        """Tokens/s of a network over those of another one, or of another workload."""
        ours = speed.get((network, number, workload))
        theirs = speed.get((other, number, others_workload or workload))
        figure = ours / theirs if ours and theirs else None
        return Target(f"{what}, {threads(number)}", bound, False, figure, times)

    return ratio


def _memory_share(results: Results) -> Callable[[float, int, str], Target]:
    speed, rates = tokens_per_second(results), bytes_per_second(results)

    def share(bound: float, number: int, network: str) -> Target:
        """Bytes of weights that decoding reads in a second over those that the machine can."""
        ours, rate = speed.get((network, number, DECODE)), rates.get(number)
        figure = results["weight_bytes"] * ours / rate if ours and rate else None
        what = "decoding, float32, bytes of weights x tokens/s over the memory rate"
        return Target(f"{what}, {threads(number)}", bound, False, figure, percent)

    return share


def _starts(results: Results) -> Callable[..., Target]:
    rows = {row["network"]: row for row in results["start"]}

    def start(
        what: str, bound: float, network: str, column: str, write: Callable[[float], str]
    ) -> Target:
        """Memory or time of a process."""
        return Target(what, bound, True, rows.get(network, {}).get(column), write)

    return start
