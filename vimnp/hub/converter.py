"""Finds ``vimnp.convert``, which in a checkout lies beside the package."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from pathlib import Path

_NAME = "vimnp.convert"

MISSING = (
    "the converter is not installed beside this copy of vimnp: "
    "run `pip install -e .` in the checkout"
)
"""What is said where it cannot be found."""


def find_converter() -> bool:
    """Whether ``vimnp.convert`` can be imported.

    In a checkout that nobody installed, Python cannot know that the folder beside the package is
    part of it: then it is loaded from where pyproject.toml says that it lies.
    """
    if _NAME in sys.modules:
        return sys.modules[_NAME] is not None
    if importlib.util.find_spec(_NAME) is not None:
        return True
    root = Path(__file__).parents[2]
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        folder = root / project["tool"]["setuptools"]["package-dir"][_NAME]
    except (OSError, ValueError, KeyError, TypeError):  # no checkout, or another project's
        return False
    spec = importlib.util.spec_from_file_location(
        _NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module  # before it runs: it imports its own parts
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[_NAME]
        raise
    return True
