"""Signals that ask the process to end: it cleans up first."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

# Python makes an exception of Ctrl-C by itself. A closed terminal sends SIGHUP.
_NUMBERS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Ended(BaseException):
    """A signal asks the process to end. It is no error, and nothing that handles errors takes it.

    Parameters
    ----------
    number : int
        The signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.exit_code = 128 + number  # what shells report of a process that it ended


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Raise :class:`Ended` where a signal would end the process, so that no file is left behind.

    Signals that the process ignores or takes otherwise stay as they are, and outside the main
    thread all do: only there Python can change them.
    """
    ours = []
    if threading.current_thread() is threading.main_thread():
        ours = [number for number in _NUMBERS if signal.getsignal(number) == signal.SIG_DFL]

    def end(number: int, frame: object) -> None:
        for each in ours:
            signal.signal(each, signal.SIG_IGN)  # a second one would interrupt the cleaning up
        raise Ended(number)

    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
