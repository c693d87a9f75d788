"""Vim-tiny in int8 beside float32 and DeiT-tiny in both: table, record and plots.

    python bench/peers/int8 [--rounds 20] [--sides 224,448,672] [--threads 1,2] [--peers NAME,...]

Prints the table, in which stand the targets, too. ``--out FOLDER`` writes it there,
with the figures as results.json and the plots; ``--redraw`` makes table and plots anew of the
results.json that is there. ``bench/record.py`` keeps the figures for the pages.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from surroundings import refusal

from peers.int8.networks import NETWORKS
from peers.options import numbers, parser, publish
from peers.record import Results
from peers.requirements import missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status, 2 if it refuses."""
    accepted = parser("python bench/peers/int8", __doc__, NETWORKS, 20)
    accepted.add_argument("--sides", type=numbers, default=(224, 448, 672), help="pixels")
    options = accepted.parse_args(arguments)
    reason = refusal() or missing()
    if reason:
        print(reason, file=sys.stderr)
        return 2
    from peers.int8.plots import draw
    from peers.int8.report import markdown

    def measure() -> Results:
        from peers.int8.comparison import compare

        return compare(options.peers, options.sides, options.threads, options.rounds)

    return publish(options, measure, markdown, draw)
