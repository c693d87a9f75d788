"""Texts that scripts draw into files: written, or with ``--check`` held against the files."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(drawn: dict[Path, str]) -> int:
    """The script's exit code: 1 if ``--check`` finds a file that is not what was drawn now."""
    if "--check" not in sys.argv:
        for path, text in drawn.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [
        path.name
        for path, text in drawn.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if stale:
        print(f"{', '.join(stale)}: not what {Path(sys.argv[0]).name} draws now; run it")
    return bool(stale)
