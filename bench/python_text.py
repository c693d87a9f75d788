"""Python's own documentation as one text: the help topics, and docstrings of its library.

Every machine that can train has it, under Python's licence. It is always in the same order, but
each release of Python has another text.
"""

from __future__ import annotations

import ast
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

SHORTEST = 121  # characters of a docstring: shorter ones say little beyond a function's name
# Tests, what other projects wrote, tables, and what some distributions leave out.
LEFT_OUT = {
    "site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo",
    "ensurepip", "encodings", "pydoc_data", "__pycache__",
}  # fmt: skip


def sources(library: Path) -> list[Path]:
    """The library's source files, by path."""
    found = []
    for folder, subfolders, names in os.walk(library):
        subfolders[:] = set(subfolders) - LEFT_OUT
        found += [Path(folder, name) for name in names if name.endswith(".py")]
    return sorted(found)


def docstrings(path: Path) -> Iterator[str]:
    """All docstrings of a source file, those of a scope before those inside it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield (ast.get_docstring(node) or "").strip()


def documents() -> Iterator[str]:
    """The help topics by name, then the library's longer docstrings by their files' paths."""
    for _, topic in sorted(topics.items()):
        yield topic.strip()
    for path in sources(Path(sysconfig.get_path("stdlib"))):
        yield from (text for text in docstrings(path) if len(text) >= SHORTEST)


def python_text() -> bytes:
    """Return the whole text in UTF-8: every document once, with an empty line between two."""
    return "\n\n".join(dict.fromkeys(documents())).encode()
