"""The pages of a clone: what they link to and what they name is there, and their code runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import vimnp
from vimnp.runtime import extension

ROOT = Path(__file__).parents[1]
PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
    ),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "bench" / "README.md",
]
TOLD = [page for page in PAGES if page.parent != ROOT / "bench"]
"""Pages whose blocks run, or say why they do not."""
FOLDERS = [ROOT / name for name in ("vimnp", "convert", "tests", "bench", "docs", ".ci", ".github")]
SOURCES = r"\.(py|pyx|pxi|pyi|h|c|md|toml|yml)"

pytestmark = pytest.mark.skipif(
    not (ROOT / ".ci").is_dir(), reason="the tests do not lie in a clone, which has every page"
)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose_of(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)


def links_of(text: str) -> Iterator[tuple[str, str]]:
    """Path and anchor of every link that leads to no other site."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors_of(page: Path) -> set[str]:
    """What a link can have after the #: the headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.*)$", prose_of(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for path, anchor in links_of(prose_of(page)):
        target = page.parent / path if path else page
        assert target.exists(), f"there is no {path}"
        assert not anchor or anchor in anchors_of(target), f"{path or page} has no #{anchor}"


@every_page
def test_every_file_that_is_named_is_there(page: Path) -> None:
    """By its path from the root or from the page, or by its name alone."""
    files = {path.name for folder in [ROOT, *FOLDERS] for path in folder.glob("*")}
    files |= {path.name for folder in FOLDERS for path in folder.rglob("*")}
    for span in re.findall(r"`([^`\n]+)`", prose_of(page)):
        for word in span.split():
            if re.fullmatch(rf"[\w./-]+{SOURCES}", word) is None:
                continue
            roots = (ROOT, page.parent, ROOT / "vimnp", ROOT / "tests")
            found = any((root / word).exists() for root in roots) if "/" in word else word in files
            assert found, f"there is no {word}"


def test_the_map_names_what_is_in_its_files() -> None:
    """The name before each link of an answer is one that the linked file has."""
    page = ROOT / "docs" / "map.md"
    answers = re.findall(r"^\|[^|\n]*\|([^|\n]*)\|$", prose_of(page), re.M)
    named = 0
    for answer in answers:
        for match in re.finditer(r"\[[^\]]*\]\(([^)#]+)\)", answer):
            target = page.parent / match[1]
            names = re.findall(r"`(\w+)`", answer[: match.start()].rpartition("](")[2])
            for name in names if target.is_file() else ():
                named += 1
                text = target.read_text(encoding="utf-8")
                assert re.search(rf"\b{name}\b", text), f"{match[1]} has no {name}"
    assert named > 30


class Block(NamedTuple):
    """A block of commands or of Python, and why it is not run, if it says so."""

    page: Path
    language: str
    code: str
    reason: str | None


def blocks_of(page: Path) -> list[Block]:
    """In a comment before the block, a page says why a test does not run it."""
    found = re.findall(
        r"^(?:<!-- not run: ([^\n]+) -->\n\n?)?```(sh|python)\n(.*?)^```$",
        page.read_text(encoding="utf-8"),
        re.DOTALL | re.M,
    )
    return [Block(page, language, code, reason or None) for reason, language, code in found]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which commands find what a clone has, and leave their files."""
    for name in ("tests", "bench", "examples", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(extension.loaded() is None, reason="the pages speak of the compiled kernels")
@pytest.mark.parametrize("page", TOLD, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page: Path, clone: Path) -> None:
    """One after another: what a block names, those below it may take."""
    names: dict[str, Any] = {"vimnp": vimnp}
    for block in blocks_of(page):
        if block.reason is not None:
            continue
        if block.language == "python":
            exec(compile(block.code, page.name, "exec"), names)
        else:
            run_commands(block.code, clone)


def run_commands(code: str, folder: Path) -> None:
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for name, command in (("vimnp", "-m vimnp"), ("python", "")):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n', encoding="utf-8")
        tool.chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", code],
        cwd=folder,
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_front_page_has_blocks_that_run() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "adding_a_family.md"):
        assert any(block.reason is None for block in blocks_of(page))


@pytest.mark.skipif(extension.loaded() is None, reason="the pages speak of the compiled kernels")
@pytest.mark.parametrize("script", ["chart.py", "draw.py", "session.py"])
def test_the_drawings_are_what_their_scripts_draw(script: str) -> None:
    command = [sys.executable, str(ROOT / "docs" / "drawings" / script), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pages_have_the_figures_of_the_record() -> None:
    command = [sys.executable, str(ROOT / "bench" / "render.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_who_cites_it_cites_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", text, re.M) == [vimnp.__version__]
