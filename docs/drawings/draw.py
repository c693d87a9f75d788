"""The drawings of how_it_works.md: this script writes them, and with ``--check`` compares.

They are SVG, with colours that follow the reader's light or dark system.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Callable
from pathlib import Path

from drawn import write_or_check

HERE = Path(__file__).parent
TIMES = "\N{MULTIPLICATION SIGN}"

STYLE = """
  text { font: 13px sans-serif; fill: #1f2937; text-anchor: middle; dominant-baseline: central }
  .note { font-size: 12px; fill: #6b7280 }
  .left { text-anchor: start } .right { text-anchor: end } .title { font-weight: bold }
  rect { fill: #f3f4f6; stroke: #9ca3af; rx: 4px }
  .product { fill: #dbeafe; stroke: #3b82f6 }
  .scan { fill: #fde68a; stroke: #d97706 }
  .other { fill: #dcfce7; stroke: #16a34a }
  .gone { fill: none; stroke-dasharray: 4 3 }
  path { fill: none; stroke: #6b7280; stroke-width: 1.5 }
  .tip { fill: #6b7280; stroke: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e5e7eb } .note { fill: #9ca3af }
    rect { fill: #1f2937; stroke: #6b7280 }
    .product { fill: #1e3a8a; stroke: #60a5fa } .scan { fill: #78350f; stroke: #f59e0b }
    .other { fill: #14532d; stroke: #4ade80 } .gone { fill: none }
    path { stroke: #9ca3af } .tip { fill: #9ca3af }
  }
"""


class Drawing:
    """Boxes, words and arrows; lengths in pixels."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def box(
        self, x: float, y: float, w: float, h: float, words: str = "", kind: str = "plain"
    ) -> None:
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{w}" height="{h}"/>')
        lines = words.split("\n")
        for number, line in enumerate(lines):
            self.words(x + w / 2, y + h / 2 + 16 * (number - (len(lines) - 1) / 2), line)

    def words(self, x: float, y: float, words: str, kind: str = "") -> None:
        if words:
            self.parts.append(f'<text class="{kind}" x="{x}" y="{y}">{html.escape(words)}</text>')

    def arrow(self, *points: tuple[float, float]) -> None:
        """Along points; its last part is straight across or straight down, or up."""
        line = " L".join(f"{x} {y}" for x, y in points)
        self.parts.append(f'<path d="M{line}" marker-end="url(#tip)"/>')

    def svg(self) -> str:
        body = "\n".join(f"  {part}" for part in self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{self.title}">\n'
            f"<title>{self.title}</title>\n<style>{STYLE}</style>\n"
            '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker>\n'
            f"{body}\n</svg>\n"
        )


def block() -> Drawing:
    """A Mamba block: from a token's channels to what it adds to them."""
    d = Drawing(760, 220, "A Mamba block")
    d.box(20, 100, 70, 40, "norm", "other")
    d.box(120, 100, 80, 40, "in_proj", "product")
    d.box(240, 60, 80, 40, "conv1d", "other")
    d.box(350, 60, 60, 40, "silu", "other")
    d.box(440, 60, 90, 40, "scan", "scan")
    d.box(340, 4, 80, 32, "x_proj", "product")
    d.box(470, 4, 80, 32, "dt_proj", "product")
    d.box(350, 150, 60, 40, "silu", "other")
    d.box(560, 100, 36, 40, TIMES, "other")
    d.box(630, 100, 90, 40, "out_proj", "product")
    d.arrow((0, 120), (18, 120))
    d.arrow((90, 120), (118, 120))
    d.arrow((200, 112), (220, 112), (220, 80), (238, 80))
    d.words(212, 66, "x", "note")
    d.arrow((200, 128), (220, 128), (220, 170), (348, 170))
    d.words(212, 158, "z", "note")
    d.arrow((320, 80), (348, 80))
    d.arrow((410, 80), (438, 80))
    d.words(424, 92, "u", "note")
    d.arrow((380, 60), (380, 38))
    d.arrow((420, 14), (468, 14))
    d.arrow((420, 28), (456, 28), (456, 58))
    d.words(426, 44, "B, C", "note left")
    d.arrow((510, 36), (510, 58))
    d.words(518, 48, "delta", "note left")
    d.arrow((530, 80), (578, 80), (578, 98))
    d.words(545, 70, "y", "note")
    d.arrow((410, 170), (578, 170), (578, 142))
    d.arrow((596, 120), (628, 120))
    d.arrow((720, 120), (756, 120))
    d.words(
        380,
        208,
        "blue: matrix products. In the scan alone a token waits for the one before it.",
        "note",
    )
    return d


def directions() -> Drawing:
    """The scans of Vision Mamba, and the class token between the patches."""
    d = Drawing(760, 210, "Both ways through a picture")
    for place in range(9):
        x = 140 + 58 * place
        kind, words = (
            ("scan", "class") if place == 4 else ("plain", f"{place if place < 4 else place - 1}")
        )
        d.box(x, 80, 48, 40, words, kind)
    d.words(70, 30, "forward", "")
    d.words(70, 100, "patches", "")
    d.words(70, 170, "backward", "")
    d.arrow((140, 30), (652, 30))
    d.arrow((652, 170), (140, 170))
    for place in range(9):
        x = 164 + 58 * place
        d.arrow((x, 38), (x, 78))
        d.arrow((x, 162), (x, 122))
    d.words(396, 14, "h after each token: what is left of those before it", "note")
    d.words(396, 190, "h of its own, with A, D, conv1d, x_proj and dt_proj of its own", "note")
    return d


def chunks() -> Drawing:
    """How a scan passes tokens and channels."""
    d = Drawing(760, 270, "A chunk of tokens at a time")
    for row in range(3):
        for column in range(4):
            number = 4 * row + column + 1
            d.box(
                150 + 110 * column,
                60 + 56 * row,
                100,
                46,
                str(number),
                "scan" if number == 2 else "plain",
            )
        d.words(112, 83 + 56 * row, f"{32 * row} to {32 * row + 31}", "note")
    d.words(370, 24, "channels, a vector's or two at a time", "note")
    d.arrow((150, 42), (580, 42))
    d.words(40, 60, "tokens", "note")
    d.arrow((40, 76), (40, 220))
    d.words(600, 72, "in a box, three loops:", "note left")
    for number, line in enumerate(
        (
            "the deltas of 32 tokens",
            "their states, token by token,",
            "   which stay in registers",
            "sum and gate",
        )
    ):
        d.words(600, 96 + 20 * number, f"{line}", "left note")
    d.words(
        370,
        246,
        "1, 2, 3 ...: the order. The states of a box are kept for the box below it.",
        "note",
    )
    return d


def stage() -> Drawing:
    """A stage of a program, and who does which part of it."""
    d = Drawing(760, 230, "A stage among threads")
    kinds = ("product", "product", "product", "product", "other", "other", "other", "other")
    d.words(80, 60, "rows or columns", "note")
    for part, kind in enumerate(kinds):
        d.box(150 + 70 * part, 40, 64, 40, str(part), kind)
    d.words(290, 22, "share of thread 0", "note")
    d.words(570, 22, "share of thread 1", "note")
    d.words(80, 130, "thread 0", "")
    d.words(80, 175, "thread 1", "")
    for place, part in enumerate((0, 1, 2, 3, 7)):
        d.box(150 + 78 * place, 112, 72, 34, str(part), kinds[part])
    for place, part in enumerate((4, 5, 6)):
        d.box(150 + 130 * place, 158, 124, 34, str(part), kinds[part])
    d.words(575, 130, "was quicker, and took 7", "note left")
    d.words(575, 175, "shared its core", "note left")
    d.words(
        370,
        214,
        "time, to the right: a thread that is through takes parts of the others",
        "note",
    )
    return d


def panels() -> Drawing:
    """A matrix as products read it."""
    d = Drawing(760, 260, "Packed panels")
    d.words(120, 18, "a matrix, by rows of inputs", "note")
    for column in range(4):
        d.box(30 + 46 * column, 36, 42, 170, "", "product" if column == 1 else "plain")
    d.words(120, 222, "outputs, 16 to a panel", "note")
    d.arrow((230, 120), (300, 120))
    d.words(265, 106, "packed", "note")
    for row in range(6):
        d.box(
            316, 36 + 29 * row, 150, 25, f"input {row}: 16 outputs" if row < 5 else "...", "product"
        )
    d.words(391, 222, "one panel, read in order", "note")
    d.words(560, 60, TIMES, "")
    for row in range(6):
        d.box(500, 76 + 20 * row, 120, 16, "", "plain")
    d.words(560, 206, "6 tokens", "note")
    d.arrow((632, 130), (662, 130))
    for row in range(6):
        d.box(670, 76 + 20 * row, 70, 16, "", "other")
    d.words(705, 206, "sums, in registers", "note")
    d.words(600, 30, "a number that is read serves 6 tokens", "note")
    return d


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "block": block,
    "directions": directions,
    "chunks": chunks,
    "stage": stage,
    "panels": panels,
}


if __name__ == "__main__":
    sys.exit(
        write_or_check({HERE / f"{name}.svg": draw().svg() for name, draw in DRAWINGS.items()})
    )
