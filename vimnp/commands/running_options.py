"""The options that say how a network of any kind runs."""

from __future__ import annotations

import argparse

from vimnp.commands.options import add_count
from vimnp.engine.settings import CHOICES, MATRIX_DTYPES


def add_backend_and_threads(parser: argparse.ArgumentParser) -> None:
    """What multiplies, and on how many threads."""
    parser.add_argument(
        "--backend",
        choices=CHOICES,
        help="what multiplies the matrices: numpy, or the kernels themselves (native), which are "
        "faster, but scan fused only; auto is native where that can run (VIMNP_BACKEND, or auto)",
    )
    add_count(
        parser,
        "--threads",
        "threads of the kernels (VIMNP_NUM_THREADS, or all CPUs that this process may use)",
    )


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """What a language model's matrices are stored as."""
    parser.add_argument(
        "--dtype",
        choices=MATRIX_DTYPES,
        help="how memory stores the matrices: fewer bits are faster (as in W.npz)",
    )
