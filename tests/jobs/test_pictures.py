"""Which pictures a command is given."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from tests.support.links import needs_links
from vimnp.errors import ImageError
from vimnp.jobs.pictures import find_pictures


def touch(folder: Path, *names: str) -> list[str]:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return [str(folder / name) for name in names]


def test_files_stand_as_they_are_named_whether_they_exist_or_not(tmp_path: Path) -> None:
    names = [*touch(tmp_path, "b.txt", "a.png"), str(tmp_path / "none.png")]
    assert find_pictures(names) == names


def test_a_folder_is_its_pictures_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = touch(tmp_path, "b.png", "c.JPG", "a/z.webp", "a/b/x.tiff")
    touch(tmp_path, "notes.txt", ".hidden.png", ".git/x.png")
    assert find_pictures([str(tmp_path)]) == [names[0], names[1], names[2], names[3]]


def test_each_picture_counts_once(tmp_path: Path) -> None:
    names = touch(tmp_path, "a.png", "b.png")
    assert find_pictures([names[1], str(tmp_path), names[1]]) == [names[1], names[0]]


def test_a_pattern_is_what_it_fits(tmp_path: Path) -> None:
    names = touch(tmp_path, "a/1.png", "a/b/2.png", "a/3.gif")
    assert find_pictures([str(tmp_path / "**" / "*.png")]) == names[:2]
    with pytest.raises(ImageError, match=r"\*\.bmp: no file fits this pattern"):
        find_pictures([str(tmp_path / "*.bmp")])


def test_a_file_that_is_named_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    names = touch(tmp_path, "a[1].png", "a1.png")
    assert find_pictures(names[:1]) == names[:1]


def test_a_bracket_alone_makes_no_pattern(tmp_path: Path) -> None:
    """A file that is missing is not one that nothing fits: it has its own error."""
    names = [str(tmp_path / "a[1.png"), str(tmp_path / "b[].png")]
    assert find_pictures(names) == names
    with pytest.raises(ImageError, match="no file fits this pattern"):
        find_pictures([str(tmp_path / "a[1].png")])


def test_names_come_by_the_standard_input(tmp_path: Path) -> None:
    lines = io.StringIO("a b.png\r\n\nc.png")
    assert find_pictures(["-", "d.png"], lines) == ["a b.png", "c.png", "d.png"]
    with pytest.raises(ImageError, match="there is no standard input"):
        find_pictures(["-"], None)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(ImageError, match=r"no picture in this folder; expected .*\.jpeg"):
        find_pictures([str(tmp_path)])


@needs_links
def test_links_that_lead_in_a_circle_are_followed_once(tmp_path: Path) -> None:
    (name,) = touch(tmp_path, "a/x.png")
    os.symlink(tmp_path, tmp_path / "a" / "up", target_is_directory=True)
    assert find_pictures([str(tmp_path)]) == [name]
