"""The page's files, without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import vimnp

PAGE = Path(vimnp.__file__).parent / "serve" / "page"
FILES = sorted(PAGE.iterdir())
MARKUP = (PAGE / "index.html").read_text(encoding="utf-8")


def test_the_page_has_no_script_and_no_style_inside() -> None:
    """The server's content security policy would not let them in."""
    assert re.findall(r"<script(?![^>]*\ssrc=)", MARKUP) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", MARKUP) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_comes_from_elsewhere(file: Path) -> None:
    text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?://|[\"'(]//|@import", text) == []


def test_addresses_are_relative() -> None:
    """So that a proxy can have the page below a path of its own."""
    assert re.findall(r"(?:src|href)=\"/", MARKUP) == []
    for script in PAGE.glob("*.js"):
        assert re.findall(r"(?:fetch|ask|path)\([\"'`]/", script.read_text(encoding="utf-8")) == []


def test_whatever_the_scripts_name_is_on_the_page() -> None:
    ids = set(re.findall(r"\sid=\"([\w-]+)\"", MARKUP))
    named = re.findall(r"\$\(\"([\w-]+)\"\)", "".join(map(_text, PAGE.glob("*.js"))))
    assert set(named) <= ids
    assert len(ids) == len(re.findall(r"\sid=\"", MARKUP))
    assert set(re.findall(r"(?:for|aria-labelledby)=\"([\w-]+)\"", MARKUP)) <= ids


def test_text_becomes_no_markup() -> None:
    """Labels come from weights files, which anybody may have made."""
    for script in PAGE.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", _text(script)
        )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
