"""``vimnp chat``: a language model answers, message after message."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING

from vimnp.commands.console import say
from vimnp.commands.language_options import (
    add_language_model,
    add_sampling,
    load_language_model,
    sampling_options,
    say_if_bundled,
    shown,
)
from vimnp.errors import TextError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vimnp.models.conversation import Template
    from vimnp.models.language import LanguageModel

DESCRIPTION = (
    "Answer each line of stdin. The model keeps its state between the lines, so it reads each line "
    "once, however long the chat becomes. Messages are put into the weights' chat template. The "
    "end of stdin (Ctrl-D) ends the chat."
)
EXAMPLE = "vimnp chat --weights falcon_mamba.npz --system 'Answer in one sentence.'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_language_model(parser)
    add_sampling(parser, predict=512)
    parser.add_argument("--system", metavar="TEXT", help="what the model is told before all else")
    parser.add_argument(
        "--plain",
        action="store_true",
        help="write messages as 'User: ...' and 'Assistant: ...', and use no template",
    )


def run(options: argparse.Namespace) -> int:
    from vimnp.models.conversation import Conversation

    model = load_language_model(options)
    conversation = Conversation(
        model, _template(model, options), system=options.system, **sampling_options(options)
    )
    say_if_bundled(options)
    as_printed = shown if sys.stdout.isatty() else str
    for line in _lines():
        for piece in conversation.reply(line):
            print(as_printed(piece), end="", flush=True)
        print(flush=True)
    return 0


def _template(model: LanguageModel, options: argparse.Namespace) -> Template:
    from vimnp.models.conversation import chat_template
    from vimnp.text.chat import PlainChat

    found = None if options.plain else chat_template(model)
    if found is not None:
        return found
    if not options.plain:
        say(
            "these weights bring no chat template: messages are put as 'User: ...' and "
            "'Assistant: ...'"
        )
    return PlainChat()


def _lines() -> Iterator[str]:
    """What is said, line by line; with the terminal's editing where there is one."""
    if sys.stdin is None:
        raise TextError("stdin is closed; expected lines to answer")
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if is_terminal:
        with contextlib.suppress(ImportError):  # not every Python has it
            import readline  # noqa: F401  # input() then edits
    number = 0
    while True:
        number += 1
        try:
            line = input("> ") if is_terminal else sys.stdin.buffer.readline().decode()
        except EOFError:
            print()  # what comes next in the terminal has a line of its own
            return
        except UnicodeDecodeError:
            raise TextError(f"stdin: line {number} is no UTF-8; expected text in UTF-8") from None
        if not line and not is_terminal:
            return
        if line.strip():
            yield line.rstrip("\r\n")
