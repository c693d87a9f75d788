"""Mamba in vimnp beside llama.cpp, OpenVINO, ONNX Runtime and transformers: table and plots.

    python bench/peers/language [--rounds 8] [--threads 1,2] [--peers NAME,...] [--size 130m]

Prints the table, in which stand the targets, too. ``--out FOLDER`` writes it there,
with the figures as results.json and the plots; ``--redraw`` makes table and plots anew of the
results.json that is there. ``bench/record.py`` keeps the figures for the pages.
All networks together take some 10 GB of memory, and twice as much of the disk's while it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from surroundings import refusal

from peers.language.networks import NETWORKS
from peers.language.sizes import SIZES
from peers.options import parser, publish
from peers.record import Results
from peers.requirements import missing

ALWAYS_NEEDED = ("matplotlib", "threadpoolctl")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status, 2 if it refuses."""
    accepted = parser("python bench/peers/language", __doc__, NETWORKS, 8)
    accepted.add_argument("--size", choices=SIZES, default="130m", help="of the network")
    options = accepted.parse_args(arguments)
    needed = dict.fromkeys(
        [*ALWAYS_NEEDED, *(module for name in options.peers for module in NETWORKS[name].needs)]
    )
    reason = refusal() or missing(tuple(needed), extras="bench,test,peers")
    if reason:
        print(reason, file=sys.stderr)
        return 2
    from peers.language.plots import draw
    from peers.language.report import markdown

    def measure() -> Results:
        from peers.language.comparison import compare

        return compare(options.peers, options.size, options.threads, options.rounds)

    return publish(options, measure, markdown, draw)
