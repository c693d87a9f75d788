"""The options that say which network of pictures a command runs, and how."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from vimnp.commands.console import say
from vimnp.commands.options import as_given, file_name
from vimnp.commands.running_options import add_backend_and_threads
from vimnp.errors import VimnpError
from vimnp.images.sizes import parse_img_size
from vimnp.models.vim.model import VisionMamba
from vimnp.models.vim.published import PUBLISHED
from vimnp.ops.modes import SCAN_MODES
from vimnp.weights.file import BUNDLED_DIGITS


def add_weights(parser: argparse.ArgumentParser) -> None:
    """A trained network: a weights file, or the bundled one."""
    parser.add_argument(
        "--weights",
        type=file_name,
        metavar="W.npz",
        help="from `vimnp convert`; without it, the bundled model of handwritten digits",
    )
    parser.set_defaults(random=None, default_random=None)
    add_img_size(parser)


def add_img_size(parser: argparse.ArgumentParser) -> None:
    """In which size a network looks at pictures."""
    parser.add_argument(
        "--img-size",
        metavar="HxW",
        help="look at pictures in this size, in pixels, or N for NxN (as the network was trained)",
    )


def add_way(parser: argparse.ArgumentParser) -> None:
    """How the network runs."""
    parser.add_argument("--scan", choices=SCAN_MODES, default="fused", help="how to scan (fused)")
    add_backend_and_threads(parser)


def load_model(options: argparse.Namespace) -> VisionMamba:
    """The network that the options ask for, run as they say."""
    return load_network(
        options, scan=options.scan, num_threads=options.threads, backend=options.backend
    )


def load_network(options: argparse.Namespace, **way: Any) -> VisionMamba:
    """The network that the options ask for, run in a way of the caller's."""
    img_size = _img_size(options.img_size)
    name = random_name(options)
    if name is None:
        weights = options.weights or BUNDLED_DIGITS
        return VisionMamba.from_npz(weights, img_size=img_size, **way)
    config = PUBLISHED[name]
    if img_size is not None:
        config = dataclasses.replace(config, img_size=img_size)
    return VisionMamba.random(config=config, **way)


def say_if_bundled(options: argparse.Namespace) -> None:
    """Name the network that nobody asked for."""
    if options.weights is None:
        say("no --weights given: using the bundled model of handwritten digits, 0 to 9")


def random_name(options: argparse.Namespace) -> str | None:
    """The published network whose weights are to be random; None if there is a weights file."""
    return options.random or (options.default_random if options.weights is None else None)


def _img_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        return parse_img_size(text)
    except ValueError as error:
        raise VimnpError(f"{as_given('--img-size', text)}: expected {error}") from None
