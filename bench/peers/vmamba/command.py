"""VMamba in vimnp beside itself, ConvNeXt-T and Swin-T in other run-times: table and plots.

    python bench/peers/vmamba [--rounds 12] [--sides 224,448] [--threads 1,2] [--peers NAME,...]

Prints the table, in which stand the targets, too. ``--out FOLDER`` writes it there,
with the figures as results.json and the plots; ``--redraw`` makes table and plots anew of the
results.json that is there. ``bench/record.py`` keeps the figures for the pages.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from surroundings import refusal

from peers.options import numbers, parser, publish
from peers.record import Results
from peers.requirements import NEEDED, missing
from peers.vmamba.networks import NETWORKS
from peers.vmamba.sizes import SIZES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status, 2 if it refuses."""
    accepted = parser("python bench/peers/vmamba", __doc__, NETWORKS, 12)
    accepted.add_argument("--sides", type=numbers, default=(224, 448), help="pixels")
    accepted.add_argument("--size", choices=SIZES, default="tiny", help="of the networks")
    options = accepted.parse_args(arguments)
    reason = refusal() or missing((*NEEDED, "openvino"), extras="bench,test,peers")
    if reason:
        print(reason, file=sys.stderr)
        return 2
    from peers.vmamba.plots import draw
    from peers.vmamba.report import markdown

    def measure() -> Results:
        from peers.vmamba.comparison import compare

        return compare(options.peers, options.size, options.sides, options.threads, options.rounds)

    return publish(options, measure, markdown, draw)
