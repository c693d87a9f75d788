"""What vimnp is to reach with int8, and whether a record shows that it does.

The targets are for two cores with AVX-512 and VNNI, and pictures of 224 pixels unless they say
otherwise. The Raspberry Pi's are for estimates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from peers.int8.networks import DEITS
from peers.record import Results, fastest, quotient
from peers.target import Target
from peers.units import megabytes, milliseconds, percent, threads, times

WANTED = ("AVX-512", "VNNI")  # instructions
USUAL_SIDE = 224

SETS = {
    "avx512vnni": "AVX-512 VNNI",
    "avx512": "AVX-512",
    "avxvnni": "AVX-VNNI",
    "avx2": "AVX2",
    "baseline": "SSE2",
}
"""Names of instruction sets in words."""


def targets(results: Results) -> Iterator[Target]:
    """All of them, with the figures of a record."""
    yield from _over_float32(results)
    yield from _over_deit(results)
    yield from _steps(results)
    yield from _files(results)
    boards = results.get("boards") or {}  # older records have none
    for board, bound in (("Pi 4", 85e-3), ("Pi 5", 27e-3)):
        what = f"estimate for a Raspberry {board}"
        yield Target(what, bound, True, boards.get(board), milliseconds)
    digits = results["digits"] or {}
    what = "digits, of 1,797 scans those whose class changes"
    yield Target(what, 0, True, digits.get("changed"), lambda number: f"{number:.0f}")


def _over_float32(results: Results) -> Iterator[Target]:
    """Seconds of a pass over those of the same network in float32."""
    for number, bound in ((1, 0.52), (2, 0.56)):
        ours, theirs = (
            fastest(results, [name], number, USUAL_SIDE)
            for name in ("vim-native-int8", "vim-native")
        )
        what = f"int8 over float32, {threads(number)}"
        yield Target(what, bound, True, quotient(ours, theirs), times)
    row = _rows_of_sets(results).get("avx2", {})
    figure = quotient(row.get("int8"), row.get("float32"))
    yield Target("int8 over float32, AVX2, 1 thread", 0.74, True, figure, times)


def _over_deit(results: Results) -> Iterator[Target]:
    """Seconds of a pass over those of the faster form of DeiT-tiny."""
    rounded = [f"{name}-int8" for name in DEITS]
    for what, others, side, number, bound in (
        ("float32", list(DEITS), USUAL_SIDE, 1, 0.7),
        ("float32", list(DEITS), USUAL_SIDE, 2, 0.7),
        ("int8 per channel", rounded, USUAL_SIDE, 1, 1.25),
        ("int8 per channel", rounded, 448, 1, 0.74),
        ("int8 per channel", rounded, 672, 1, 0.47),
    ):
        ours = fastest(results, ["vim-native-int8"], number, side)
        figure = quotient(ours, fastest(results, others, number, side))
        text = f"int8 over DeiT-tiny, ONNX Runtime {what}, {side} pixels, {threads(number)}"
        yield Target(text, bound, True, figure, times)


def _steps(results: Results) -> Iterator[Target]:
    """Of a pass in vimnp's native backend with one thread."""
    rows = _rows_of_sets(results)
    what = "in_proj, share of the core's int8 multiply-adds"
    yield Target(what, 0.85, False, rows.get("avx512vnni", {}).get("in_proj"), percent)
    for isa, bound in (("avx512", 0.88), ("avx2", 0.78), ("baseline", 0.8)):
        scans = rows.get(isa, {}).get("scans", {})
        figure = quotient(scans.get("int8"), scans.get("float32"))
        what = f"scan of one layer, int8's over float32's, {SETS[isa]}"
        yield Target(what, bound, True, figure, times)


def _rows_of_sets(results: Results) -> dict[str, dict[str, Any]]:
    return {row["isa"]: row for row in results["steps"] if row["side"] == USUAL_SIDE}


def _files(results: Results) -> Iterator[Target]:
    """Memory and time that a file takes."""
    peaks = {
        row["precision"]: row["peak_memory"]
        for row in results["predict"]
        if row["side"] == USUAL_SIDE
    }
    what = "peak memory of `vimnp predict`, int8"
    yield Target(what, 48e6, True, peaks.get("int8"), megabytes)
    loads = {row["network"]: row["load"] for row in results["files"] if row["side"] == USUAL_SIDE}
    figure = quotient(loads.get("vim-native-int8"), loads.get("vim-native"))
    yield Target("loading an int8 file over a float32 file", 0.9, True, figure, times)
