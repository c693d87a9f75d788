"""The options that say which language model a command runs, how, and what it writes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vimnp.commands.console import printable, say
from vimnp.commands.running_options import add_backend_and_threads, add_dtype
from vimnp.commands.weights_option import add_weights_and_model, weights_of
from vimnp.errors import VimnpError

if TYPE_CHECKING:
    from vimnp.models.language import LanguageModel

_BUNDLED = "pydoc"
_HARMLESS = "\n\t\u200c\u200d"  # the last two are in words of some scripts, and in pictographs


def add_language_model(parser: argparse.ArgumentParser) -> None:
    """A language model: a weights file, weights by name, or the bundled one; and how it runs."""
    bundled = "; without it, the bundled model of Python's documentation"
    add_weights_and_model(parser, bundled, "-m")
    add_dtype(parser)
    add_backend_and_threads(parser)


def add_sampling(parser: argparse.ArgumentParser, *, predict: int) -> None:
    """How each token is chosen, and where the text ends: by the names that llama.cpp has.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    predict : int
        How many tokens are written at most where that is not said.
    """
    number: dict[str, Any] = {"type": float, "metavar": "X"}
    count: dict[str, Any] = {"type": int, "metavar": "N"}
    add = parser.add_argument
    tokens = f"write at most so many tokens ({predict})"
    add("-n", "--predict", **count, default=predict, help=tokens)
    add("--temp", **number, default=0.8, help="temperature; 0 takes the likeliest token (0.8)")
    add("--top-k", **count, default=40, help="draw from the N likeliest tokens; 0 for all (40)")
    add("--top-p", **number, default=0.95, help="draw from the likeliest that add up to X (0.95)")
    add("--min-p", **number, default=0.05, help="draw from those with X of the best's share (0.05)")
    add(
        "--repeat-penalty",
        **number,
        default=1.0,
        help="makes tokens that were there unlikely (1)",
    )
    add("--repeat-last-n", **count, help="how many tokens the penalty looks back at (all)")
    add("-s", "--seed", **count, help="the same seed gives the same text (a new one)")
    add(
        "--stop",
        action="append",
        metavar="TEXT",
        help="end before this text; can be given several times",
    )
    add("--ignore-eos", action="store_true", help="go on after the end of a text")


def load_language_model(options: argparse.Namespace) -> LanguageModel:
    """The language model that the options ask for, run as they say."""
    from vimnp.models import load
    from vimnp.models.language import LanguageModel

    weights = weights_of(options)
    path = _BUNDLED if weights is None else Path(weights)
    model: object = load(
        path, dtype=options.dtype, num_threads=options.threads, backend=options.backend
    )
    if not isinstance(model, LanguageModel):
        raise VimnpError(
            f"{path}: a network that looks at pictures; expected a language model: `vimnp predict` "
            "runs this one"
        )
    return model


def say_if_bundled(options: argparse.Namespace) -> None:
    """Name the model that nobody asked for."""
    if weights_of(options) is None:
        say("no --weights given: using the bundled model of Python's documentation")


def sampling_options(options: argparse.Namespace) -> dict[str, Any]:
    """What the options of :func:`add_sampling` are for ``model.generate``."""
    return {
        "max_new_tokens": options.predict,
        "temperature": options.temp,
        "top_k": options.top_k,
        "top_p": options.top_p,
        "min_p": options.min_p,
        "repetition_penalty": options.repeat_penalty,
        "repetition_window": options.repeat_last_n,
        "seed": options.seed,
        "stop": options.stop,
        "ignore_eos": options.ignore_eos,
    }


def shown(text: str) -> str:
    """A text of several lines, fit for a terminal, which obeys what it is sent."""
    return "".join(each if each in _HARMLESS else printable(each) for each in text)
