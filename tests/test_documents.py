"""The pages of a clone: what they link to and what they name is there, and their code runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from vimnp.runtime import extension

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "bench" / "README.md"]
FOLDERS = [ROOT / name for name in ("vimnp", "convert", "tests", "bench", "docs", ".ci", ".github")]
SOURCES = r"\.(py|pyx|pxi|pyi|h|c|md|toml|yml)"

pytestmark = pytest.mark.skipif(
    not (ROOT / ".ci").is_dir(), reason="the tests do not lie in a clone, which has every page"
)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose_of(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)


def code_of(page: Path) -> list[str]:
    """A page's blocks of Python that begin with an import."""
    return re.findall(
        r"^```python\n((?:import|from) .*?)^```$",
        page.read_text(encoding="utf-8"),
        re.DOTALL | re.M,
    )


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


@pytest.mark.skipif(extension.loaded() is None, reason="needs the compiled kernels")
def test_the_network_of_adding_a_family_runs() -> None:
    blocks = code_of(ROOT / "docs" / "adding_a_family.md")
    assert blocks
    for block in blocks:
        exec(compile(block, "adding_a_family.md", "exec"), {})
