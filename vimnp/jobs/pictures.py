"""The pictures that somebody names: files, folders, patterns, and lists of names."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from typing import IO

from vimnp.errors import ImageError
from vimnp.jobs.addresses import find_at, is_address
from vimnp.storage.folders import walk

ENDINGS = (
    *(".avif", ".avifs", ".bmp", ".dib", ".gif", ".ico", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc"),
    *(".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif"),
    *(".tiff", ".webp"),
)
"""What names of pictures end in, in the formats that are read; in a folder, others are none."""

STANDARD_INPUT = "-"

_PATTERN = re.compile(r"[*?]|\[.[^]]*\]", re.DOTALL)
"""What makes a name a pattern; glob.has_magic takes a bracket that is not closed for one, too."""


def find_pictures(names: Iterable[str], lines: IO[str] | None = None) -> list[str]:
    """The files that are meant, each once: as :func:`named_pictures`, without repetitions."""
    return list(dict.fromkeys(named_pictures(names, lines)))


def named_pictures(names: Iterable[str], lines: IO[str] | None = None) -> Iterator[str]:
    """The files that are meant, in the order of the names, and as often as they are named.

    Parameters
    ----------
    names : iterable of str
        Files, which need not exist; folders, in which and below which all files count whose names
        end as pictures' do, but hidden ones, in the order of their names; patterns such as
        ``pictures/**/*.jpg``, where no file of that name exists; addresses, as
        ``s3://bucket/pictures``, for which see :mod:`vimnp.jobs.addresses`; and "-", for the names
        that `lines` has.
    lines : file, optional
        A name a line.

    Raises
    ------
    ImageError
        If there is no picture in a folder, none that a pattern fits, or "-" without `lines`.
    OSError
        If a folder cannot be read.
    """
    for name in names:
        if name == STANDARD_INPUT:
            yield from _listed(lines)
        elif is_address(name):
            yield from find_at(name, ENDINGS)
        elif os.path.isdir(name):
            yield from _in_folder(name)
        elif _PATTERN.search(name) and not os.path.lexists(name):
            yield from _that_fit(name)
        else:
            yield name


def _listed(lines: IO[str] | None) -> Iterator[str]:
    if lines is None:
        raise ImageError("-: there is no standard input; expected names of pictures, a line each")
    for line in lines:
        name = line.rstrip("\r\n")
        if name:
            yield name


def _in_folder(folder: str) -> list[str]:
    found = [
        os.path.join(folder, *name.split("/"))
        for name in walk(folder)
        if os.path.splitext(name)[1].lower() in ENDINGS
    ]
    if not found:
        raise ImageError(
            f"{folder}: there is no picture in this folder; expected files that end in "
            f"{', '.join(ENDINGS)}"
        )
    return found


def _that_fit(pattern: str) -> list[str]:
    found = sorted(name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name))
    if not found:
        raise ImageError(f"{pattern}: no file fits this pattern; expected a picture that does")
    return found
