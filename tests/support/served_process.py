"""``vimnp serve`` in a process of its own, as a user starts it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.processes import is_ours


class Server(NamedTuple):
    """One that runs."""

    url: str  # ends with a slash
    process: subprocess.Popen[str]


@contextlib.contextmanager
def serving(*arguments: object) -> Iterator[Server]:
    """Start a server at a free port, and end it."""
    clean = {name: value for name, value in os.environ.items() if not is_ours(name)}
    command = [sys.executable, "-m", "vimnp", "serve", "--port", "0", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()  # it says so when it can be asked
            assert url.startswith("http"), f"the server ended with {process.wait()}"
            yield Server(url, process)
        finally:
            process.terminate()
