"""Running Python code in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vimnp.runtime import extension

# Not getrusage's maximum, which a process takes over from the one that started it.
_PEAK = """
import re
print("peak", re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


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


def peak_memory(code: str, *arguments: object) -> int:
    """Run code in a process of its own; its peak resident memory in bytes (Linux)."""
    command = [sys.executable, "-c", code + _PEAK, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return 1024 * int(done.stdout.split("peak ")[-1])
