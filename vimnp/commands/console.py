"""What every command says on stderr, and its exit code after an error."""

from __future__ import annotations

import sys

FAILURE = 2  # exit code of every error, argparse's own included


def say(message: object) -> None:
    """One line on stderr."""
    print(f"vimnp: {' '.join(str(message).split())}", file=sys.stderr)
