"""What vimnp is to reach with VMamba, and whether a record shows that it does.

The targets are for two cores with AVX-512, the published sizes, and pictures of 224 pixels unless
they say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from peers.record import Results, fastest, quotient
from peers.target import Target
from peers.units import megabytes, percent, threads, times

WANTED = ("AVX-512",)  # instructions
USUAL_SIDE, LARGE_SIDE = 224, 448

PROTOTYPE_SCANS = {
    "s1l8": (946e-6, 519e-6, 379e-6, 284e-6),
    "v0": (7314e-6, 4277e-6, 1988e-6, 1523e-6),
}
"""Seconds of a block's scan in each stage: of a prototype in C, AVX-512, one thread."""


def targets(results: Results) -> Iterator[Target]:
    """All of them, with the figures of a record."""
    yield from _ratios(results)
    yield from _steps(results)
    for number in (1, 2):
        what = f"s1l8, {LARGE_SIDE} over {USUAL_SIDE} pixels, {threads(number)}"
        larger = fastest(results, ["s1l8-native"], number, LARGE_SIDE)
        usual = fastest(results, ["s1l8-native"], number, USUAL_SIDE)
        yield Target(what, 4.2, True, quotient(larger, usual), times)
    rows = {row["network"]: row for row in results["start"] if row["side"] == USUAL_SIDE}
    memory = rows.get("s1l8-native", {}).get("peak_memory")
    yield Target("peak memory of a prediction, s1l8", 190e6, True, memory, megabytes)


def _ratios(results: Results) -> Iterator[Target]:
    """Seconds of a pass over those of others: of the fastest of several."""
    both = "the faster of ONNX Runtime and OpenVINO"
    unrolled = ["s1l8-openvino-associative", "s1l8-openvino-doubling"]
    for what, ours, others, bounds in (
        (
            f"s1l8 over ConvNeXt-T in {both}",
            "s1l8-native",
            ["convnext-onnx", "convnext-openvino"],
            (1.0, 1.05),
        ),
        (f"s1l8 over Swin-T in {both}", "s1l8-native", ["swin-onnx", "swin-openvino"], (1.0, 1.1)),
        ("s1l8 over itself in OpenVINO, unrolled scans", "s1l8-native", unrolled, (0.42, 0.43)),
        ("s1l8 over itself in PyTorch, loop", "s1l8-native", ["s1l8-torch-loop"], (0.27, 0.16)),
        ("v0 over itself in OpenVINO, Scans", "v0-native", ["v0-openvino-scans"], (0.15, 0.09)),
    ):
        for number, bound in zip((1, 2), bounds, strict=True):
            seconds = fastest(results, [ours], number, USUAL_SIDE)
            theirs = fastest(results, others, number, USUAL_SIDE)
            figure = quotient(seconds, theirs)
            yield Target(f"{what}, {threads(number)}", bound, True, figure, times)


def _steps(results: Results) -> Iterator[Target]:
    """Of a pass in vimnp's native backend with one thread."""
    rows: dict[str, dict[str, Any]] = {
        row["family"]: row for row in results["steps"] if row["side"] == USUAL_SIDE
    }
    products = rows.get("s1l8", {}).get("products")
    for stage in (3, 4):
        what = f"s1l8, products of stage {stage}, share of the core's peak"
        yield Target(what, 0.9, False, products[stage - 1] if products else None, percent)
    what = "s1l8, everything but products and scans, share of a pass"
    yield Target(what, 0.18, True, rows.get("s1l8", {}).get("rest"), percent)
    for family, prototype in PROTOTYPE_SCANS.items():
        scans = rows.get(family, {}).get("scans")
        ratios = [ours / theirs for ours, theirs in zip(scans or (), prototype, strict=bool(scans))]
        what = f"{family}, scan of a block over the prototype's, the largest of the stages' ratios"
        yield Target(what, 1.05, True, max(ratios, default=None), times)
