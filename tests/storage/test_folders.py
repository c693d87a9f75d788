"""A walk through a folder and those below it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.links import needs_links
from vimnp.storage.folders import walk


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_files_come_in_the_order_of_their_names_and_before_folders(tmp_path: Path) -> None:
    touch(tmp_path, "b", "c/z", "c/a/x", "a/y", "d", ".hidden", ".git/x", "c/.hidden")
    assert [*walk(tmp_path)] == ["b", "d", "a/y", "c/z", "c/a/x"]
    assert [*walk(str(tmp_path), "c")] == ["c/z", "c/a/x"]


@needs_links
def test_a_folder_is_walked_through_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/x")
    os.symlink(tmp_path, tmp_path / "a" / "up", target_is_directory=True)
    os.symlink(tmp_path / "a", tmp_path / "b", target_is_directory=True)
    again: list[tuple[str, str]] = []
    assert [*walk(tmp_path, on_again=lambda *names: again.append(names))] == ["a/x"]
    assert again == [("a/up", ""), ("b", "a")]
    walked: dict[tuple[int, int], str] = {}
    assert [*walk(tmp_path, "b", walked=walked)] == ["b/x"]  # and up there is all the rest
    assert [*walk(tmp_path, "a", walked=walked)] == []


@needs_links
def test_links_that_lead_nowhere_are_files(tmp_path: Path) -> None:
    os.symlink(tmp_path / "nothing", tmp_path / "broken")
    os.symlink(tmp_path / "itself", tmp_path / "itself")
    os.symlink(os.devnull, tmp_path / "device")
    assert [*walk(tmp_path)] == ["broken", "itself"]


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        next(walk(tmp_path, "none"))
