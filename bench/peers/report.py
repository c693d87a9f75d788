"""The record as tables in Markdown."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout

from surroundings import print_table, table

from peers.header import print_header
from peers.record import Results
from peers.registry import ALL_NETWORKS
from peers.units import megabytes, milliseconds, threads

METHOD = """\
Medians. Every network runs in a process of its own; all are alive at once and have their turns one
after the other, a few passes that do not count and then two that do. One picture of noise, float32,
random weights. Logits of networks with the same weights differ by at most {difference:.1e} of the
largest. "loop" computes a token's state and output and then the next token's, "two-stage" all
states and then all outputs. "exported" is attention as exports write it, "blockwise" ONNX Runtime's
own operator. "ResNet-50 x0.5" is ResNet-50 with half of its channels; its batch normalisation is
folded into its convolutions. PyTorch's networks are not compiled."""

START = """\
A process that imports, loads the weights from a file and classifies a picture of {side} pixels,
{threads}: its highest resident memory, and the time from its start to its end."""

SCAN_MODES = """\
Scan modes of vimnp's numpy backend, {side} pixels. BLAS has as many threads as the kernels, but no
more than there are CPUs."""


def markdown(results: Results) -> str:
    """Header and tables."""
    page = io.StringIO()
    with redirect_stdout(page):
        print_header(results)
        difference = max(row["difference"] for row in results["agreement"])
        print(METHOD.format(difference=difference), end="\n\n")
        print(latency_table(results))
        of_all = results["start"][0]
        text = START.format(side=of_all["side"], threads=threads(of_all["threads"]))
        print(text, end="\n\n")
        print(start_table(results))
        print(SCAN_MODES.format(side=results["scan_modes"][0]["side"]), end="\n\n")
        print_table(
            ("scan", *map(threads, _scan_threads(results))),
            _scan_rows(results),
        )
    return page.getvalue().rstrip("\n") + "\n"


def sides(results: Results) -> list[int]:
    return sorted({row["side"] for row in results["latency"]})


def latency_table(results: Results) -> str:
    """Of all networks and numbers of threads."""
    columns = ("network", "parameters", "threads", *(f"{side} px" for side in sides(results)))
    return table(columns, latency_rows(results))


def latency_rows(results: Results) -> Iterator[tuple[str, ...]]:
    """Of a network, its threads beneath each other: a cell for each side."""
    medians = {(r["network"], r["threads"], r["side"]): r["median"] for r in results["latency"]}
    order = list(dict.fromkeys(row["network"] for row in results["latency"]))
    rows = sorted({key[:2] for key in medians}, key=lambda key: (order.index(key[0]), key))
    for name, number in rows:
        network = ALL_NETWORKS[name]
        parameters = f"{results['parameters'][network.family] / 1e6:.2f} M"
        of_sides = (medians.get((name, number, side)) for side in sides(results))
        cells = ("" if median is None else milliseconds(median) for median in of_sides)
        yield network.label, parameters, str(number), *cells


def start_table(results: Results) -> str:
    """Memory and time of processes."""
    return table(("network", "peak memory", "cold start"), start_rows(results))


def start_rows(results: Results) -> Iterator[tuple[str, ...]]:
    for row in results["start"]:
        memory = megabytes(row["peak_memory"])
        yield ALL_NETWORKS[row["network"]].label, memory, milliseconds(row["cold_start"])


def _scan_threads(results: Results) -> list[int]:
    return sorted({row["threads"] for row in results["scan_modes"]})


def _scan_rows(results: Results) -> Iterator[tuple[str, ...]]:
    medians = {(row["scan"], row["threads"]): row["median"] for row in results["scan_modes"]}
    for scan in dict.fromkeys(row["scan"] for row in results["scan_modes"]):
        cells = (milliseconds(medians[scan, number]) for number in _scan_threads(results))
        yield scan, *cells
