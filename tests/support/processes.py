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


NO_MORE_THREADS = """
import os, resource, sys, threading
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
if os.getuid() == 0:
    os.setuid(65534)
try:
    threading.Thread(target=int).start()
except RuntimeError:
    pass
else:
    sys.exit(77)
"""
"""Code after which a process can start no thread; it exits with 77 where it still can.

The user nobody stands in for root, who has no limit.
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


def peak_memory(
    code: str, *arguments: object, python: str = sys.executable, cwd: Path | None = None
) -> int:
    """Run code in a process of its own; its peak resident memory in bytes (Linux)."""
    command = [python, "-c", code + _PEAK, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd)
    return 1024 * int(done.stdout.split("peak ")[-1])
