"""The ``vimnp`` command: finds each command in :mod:`vimnp.commands`, and reports errors."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import vimnp
from vimnp.commands.console import FAILURE, say
from vimnp.errors import VimnpError

COMMANDS = {
    "predict": "say what is in a picture",
    "info": "describe a weights file and this machine",
    "convert": "turn a PyTorch checkpoint into a weights file",
    "eval": "measure top-1 and top-5 accuracy over a folder of pictures",
    "bench": "time forward passes in every way",
    "profile": "show where the time of a forward pass goes",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code, 2 after an error, which is one line on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # names that the terminal has no characters for
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser(arguments).parse_args(arguments)
    try:
        code = int(options.run(options))
        sys.stdout.flush()  # a full disk is noticed here, and not after the end
        return code
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (VimnpError, OSError) as error:
        say(error)
    except MemoryError as error:
        say(f"not enough memory: {error}")
    return FAILURE


class _Parser(argparse.ArgumentParser):
    """Errors in one line; the usage is a ``--help`` away."""

    def error(self, message: str) -> NoReturn:
        self.exit(FAILURE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vimnp",
        description="Vision Mamba on a CPU, without PyTorch.",
        epilog="example: vimnp predict cat.jpg --weights vim_tiny.npz",
    )
    parser.add_argument("--version", action="version", version=f"vimnp {vimnp.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name in arguments:  # the others' modules need not load
            module = importlib.import_module(f"vimnp.commands.{name}")
            command.description, command.epilog = module.DESCRIPTION, f"example: {module.EXAMPLE}"
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser
