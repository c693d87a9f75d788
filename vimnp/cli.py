"""The ``vimnp`` command: finds each command in :mod:`vimnp.commands`, and reports errors."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

import vimnp
from vimnp.commands.console import (
    BROKEN_PIPE,
    FAILURE,
    INTERRUPTED,
    drop_unwritable,
    occupy_closed_streams,
    printable,
    say,
)
from vimnp.commands.ending import Ended, ending_in_order
from vimnp.errors import VimnpError

COMMANDS = {
    "predict": "say what is in a picture",
    "embed": "write the features of pictures",
    "similar": "find the pictures that look most like yours",
    "merge": "make one table of a job that ran in shards",
    "watch": "say what a camera sees, whenever that changes",
    "explain": "say which patches of a picture speak for a class",
    "generate": "have a language model continue a text",
    "chat": "talk with a language model",
    "serve": "serve networks over HTTP, with a page",
    "info": "describe a weights file and this machine",
    "convert": "turn a PyTorch checkpoint into a weights file",
    "fetch": "fetch published weights by name",
    "cache": "list or remove fetched weights",
    "eval": "measure top-1 and top-5 accuracy over a folder of pictures",
    "eval-text": "measure how likely a language model finds a text",
    "bench": "time forward passes, in every way to run them",
    "profile": "show where the time of a forward pass goes",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code, 2 after an error, which is one line on stderr.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without them this is the process's own command: it takes the process's arguments, and the
        signals that would end the process while it works.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names that the terminal has no characters for
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if arguments is not None:
            return _run(arguments)
        occupy_closed_streams()
        # Of damage that does not keep pillow from decoding; it does not name the file.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        with ending_in_order():
            return _run(sys.argv[1:])
    except BrokenPipeError:
        return BROKEN_PIPE
    except OSError as error:
        say(_describe(error))
    except VimnpError as error:
        say(error)
    except MemoryError as error:
        say(f"not enough memory: {error}" if str(error) else "not enough memory")
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except Ended as ended:
        say(ended)
        return ended.exit_code
    finally:
        drop_unwritable()
    return FAILURE


def _run(arguments: Sequence[str]) -> int:
    options, unknown = _parser(arguments).parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if sys.stdout is None:
        raise VimnpError(
            "stdout is closed; expected somewhere to print to: redirect it to a file or to "
            f"{os.devnull}"
        )
    code = int(options.run(options))
    try:
        sys.stdout.flush()  # a full disk is noticed here, and not after the end
    except BrokenPipeError:
        raise
    except OSError as error:
        raise VimnpError(f"stdout: {_describe(error)}") from None
    return code


def _describe(error: OSError) -> str:
    """The file, where there is one, and the reason."""
    name = error.filename2 or error.filename  # of two, the second is the one that was asked for
    reason = error.strerror or str(error)
    return reason if name is None else f"{name}: {reason}"


class _Parser(argparse.ArgumentParser):
    """Errors in one line; the usage is a ``--help`` away."""

    def error(self, message: str) -> NoReturn:
        if sys.stderr is None:  # which argparse of CPython 3.11.2 would write to
            self.exit(FAILURE)
        self.exit(FAILURE, f"{self.prog}: {printable(message)} (see {self.prog} --help)\n")


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vimnp",
        description="Run Vision Mamba, VMamba and Mamba networks on a CPU, without PyTorch.",
        epilog="example: vimnp predict cat.jpg --weights vim_tiny.npz",
    )
    parser.add_argument("-V", "--version", action="version", version=f"vimnp {vimnp.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name in arguments:  # the others' modules need not load
            module = importlib.import_module(f"vimnp.commands.{name.replace('-', '_')}")
            command.description, command.epilog = module.DESCRIPTION, f"example: {module.EXAMPLE}"
            module.add_arguments(command)
            command.set_defaults(run=module.run, parser=command)
    return parser
