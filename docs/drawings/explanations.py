"""The gallery of explain.md, from the bundled digits: this script draws it, and with ``--check``
compares.

A machine with other instructions rounds otherwise, and another FreeType draws other letters: what
is compared is the pictures, and they may differ a little.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import vimnp
from vimnp.images.overlay import as_seen, overlay

HERE = Path(__file__).parent
FILE = HERE / "explanations.png"
DIGITS = (3, 4, 7, 9)
SIDE, CAPTION, GAP = 152, 24, 8  # pixels
COLOURS = 128
CLOSE = 6  # of 255, on average: what the colours of the file, and rounding, may change


class Tile(NamedTuple):
    caption: str
    picture: Image.Image


def row_of(model: vimnp.VisionMamba, path: Path) -> Iterator[Tile]:
    """A scan, what speaks for its class and for the next one, and what needs no class."""
    pixels = model.preprocess(path)
    preprocessing = model.metadata.preprocessing
    assert preprocessing is not None
    seen = as_seen(pixels, preprocessing)
    best = model.predict(pixels, 2)
    yield Tile(f"{best[0].label}, {best[0].score:.0%}", seen)
    for prediction in best:
        found = model.explain(pixels, prediction.index)
        yield Tile(f"a {found.label}: {found.score:+.1f} logits", overlay(seen, found.map))
    yield Tile("hidden attention", overlay(seen, model.hidden_attention(pixels).mean(axis=0)))
    yield Tile("step size", overlay(seen, centred(model.step_sizes(pixels).mean(axis=0))))


def centred(values: np.ndarray) -> np.ndarray:
    """Above and below their mean, since all of them are above 0 and most are alike."""
    return values - values.mean()


def places(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """Left and upper edge of each tile, below its caption."""
    for row in range(rows):
        for column in range(columns):
            yield GAP + column * (SIDE + GAP), CAPTION + row * (SIDE + CAPTION)


def draw() -> tuple[Image.Image, list[tuple[int, int]]]:
    """The gallery, and where its tiles are."""
    model = vimnp.load("digits")
    scans = [next((HERE.parents[1] / "tests" / "data").glob(f"digit_{i}_*.png")) for i in DIGITS]
    rows = [list(row_of(model, scan)) for scan in scans]
    columns = len(rows[0])
    size = GAP + columns * (SIDE + GAP), len(rows) * (SIDE + CAPTION) + GAP
    drawn = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(13)
    found = list(places(len(rows), columns))
    for (left, top), tile in zip(found, (tile for row in rows for tile in row), strict=True):
        drawn.paste(tile.picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), (left, top))
        pen.text((left + SIDE / 2, top - 4), tile.caption, "black", font, anchor="ms")
    return drawn, found


def is_close(drawn: Image.Image, tiles: list[tuple[int, int]]) -> bool:
    """Whether the file shows the same pictures."""
    if not FILE.exists():
        return False
    with Image.open(FILE) as file:
        if file.size != drawn.size:
            return False
        there = np.asarray(file.convert("RGB"), np.int16)
    now = np.asarray(drawn, np.int16)
    gaps = (np.abs(there - now)[top : top + SIDE, left : left + SIDE].mean() for left, top in tiles)
    return all(gap < CLOSE for gap in gaps)


def main() -> int:
    drawn, tiles = draw()
    if "--check" not in sys.argv:
        drawn.quantize(COLOURS, dither=Image.Dither.NONE).save(FILE, optimize=True)
    elif not is_close(drawn, tiles):
        print(f"{FILE.name}: not what docs/drawings/explanations.py draws; run it")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
