"""``vimnp eval-text``: how likely a language model finds a text."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from vimnp.commands.console import printable
from vimnp.commands.language_options import (
    add_language_model,
    load_language_model,
    say_if_bundled,
)
from vimnp.commands.options import add_count, file_name
from vimnp.commands.progress import progress_bar
from vimnp.commands.utf8 import read_text
from vimnp.evaluate.likelihood import TextLikelihood, encoded_text, likelihood_of

DESCRIPTION = (
    "Say how likely a language model finds the text in FILE. Prints the perplexity of a token, and "
    "bits a byte, by which you can compare models with different tokenizers. The network carries "
    "its state through the text, so each token is judged by all tokens before it. With --window N "
    "it forgets the text after every N tokens, as measurements of networks without a state do."
)
EXAMPLE = "vimnp eval-text book.txt --weights mamba.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=file_name, metavar="FILE", help="a text of UTF-8")
    add_language_model(parser)
    add_count(
        parser, "--window", "forget what stands before each N tokens, as lm_eval does with 2048"
    )
    add_count(parser, "--limit", "only the first N tokens")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    text = read_text(options.file)
    model = load_language_model(options)
    encoded = encoded_text(model, text, options.limit)
    say_if_bundled(options)
    begin = time.monotonic()
    with progress_bar(len(encoded.ids), "token") as bar:
        found = likelihood_of(model, encoded, window=options.window, on_progress=bar.update)
    seconds = time.monotonic() - begin
    if options.json:
        about = {"file": options.file, "window": options.window, **model.way._asdict()}
        print(json.dumps({**about, **_as_json(found), "seconds": seconds}, indent=1))
    else:
        _print(found, options, seconds)
    return 0


def _as_json(found: TextLikelihood) -> dict[str, Any]:
    return {
        "tokens": found.tokens,
        "bytes": found.num_bytes,
        "logprob": found.logprob,
        "perplexity": found.perplexity,
        "bits_per_byte": found.bits_per_byte,
    }


def _print(found: TextLikelihood, options: argparse.Namespace, seconds: float) -> None:
    known = "all before it" if options.window is None else f"windows of {options.window:,} tokens"
    print(printable(options.file))
    for name, value in {
        "tokens": f"{found.tokens:,}, {found.num_bytes:,} bytes",
        "perplexity": f"{found.perplexity:.4f} a token, each by {known}",
        "bits a byte": f"{found.bits_per_byte:.4f}",
        "time": f"{found.tokens / seconds:,.0f} tokens a second",
    }.items():
        print(f"  {name:<12} {value}")
