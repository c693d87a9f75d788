"""The record of the language models as tables in Markdown."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from contextlib import redirect_stdout

from surroundings import table

from peers.header import print_header
from peers.language.networks import NETWORKS
from peers.language.record import bytes_per_second, tokens_per_second
from peers.language.targets import WANTED, targets
from peers.language.workloads import FIRST_PROMPT, LONGEST, NEW_TOKENS, WORKLOADS
from peers.record import Results
from peers.target import print_targets
from peers.units import megabytes, per_second, seconds, threads

WIDTH = 100

METHOD = """\
A Mamba language model of {size}'s sizes, {parameters:.1f} million parameters with random values,
the same in every network. Tokens in a second, medians. Every network runs in a process of its own;
with a number of threads all are alive at once and have their turns one after the other. Logits
after a prompt, after steps and of a batch were compared before: those of float32 differ by at most
{float32:.1e} of the largest, rounded ones by {rounded}. Decoding goes through {new} tokens of each
sequence, a token at a time, with logits after each. A prompt has logits after its last token. ONNX
Runtime and OpenVINO have a graph with a Scan in each layer for prompts, and one for tokens;
OpenVINO's int8 is of the weights, ONNX Runtime's of the activations, too."""

MEMORY_RATE = """\
Reading {size} that no cache holds: {rates}."""

START = """\
A process that imports, loads the weights and reads a prompt of {first} tokens, {threads}: the time
from its start to the first token, its files being in memory; and its highest resident memory once
it has read a prompt of {longest} tokens and decoded {new} more."""


def markdown(results: Results) -> str:
    """Header and tables."""
    page = io.StringIO()
    with redirect_stdout(page):
        print_header(results)
        print(_method(results), end="\n\n")
        print(speed_table(results))
        print(_memory_rate(results), end="\n\n")
        of_all = threads(results["start"][0]["threads"])
        text = START.format(first=FIRST_PROMPT, threads=of_all, longest=LONGEST, new=NEW_TOKENS)
        print(text, end="\n\n")
        print(start_table(results))
        print_targets(targets(results), WANTED, results["lacks"])
    return page.getvalue().rstrip("\n") + "\n"


def _method(results: Results) -> str:
    differences: dict[str, float] = {}
    for row in results["agreement"]:
        storage = NETWORKS[row["network"]].storage
        differences[storage] = max(differences.get(storage, 0.0), row["difference"])
    float32 = differences.pop("float32", 0.0)
    rounded = ", ".join(f"{value:.1e} ({name})" for name, value in differences.items())
    text = METHOD.format(
        size=results["size"],
        parameters=results["parameters"] / 1e6,
        float32=float32,
        rounded=rounded or "nothing",
        new=NEW_TOKENS,
    )
    return textwrap.fill(text, WIDTH)


def _memory_rate(results: Results) -> str:
    size = megabytes(results["memory_rate"][0]["bytes"])
    rates = (
        f"{rate / 1e9:.1f} GB/s with {threads(number)}"
        for number, rate in bytes_per_second(results).items()
    )
    return MEMORY_RATE.format(size=size, rates=", ".join(rates))


def speed_table(results: Results) -> str:
    """Tokens in a second of all networks and numbers of threads."""
    labels = (workload.label for workload in WORKLOADS.values())
    return table(("network", "threads", *labels), _speed_rows(results))


def _speed_rows(results: Results) -> Iterator[tuple[str, ...]]:
    """Of a network, its threads beneath each other."""
    speed = tokens_per_second(results)
    numbers = sorted({number for _, number, _ in speed})
    for name in dict.fromkeys(network for network, _, _ in speed):
        for number in numbers:
            cells = (per_second(speed[name, number, workload]) for workload in WORKLOADS)
            yield NETWORKS[name].label, str(number), *cells


def start_table(results: Results) -> str:
    """Time to the first token, and memory."""
    return table(("network", "first token", "peak memory"), _start_rows(results))


def _start_rows(results: Results) -> Iterator[tuple[str, ...]]:
    for row in results["start"]:
        network = NETWORKS.get(row["network"])
        label = network.label if network else f"`{row['network']}`, int8"
        memory = "" if row["peak_memory"] is None else megabytes(row["peak_memory"])
        yield label, seconds(row["first_token"]), memory
