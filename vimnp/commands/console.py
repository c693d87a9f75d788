"""What every command says on stderr, its exit codes, and streams that cannot be written to."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

FAILURE = 2  # exit code of every error, argparse's own included
INTERRUPTED = 130  # what shells report of a process that Ctrl-C ended
BROKEN_PIPE = 141  # and of one whose reader, `head` for one, has seen enough


def printable(text: object) -> str:
    """Text in which what does not print, or turns other text about, stands as an escape.

    Names of files and labels may come from anybody, and a terminal obeys what it is sent.
    """
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in str(text)
    )


def say(message: object) -> None:
    """One line on stderr; nothing where there is no stderr, or nobody who reads it."""
    if sys.stderr is None:  # print() would take stdout
        return
    try:
        print(f"vimnp: {printable(message)}", file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)


def drop_unwritable() -> None:
    """Forget what a stream holds and cannot write: Python would try again at its end, and fail."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                _drop(stream)


def occupy_closed_streams() -> None:
    """Let no file that a command opens become descriptor 0, 1 or 2.

    Where one of these is closed, the next file that is opened takes its number, and libraries write
    their warnings into it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _drop(stream: TextIO) -> None:
    """Lead what a stream still holds nowhere."""
    with contextlib.suppress(OSError):  # a stream without a descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
