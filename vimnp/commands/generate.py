"""``vimnp generate``: a language model goes on from a text."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from vimnp.commands.destination import check_destination, naming
from vimnp.commands.language_options import (
    add_language_model,
    add_sampling,
    load_language_model,
    sampling_options,
    say_if_bundled,
    shown,
)
from vimnp.commands.options import file_name
from vimnp.commands.utf8 import as_text, read_text
from vimnp.errors import TextError

if TYPE_CHECKING:
    from vimnp.models.generation import Generation, GenerationStream
    from vimnp.models.language import LanguageModel

DESCRIPTION = (
    "Print what a language model writes after a prompt. The prompt is PROMPT, a file, or the text "
    "on stdin, without the line break at its end. It can be long: the model reads it in parts, and "
    "memory does not grow with it."
)
EXAMPLE = 'vimnp generate "The with statement" -n 100 --temp 0.7 --seed 1'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("prompt", nargs="?", metavar="PROMPT", help="a text")
    source.add_argument("-f", "--file", type=file_name, metavar="FILE", help="a text of UTF-8")
    add_language_model(parser)
    add_sampling(parser, predict=128)
    parser.add_argument("--echo", action="store_true", help="print the prompt, too")
    parser.add_argument(
        "--stream",
        action="store_true",
        help="print each piece once it is certain, as in a terminal; with --json, a line each",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON, which also says how it ran and ended"
    )
    parser.add_argument(
        "--state-in",
        type=file_name,
        metavar="FILE",
        help="continue where another text ended, whose --state-out wrote this file",
    )
    parser.add_argument(
        "--state-out",
        type=file_name,
        metavar="FILE",
        help="save the model's state after the prompt and the text",
    )


def run(options: argparse.Namespace) -> int:
    prompt = _read_prompt(options)
    if options.state_out is not None:
        check_destination(options.state_out)  # before minutes of writing
    start = time.monotonic()
    model = load_language_model(options)
    state = None if options.state_in is None else model.load_state(options.state_in)
    writing = model.stream(prompt, state=state, echo=options.echo, **sampling_options(options))
    say_if_bundled(options)
    clock = _Clock(start)
    if options.json:
        _print_json(options, prompt, model, writing, clock)
    else:
        _print_text(options, writing)
    if options.state_out is not None:
        with naming(options.state_out):
            writing.result.state.save(options.state_out)
    return 0


class _Clock:
    """When loading and reading were over."""

    def __init__(self, start: float) -> None:
        self._start = start
        self._loaded = time.monotonic()
        self._read: float | None = None

    def note_first(self) -> None:
        """The prompt was read, and something is written."""
        self._read = self._read or time.monotonic()

    def seconds(self) -> dict[str, float]:
        """Of each part, up to now."""
        end = time.monotonic()
        read = self._read or end
        return {
            "seconds_loading": self._loaded - self._start,
            "seconds_to_first_piece": read - self._loaded,
            "seconds_writing": end - read,
        }


def _read_prompt(options: argparse.Namespace) -> str:
    if options.prompt is not None:
        return str(options.prompt)
    if options.file is not None:
        return _without_last_break(read_text(options.file))
    if sys.stdin is None:
        raise TextError("stdin is closed; expected a prompt: give it as PROMPT or with -f FILE")
    return _without_last_break(as_text("stdin", sys.stdin.buffer.read()))


def _without_last_break(text: str) -> str:
    """A prompt without the line break that ends its file."""
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _print_text(options: argparse.Namespace, writing: GenerationStream) -> None:
    is_terminal = sys.stdout.isatty()
    as_printed = shown if is_terminal else str
    if options.stream or is_terminal:
        for piece in writing:
            print(as_printed(piece), end="", flush=True)
        print()
    else:
        print("".join(writing))


def _print_json(
    options: argparse.Namespace,
    prompt: str,
    model: LanguageModel,
    writing: GenerationStream,
    clock: _Clock,
) -> None:
    for piece in writing:
        clock.note_first()
        if options.stream:
            print(json.dumps({"piece": piece}), flush=True)
    answer = {
        "prompt": prompt,
        **_as_json(writing.result),
        **clock.seconds(),
        **model.way._asdict(),
    }
    print(json.dumps(answer, indent=None if options.stream else 1))


def _as_json(written: Generation) -> dict[str, Any]:
    return {
        "text": written.text,
        "ids": written.ids,
        "finish_reason": written.finish_reason,
        "stop": written.stop,
        "seed": written.seed,
        "prompt_tokens": len(written.prompt_ids),
    }
