"""No import of the package runs upwards, or in a circle.

What a module imports counts wherever the line stands: in a function, or for the types only.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import vimnp
import vimnp.convert

ROOMS = (
    {"errors", "version"},
    {"counts", "_scan"},
    {"storage", "runtime"},
    {"images", "ops", "text"},
    {"weights"},  # a file says what its network does to pictures
    {"engine"},
    {"models"},
    {"jobs"},  # accuracy over a folder is one
    {"config", "reference", "evaluate", "measure", "convert", "serve", "watch"},
    {"hub"},  # what it fetches it converts
    {"__init__"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
"""The rooms from the bottom up. A room knows those that stand before its own line, and no other.

``config`` and ``reference`` are old names of modules, and ``__init__`` gives the public ones:
both stand above all that they name.
"""

PACKAGE = Path(vimnp.__file__).parent
CONVERT = Path(vimnp.convert.__file__).parent  # in a checkout it lies beside the package


def find_modules() -> dict[str, Path]:
    """Every module's file, by its name after ``vimnp.``."""
    found = {}
    for folder, prefix in ((PACKAGE, ()), (CONVERT, ("convert",))):
        for path in [*folder.rglob("*.py"), *folder.rglob("*.pyi")]:
            parts = (*prefix, *path.relative_to(folder).with_suffix("").parts)
            if len(parts) > 1 and parts[-1] == "__init__":
                parts = parts[:-1]
            found[".".join(parts)] = path
    return found


MODULES = find_modules()


def imports_of(name: str) -> Iterator[str]:
    """The modules of vimnp that a module names in its imports."""
    for statement in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            yield from (module_of(alias.name) for alias in statement.names if is_ours(alias.name))
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{name} has a relative import, which is not followed here"
            source = statement.module or ""
            if is_ours(source):
                yield from (module_of(f"{source}.{alias.name}") for alias in statement.names)


def is_ours(name: str) -> bool:
    return name.partition(".")[0] == "vimnp"


def module_of(name: str) -> str:
    """The module that a dotted name is, or is in."""
    inner = name.removeprefix("vimnp").removeprefix(".")
    while inner and inner not in MODULES:
        inner = inner.rpartition(".")[0]
    return inner or "__init__"


IMPORTS = {name: {*imports_of(name)} - {name} for name in MODULES}


def height(name: str) -> int:
    (found,) = (i for i, rooms in enumerate(ROOMS) if name.partition(".")[0] in rooms)
    return found


def upward_imports() -> set[tuple[str, str]]:
    """Pairs of a module and one that it imports from a room which it may not know."""
    return {
        (name, other)
        for name, others in IMPORTS.items()
        for other in others
        if name.partition(".")[0] != other.partition(".")[0] and height(other) >= height(name)
    }


def test_every_module_is_in_one_room() -> None:
    for name in MODULES:
        rooms = [rooms for rooms in ROOMS if name.partition(".")[0] in rooms]
        assert len(rooms) == 1, f"{name}: put its room into ROOMS, above all that it imports"


def test_no_import_runs_upwards() -> None:
    assert upward_imports() == set()


def test_no_import_runs_in_a_circle() -> None:
    try:
        graphlib.TopologicalSorter(IMPORTS).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")
