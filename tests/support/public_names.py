"""What is public: the names that docs/api.md lists, and what they have for users."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import vimnp

API = Path(__file__).parents[2] / "docs" / "api.md"

_BLOCK = re.compile(r"^```\{eval-rst\}\n(.*?)^```", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"^ {3}([A-Za-z][\w.]*)$", re.MULTILINE)
_CALLS = ("__call__", "__getitem__")


class Public(NamedTuple):
    """A class, a function, a method or a property that users are told of.

    Parameters
    ----------
    name : str
        From ``vimnp.`` on.
    thing : object
        What has the docstring: of a class method or a static one the function.
    owner : type or None
        The class that it is a member of.
    """

    name: str
    thing: Any
    owner: type | None = None

    @property
    def is_property(self) -> bool:
        return isinstance(self.thing, property | functools.cached_property)


def listed() -> list[str]:
    """The names in the tables of docs/api.md."""
    blocks = _BLOCK.findall(API.read_text(encoding="utf-8"))
    return [name for block in blocks for name in _NAME.findall(block)]


def find(name: str) -> Any:
    """What stands under a name from ``vimnp.`` on."""
    found: Any = vimnp
    for part in name.split("."):
        if isinstance(found, ModuleType) and not hasattr(found, part):
            importlib.import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    return found


def public() -> Iterator[Public]:
    """All that is listed, with the members of classes and of modules: each thing once."""
    seen: set[int] = set()
    for name in listed():
        for one in _with_members(name):
            if id(one.thing) not in seen:
                seen.add(id(one.thing))
                yield one


def _with_members(name: str) -> Iterator[Public]:
    found = find(name)
    if not isinstance(found, ModuleType):
        yield Public(name, found)
    if inspect.isclass(found):
        yield from _members(name, found)
    elif isinstance(found, ModuleType):
        for member, thing in vars(found).items():
            if not member.startswith("_") and (inspect.isfunction(thing) or inspect.isclass(thing)):
                yield Public(f"{name}.{member}", thing)


def _members(name: str, owner: type) -> Iterator[Public]:
    """Methods and properties, those that it has of its bases as well, but Python's own."""
    for member in dir(owner):
        definer = next(base for base in owner.__mro__ if member in vars(base))
        is_named = member in _CALLS or not member.startswith("_")
        if is_named and definer.__module__.startswith("vimnp."):
            thing = vars(definer)[member]
            thing = getattr(thing, "__func__", thing)
            if isinstance(thing, FunctionType | property | functools.cached_property):
                yield Public(f"{name}.{member}", thing, owner)
