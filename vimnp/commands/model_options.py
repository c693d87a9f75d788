"""The options that say which network a command runs, and how."""

from __future__ import annotations

import argparse

from vimnp.backends import BACKENDS
from vimnp.config import parse_img_size
from vimnp.errors import VimnpError
from vimnp.model import VisionMamba
from vimnp.reference import BIDIRECTIONAL_METHODS
from vimnp.weights import BUNDLED_DIGITS


def add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        metavar="W.npz",
        help="from `vimnp convert`; without it, the bundled model of handwritten digits",
    )
    parser.add_argument(
        "--img-size",
        metavar="HxW",
        help="look at pictures in this size, in pixels, or N for NxN (as the network was trained)",
    )
    parser.add_argument(
        "--scan", choices=BIDIRECTIONAL_METHODS, default="fused", help="how to scan (fused)"
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        help="what multiplies the matrices: NumPy, or the kernels themselves, which is faster and "
        "scans fused only (VIMNP_BACKEND, or numpy)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="threads of the kernels (VIMNP_NUM_THREADS, or all CPUs that this process may use)",
    )


def load_model(options: argparse.Namespace) -> VisionMamba:
    """The network that the options ask for, or the bundled one."""
    return VisionMamba.from_npz(
        options.weights or BUNDLED_DIGITS,
        img_size=_img_size(options.img_size),
        scan=options.scan,
        num_threads=options.threads,
        backend=options.backend,
    )


def _img_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        return parse_img_size(text)
    except ValueError as error:
        raise VimnpError(f"--img-size {text}: expected {error}") from None
