"""Running Python code in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vimnp.runtime import extension


def run(code: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not is_ours(name)}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=clean | environment,
        check=False,
        timeout=120,
    )


def is_ours(name: str) -> bool:
    return name.startswith("VIMNP") or name in extension.FORCE_FALLBACK.values()
