"""The README's terminal session: this script runs it and draws it; with ``--check`` it compares."""

from __future__ import annotations

import html
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from drawn import write_or_check

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILE = HERE / "session.svg"

COMMANDS = (
    "vimnp predict tests/data/digit_3_45.png --top-k 3",
    "vimnp predict tests/data --output classes.csv && cut -d, -f1-3 classes.csv | head -n 4",
    "vimnp generate 'The with statement' -n 140 --temp 0",
)
LINE, CHARACTER, MARGIN, WIDTH = 19, 7.85, 16, 88


def run(command: str, folder: Path) -> list[str]:
    """What a terminal would show; `vimnp` is that of this Python."""
    python = f'"{sys.executable}" -m vimnp'
    done = subprocess.run(
        ["bash", "-c", f'vimnp() {{ {python} "$@"; }}; {command}'],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return [line[:WIDTH] for line in done.stdout.rstrip("\n").split("\n")]


def record() -> list[str]:
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tests").symlink_to(ROOT / "tests")
        for command in COMMANDS:
            lines += [f"$ {command}", *run(command, folder), ""]
    return lines[:-1]


def svg(lines: list[str]) -> str:
    width = round(2 * MARGIN + CHARACTER * WIDTH)
    height = 2 * MARGIN + LINE * len(lines)
    texts = []
    for number, line in enumerate(lines):
        kind = ' class="typed"' if line.startswith("$ ") else ""
        y = MARGIN + LINE * number + 14
        texts.append(
            f'<text x="{MARGIN}" y="{y}"{kind} xml:space="preserve">{html.escape(line)}</text>'
        )
    style = (
        "text { font: 13px ui-monospace, Menlo, Consolas, monospace; fill: #d1d5db } "
        ".typed { fill: #86efac }"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="A terminal session">\n'
        f"<title>A terminal session</title>\n<style>{style}</style>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="#111827"/>\n'
        + "\n".join(texts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    sys.exit(write_or_check({FILE: svg(record())}))
