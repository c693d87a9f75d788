"""A process that answers each line of its input with a line of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Self


class Conversation:
    """Python code in a process of its own, alive until the context ends.

    Parameters
    ----------
    code : str
    arguments : sequence
        Of the process, as texts.
    name : str
        What the process is called in errors.
    """

    def __init__(self, code: str, arguments: Sequence[object], name: str) -> None:
        self._name = name
        command = [sys.executable, "-c", code, *map(str, arguments)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, line: str = "") -> Any:
        """Write a line; what the process answers.

        Raises
        ------
        RuntimeError
            If the process has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        return self.answer()

    def answer(self) -> Any:
        """What the process says next, asked or not.

        Raises
        ------
        RuntimeError
            If the process has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        return json.loads(line)

    def _ended(self) -> RuntimeError:
        return RuntimeError(f"the process of {self._name} has ended: see what it says above")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Close its input, and wait until it has seen that."""
        self._process.communicate()
