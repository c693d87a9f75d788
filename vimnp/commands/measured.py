"""What a measuring command runs its network on, and what it says of it."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np

from vimnp.commands.console import printable
from vimnp.commands.model_options import random_name
from vimnp.commands.options import add_count
from vimnp.measure.machine import describe_machine
from vimnp.models.vim.config import VimConfig


class Measured(NamedTuple):
    """The input, and its surroundings.

    Parameters
    ----------
    images : ndarray of float32, shape (batch, channels, H, W)
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
    add_count(parser, "--batch", "pictures a pass (1)", default=1)
    add_count(parser, "--rounds", "of measurements (10)", default=10)


def describe(options: argparse.Namespace, config: VimConfig) -> Measured:
    """The network's input, the machine and the network."""
    height, width = config.img_size
    shape = (options.batch, config.channels, height, width)
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
