"""Write what the pages quote of the record: their tables, the tables' own pages, chart and plots.

    python bench/render.py [--check]

A page's table stands between ``<!-- figures: NAME -->`` and ``<!-- end -->``, with a name of
``page_figures.FIGURES``. So does a figure in a sentence, with both markers in one line. ``--check``
writes nothing, and fails where something is not what the record says. A plot has the digest of its
figures inside, so that nothing needs to be drawn for that; it is drawn anew, by matplotlib, where
they have changed or it is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import checkout  # noqa: F401  (finds vimnp's clone)
from page_figures import FIGURES
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from recorded import Figures, Record, quoted

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "bench" / "peers"
DRAWINGS = ROOT / "docs" / "drawings"
MARKED = re.compile(r"<!-- figures: (\w+) -->(.*?)<!-- end -->", re.DOTALL)
STAMP = "Figures"  # the key of a plot's digest


class RenderError(Exception):
    """A page whose markers cannot be used, or plots that cannot be drawn."""


class Comparison(NamedTuple):
    """A section of the record that has a page and plots of its own.

    Parameters
    ----------
    section : str
    package : str
        With the modules ``report`` and ``plots``.
    plots : tuple of str
        Names of files.
    """

    section: str
    package: str
    plots: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return PEERS.parent.joinpath(*self.package.split("."), "results")


COMPARISONS = (
    Comparison("vision_mamba", "peers", ("latency.png", "tokens.png", "scan_modes.png")),
    Comparison(
        "int8",
        "peers.int8",
        ("latency_224.png", "latency_448.png", "latency_672.png", "memory.png"),
    ),
    Comparison("language", "peers.language", ("decoding.png", "prompt.png", "memory.png")),
    Comparison("vmamba", "peers.vmamba", ("latency_224.png", "latency_448.png", "memory.png")),
)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "bench" / "README.md"]


def texts(record: Record) -> Iterator[tuple[Path, str]]:
    """Every file of text that comes from the record, as it is to be."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        yield page, filled(text, record, str(page.relative_to(ROOT)))
    for comparison in COMPARISONS:
        report = importlib.import_module(f"{comparison.package}.report")
        yield comparison.folder / "table.md", report.markdown(record[comparison.section])
    yield DRAWINGS / "chart.svg", _chart(record)


def filled(text: str, record: Record, page: str) -> str:
    """A page with what the record says between its markers.

    What it does not have yet stays as it is, and a line says so.

    Raises
    ------
    RenderError
        If a marker has no end, or a name that nothing has.
    """

    def figure(found: re.Match[str]) -> str:
        name, old = found.groups()
        if name not in FIGURES:
            raise RenderError(f"{page}: figures {name!r}; expected of {', '.join(FIGURES)}")
        if "<!-- figures:" in old:
            raise RenderError(f"{page}: no <!-- end --> after the marker of {name!r}")
        around = "\n\n" if "\n" in old else ""
        if not around and not found.string[: found.start()].rpartition("\n")[2].strip():
            raise RenderError(f"{page}: a line that {name!r} begins would be no text, but HTML")
        new = FIGURES[name](record)
        if new is None:
            print(f"{page}: {name} stays as it is: nobody has recorded it yet")
            return found[0]
        return f"<!-- figures: {name} -->{around}{new.strip()}{around}<!-- end -->"

    if text.count("<!-- figures:") > len(MARKED.findall(text)):
        raise RenderError(f"{page}: a marker of figures without its <!-- end -->, or misspelt")
    return MARKED.sub(figure, text)


def _chart(record: Record) -> str:
    sys.path.append(str(DRAWINGS))
    chart = importlib.import_module("chart")
    text: str = chart.chart(record).svg()
    return text


# ---- Plots ---------------------------------------------------------------------------------------


def stale_plots(comparison: Comparison, record: Record) -> list[Path]:
    """Those that are missing, or were drawn from other figures."""
    digest = digest_of(record[comparison.section])
    paths = [comparison.folder / name for name in comparison.plots]
    return [path for path in paths if not path.exists() or stamp_of(path) != digest]


def digest_of(figures: Figures) -> str:
    return hashlib.sha256(json.dumps(figures, sort_keys=True).encode()).hexdigest()


def stamp_of(path: Path) -> str | None:
    """The digest in a picture; None if there is none."""
    with Image.open(path) as picture:
        return picture.info.get(STAMP)


def draw(comparison: Comparison, figures: Figures, stale: list[Path]) -> None:
    """Draw all of a section, and put those in place that are stale.

    Raises
    ------
    RenderError
        If matplotlib is missing.
    """
    try:
        plots = importlib.import_module(f"{comparison.package}.plots")
    except ModuleNotFoundError as error:
        names = ", ".join(path.name for path in stale)
        raise RenderError(f"{names}: to be drawn by {error.name}; pip install it") from None
    stamp = PngInfo()
    stamp.add_text(STAMP, digest_of(figures))
    with tempfile.TemporaryDirectory() as folder:
        plots.draw(figures, Path(folder))
        for path in stale:
            with Image.open(Path(folder, path.name)) as picture:
                picture.save(path, pnginfo=stamp, optimize=True)


# ---- The command ---------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Write or check; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where it differs")
    options = parser.parse_args(arguments)
    record = quoted()
    try:
        changed = [path for path, text in texts(record) if _differs(path, text, options.check)]
        for comparison in COMPARISONS:
            stale = stale_plots(comparison, record)
            if stale and not options.check:
                draw(comparison, record[comparison.section], stale)
            changed += stale
    except RenderError as error:
        print(error, file=sys.stderr)
        return 2
    for path in changed:
        print(f"{path.relative_to(ROOT)}: {'differs' if options.check else 'written'}")
    if options.check and changed:
        print("not what the record says: run `python bench/render.py`", file=sys.stderr)
        return 1
    return 0


def _differs(path: Path, text: str, only_look: bool) -> bool:
    """Whether a file was another one; it is written, unless one only looks."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    if not only_look:
        path.write_text(text, encoding="utf-8")
    return True


if __name__ == "__main__":
    sys.exit(main())
