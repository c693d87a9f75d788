"""The record of VMamba and its peers as tables in Markdown."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from contextlib import redirect_stdout

from surroundings import print_table

from peers.header import print_header
from peers.record import Results
from peers.report import START, latency_table, start_table
from peers.target import print_targets
from peers.units import milliseconds, percent, threads
from peers.vmamba.networks import NETWORKS, VMAMBAS
from peers.vmamba.targets import WANTED, targets

WIDTH = 100

METHOD = """\
Networks of {size} sizes. Medians. Every network runs in a process of its own; those with the same
number of threads are alive at once and have their turns one after the other, a few passes that do
not count and then two that do. One picture of noise, float32, random weights. Logits of networks
with the same weights were compared before anything was timed, and differ by at most
{difference:.1e} of the largest. {left_out}"loop" computes a token's state and output and then the
next token's, as the original's reference does in PyTorch, and "Scans" are ONNX's operator for that.
"associative scan" joins neighbours, pairs of them, and so on, and "doubling scan" each token with
the one before it, the two before, the four; both are written out as operations on whole arrays.
PyTorch's networks are not compiled."""

LEFT_OUT = "Left out because their logits are wrong: {networks}. "

STEPS = """\
A pass in vimnp's native backend, {side} pixels, 1 thread: share of the core's peak at which the
matrices of each stage's blocks are multiplied, with what is computed on what they give, and the
time of the four directions' scan of one block in each stage, with dt_proj and softplus."""


def markdown(results: Results) -> str:
    """Header and tables."""
    page = io.StringIO()
    with redirect_stdout(page):
        print_header(results)
        print(_method(results), end="\n\n")
        print(latency_table(results))
        of_all = results["start"][0]
        text = START.format(side=of_all["side"], threads=threads(of_all["threads"]))
        print(text, end="\n\n")
        print(start_table(results))
        if results["steps"]:
            text = STEPS.format(side=results["steps"][0]["side"])
            print(textwrap.fill(text, WIDTH), end="\n\n")
            columns = ("network", "pass", "products, stages 1 to 4", "scan, stages 1 to 4", "rest")
            print_table(columns, _step_rows(results))
        print_targets(targets(results), WANTED, results["lacks"])
    return page.getvalue().rstrip("\n") + "\n"


def _method(results: Results) -> str:
    differences: dict[str, float] = {}
    for row in results["left_out"]:
        label = NETWORKS[row["network"]].label
        differences[label] = max(differences.get(label, 0.0), row["difference"])
    networks = "; ".join(
        f"{label} (by {difference:.1e} of the largest)" for label, difference in differences.items()
    )
    text = METHOD.format(
        size="the published" if results["size"] == "tiny" else f"{results['size']}",
        difference=max(row["difference"] for row in results["agreement"]),
        left_out=LEFT_OUT.format(networks=networks) if networks else "",
    )
    return textwrap.fill(text, WIDTH)


def _step_rows(results: Results) -> Iterator[tuple[str, ...]]:
    for row in results["steps"]:
        products = ", ".join(map(percent, row["products"]))
        scans = ", ".join(f"{seconds * 1e6:,.0f} us" for seconds in row["scans"])
        cells = milliseconds(row["seconds"]), products, scans, percent(row["rest"])
        yield VMAMBAS[row["family"]], *cells
