"""The record of int8 and float32 as tables in Markdown."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from contextlib import redirect_stdout

from surroundings import print_table

from peers.header import print_header
from peers.int8.networks import NETWORKS
from peers.int8.targets import SETS, WANTED, targets
from peers.record import Results
from peers.report import latency_table
from peers.target import print_targets
from peers.units import megabytes, milliseconds, percent, threads, times

WIDTH = 100

METHOD = """\
Medians. Every network runs in a process of its own; all are alive at once and have their turns one
after the other, a few passes that do not count and then two that do. One picture of noise, random
weights, the same in each family; logits were compared before, and differ from those of float32 by
at most {differences} of the largest. "int8" rounds the activations, too: vimnp with a scale for
each token, ONNX Runtime with one for all tokens of a product ("dynamic"). ONNX Runtime's weights
are signed, with a scale for each output{bits}. "exported" is attention as exports write it,
"blockwise" ONNX Runtime's own operator. "int8 of a float32 file" is rounded when it is loaded, and
not smoothed."""

SEVEN_BITS = ", and have 7 bits, because its products would overflow without VNNI"

FILES = """\
Files for pictures of {sides} pixels, {threads}: their size; the time to load one that is in memory
already, with everything imported; and of a process that imports, loads the file and classifies a
picture, its highest resident memory and the time from its start to its end."""

STEPS = """\
Vim-tiny in vimnp's native backend, {side} pixels, 1 thread, with each instruction set of this CPU:
a pass; the scan of one layer, with dt_proj; and the share of the core's int8 multiply-adds at which
in_proj is multiplied, the rounding of its rows included."""


def markdown(results: Results) -> str:
    """Header and tables."""
    page = io.StringIO()
    with redirect_stdout(page):
        print_header(results)
        print(_method(results), end="\n\n")
        print(latency_table(results))
        print(textwrap.fill(_files(results), WIDTH), end="\n\n")
        columns = ("network", "pixels", "file", "load", "peak memory", "cold start")
        print_table(columns, _file_rows(results))
        print(textwrap.fill(_predictions(results), WIDTH), end="\n\n")
        print(textwrap.fill(STEPS.format(side=results["steps"][0]["side"]), WIDTH), end="\n\n")
        columns = ("instructions", "pass, float32", "pass, int8", "int8 over float32")
        columns += ("scan, float32", "scan, int8", "int8 over float32", "in_proj")
        print_table(columns, _step_rows(results))
        print_targets(targets(results), WANTED, results["lacks"])
    return page.getvalue().rstrip("\n") + "\n"


def _method(results: Results) -> str:
    differences: dict[str, float] = {}
    for row in results["agreement"]:
        precision = row["precision"]
        differences[precision] = max(differences.get(precision, 0.0), row["difference"])
    text = METHOD.format(
        differences=", ".join(f"{value:.1e} ({name})" for name, value in differences.items()),
        bits=SEVEN_BITS if "VNNI" in results["lacks"] else "",
    )
    return textwrap.fill(text, WIDTH)


def _files(results: Results) -> str:
    of_all = results["start"][0]
    sides = ", ".join(dict.fromkeys(str(row["side"]) for row in results["start"]))
    return FILES.format(sides=sides, threads=threads(of_all["threads"]))


def _file_rows(results: Results) -> Iterator[tuple[str, ...]]:
    starts = {(row["network"], row["side"]): row for row in results["start"]}
    for row in results["files"]:
        start = starts[row["network"], row["side"]]
        yield (
            NETWORKS[row["network"]].label,
            str(row["side"]),
            f"{row['file_size'] / 1e6:.1f} MB",
            milliseconds(row["load"]),
            megabytes(start["peak_memory"]),
            milliseconds(start["cold_start"]),
        )


def _predictions(results: Results) -> str:
    text = "Highest resident memory of `vimnp predict`"
    of_sides: dict[int, list[str]] = {}
    for row in results["predict"]:
        peak = f"{megabytes(row['peak_memory'])} with a file in {row['precision']}"
        of_sides.setdefault(row["side"], []).append(peak)
    sentences = []
    for side, peaks in of_sides.items():
        where = f"; {side} pixels" if sentences else ""
        sentences.append(f"{where}: {', '.join(peaks)}")
    return f"{text}{''.join(sentences)}."


def _step_rows(results: Results) -> Iterator[tuple[str, ...]]:
    for row in results["steps"]:
        scans = row["scans"]
        yield (
            SETS.get(row["isa"], row["isa"]),
            milliseconds(row["float32"]),
            milliseconds(row["int8"]),
            times(row["int8"] / row["float32"]),
            *(f"{scans[precision] * 1e6:,.0f} us" for precision in ("float32", "int8")),
            times(scans["int8"] / scans["float32"]),
            percent(row["in_proj"]),
        )
