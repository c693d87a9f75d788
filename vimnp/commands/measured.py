"""What a measuring command has its network do, and what it says of it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NamedTuple

from vimnp.commands.console import printable
from vimnp.commands.model_options import precision_of, random_name
from vimnp.commands.options import add_count
from vimnp.commands.passes import Passes
from vimnp.measure.machine import describe_machine
from vimnp.models.vision import VisionModel

if TYPE_CHECKING:
    from vimnp.commands.measured_model import AnyModel


class Measured(NamedTuple):
    """What the network is measured at, and its surroundings.

    Parameters
    ----------
    passes : Passes
    lines : list of str
        The machine and the network, for people.
    facts : dict
        The same for JSON.
    """

    passes: Passes
    lines: list[str]
    facts: dict[str, Any]


def add_measured(parser: argparse.ArgumentParser, *, tokens: str) -> None:
    """How many pictures or tokens, how often.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    tokens : str
        How many a language model is given if ``--tokens`` is not, in words.
    """
    add_count(parser, "--batch", "pictures a pass, or sequences of tokens (1)", default=1)
    add_count(parser, "--tokens", f"of a prompt, or 1 for the next token of a text ({tokens})")
    add_count(parser, "--rounds", "of measurements (10)", default=10)


def describe(
    options: argparse.Namespace, model: AnyModel, *, tokens: int | None = None
) -> Measured:
    """What the network is measured at, the machine and the network.

    Parameters
    ----------
    options : argparse.Namespace
    model : VisionModel or LanguageModel
    tokens : int, optional
        Of a prompt, if the options say nothing; None for as many as go through it together.
    """
    passes = _passes(options, model, tokens)
    source = options.weights or f"{random_name(options)}, random weights"
    machine = describe_machine()
    precision = "".join(f", {precision}" for precision in precision_of(model).values())
    lines = [
        *map(printable, machine.lines),
        f"network: {printable(source)}; {model.num_parameters:,} parameters{precision}",
        f"{passes.unit}: {passes.sizes}",
    ]
    facts = {
        "machine": machine._asdict(),
        "network": {"source": source, "config": model.config.to_dict()} | precision_of(model),
        "batch": options.batch,
        "rounds": options.rounds,
        **passes.facts,
    }
    return Measured(passes, lines, facts)


def _passes(options: argparse.Namespace, model: AnyModel, tokens: int | None) -> Passes:
    if isinstance(model, VisionModel):
        from vimnp.commands import picture_passes

        return picture_passes.passes(options, model)
    from vimnp.commands import token_passes  # no network of pictures has to load it

    return token_passes.passes(options, model, tokens)
