"""The installed ``vimnp`` command.

It stands outside the package, whose every module loads NumPy first: on a small machine that takes
longer than a picture does, and a Ctrl-C meanwhile would come out of NumPy's own modules as it will.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal


def main() -> int:
    """Load and run the command; returns its exit code."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # and not ignored, as in a shell's background
        signal.signal(signal.SIGINT, _end)
    # What is loaded stays. To look for garbage in it again and again takes a tenth of the time that
    # a picture takes in all.
    gc.disable()
    from vimnp.cli import main as run

    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGINT, before)
    return run()


def _end(number: int, frame: object) -> None:
    """Nothing was done yet that would have to be undone."""
    with contextlib.suppress(OSError):  # there is no stderr
        os.write(2, b"vimnp: interrupted\n")
    os._exit(130)
