"""What a measuring command runs its network on, and what it says of it."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np

from vimnp.commands.console import printable
from vimnp.commands.model_options import random_name
from vimnp.config import CHANNELS, VimConfig
from vimnp.errors import VimnpError
from vimnp.machine import describe_machine


class Measured(NamedTuple):
    """The input, and its surroundings.

    Parameters
    ----------
    images : ndarray of float32, shape (batch, 3, H, W)
        Noise, of the size that the network takes.
    lines : list of str
        The machine and the network, for people.
    facts : dict
        The same for JSON.
    """

    images: np.ndarray
    lines: list[str]
    facts: dict[str, Any]


def add_measured(parser: argparse.ArgumentParser) -> None:
    """How many pictures, how often."""
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="pictures a pass (1)")
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="of measurements (10)")


def check_measured(options: argparse.Namespace) -> None:
    """Raise VimnpError if a number of pictures or rounds means nothing."""
    for name in ("batch", "rounds"):
        if getattr(options, name) < 1:
            raise VimnpError(f"--{name} {getattr(options, name)}: expected a number from 1 up")


def describe(options: argparse.Namespace, config: VimConfig) -> Measured:
    """The network's input, the machine and the network."""
    height, width = config.img_size
    shape = (options.batch, CHANNELS, height, width)
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    source = options.weights or f"{random_name(options)}, random weights"
    machine = describe_machine()
    lines = [
        *map(printable, machine.lines),
        f"network: {printable(source)}; {config.num_parameters:,} parameters",
        f"pictures: {height}x{width}, {config.num_tokens} tokens, {options.batch} a pass",
    ]
    facts = {
        "machine": machine._asdict(),
        "network": {"source": source, "config": config.to_dict()},
        "batch": options.batch,
        "rounds": options.rounds,
    }
    return Measured(images, lines, facts)
