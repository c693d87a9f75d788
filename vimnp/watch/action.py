"""The program that is run when something happens in front of a camera.

No shell stands between: the command is parted into words once, before any picture is looked at,
and what is told of a picture goes into variables of the environment. A label may hold whatever its
weights file says, and never becomes a part of a command.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping

from vimnp.errors import ConfigError, excerpt

_STDERR = 2


class Action:
    """A program that can be run, one at a time.

    Parameters
    ----------
    command : str
        Its words, which spaces part; quotes hold words together.
    waits : bool
        Whether to wait for the one before. A camera does not wait: what happens meanwhile is told,
        and the program is not run for it.
    tell : callable
        Is given a sentence where the program fails, or is not run.

    Raises
    ------
    ConfigError
        If there is no such program.
    """

    def __init__(self, command: str, *, waits: bool, tell: Callable[[str], None]) -> None:
        self._words = _words(command)
        self._waits, self._tell = waits, tell
        self._running: subprocess.Popen[bytes] | None = None

    def run(self, facts: Mapping[str, str], picture: bytes) -> None:
        """Start the program.

        Parameters
        ----------
        facts : mapping of str to str
            Variables of its environment: names, and values without zero bytes.
        picture : bytes
            What its standard input reads.
        """
        if self._waits:
            self.finish()
        elif self._running is not None and self._running.poll() is None:
            self._tell(f"--run: {self._words[0]} still runs, and is not run for this once more")
            return
        self._report()
        with tempfile.TemporaryFile() as file:  # of a pipe it might read nothing, and we would wait
            file.write(picture)
            file.seek(0)
            try:
                self._running = subprocess.Popen(
                    self._words, stdin=file, stdout=_STDERR, env={**os.environ, **facts}
                )
            except (OSError, ValueError) as error:  # ValueError: a label that has no such bytes
                self._tell(f"--run: {self._words[0]} cannot be run: {error}")

    def finish(self) -> None:
        """Wait for the program."""
        if self._running is not None:
            self._running.wait()
            self._report()

    def _report(self) -> None:
        """Say how the program has ended, if it failed."""
        ended, self._running = self._running, None
        if ended is not None and ended.wait():
            self._tell(f"--run: {self._words[0]} has ended with exit code {ended.returncode}")


def _words(command: str) -> list[str]:
    try:
        if os.name == "nt":  # where \ is no escape, but stands in every path
            words = [word.strip('"') for word in shlex.split(command, posix=False)]
        else:
            words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"--run {excerpt(command)}: {error}; expected a command") from None
    if not words or shutil.which(words[0]) is None:
        found = f"there is no program {excerpt(words[0])!r}" if words else "it is empty"
        raise ConfigError(f"--run: {found}; expected a command, which no shell sees")
    return words
