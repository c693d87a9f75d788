"""Signals, as a user's terminal has them."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def signals_as_usual() -> Iterator[None]:
    """Signals that were ignored where the tests were started would be so in every command, too."""
    usual = {signal.SIGINT: signal.default_int_handler}
    usual |= dict.fromkeys((signal.SIGTERM, signal.SIGHUP), signal.SIG_DFL)
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        if handler is not None:  # else it was not set from Python
            signal.signal(number, handler)
