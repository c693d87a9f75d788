"""Which errors a call raises, by itself or in what it has check its arguments: read in the code."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import FunctionType
from typing import Any, NamedTuple

from tests.support.public_names import Public

_HELPERS = re.compile(r"_[a-z]|(expect|check|checked|resolve|refuse)_")
"""What names begin with of a module's own functions, and of those that look at arguments."""

_OF_PYTHON = {"AttributeError", "NotImplementedError", "StopIteration"}
"""Errors of protocols, which say nothing of bad input."""


class _Call(NamedTuple):
    """A function, where it is called."""

    function: FunctionType
    caught: frozenset[str]  # names of errors that somebody around the call catches


def raised_errors(one: Public) -> set[str]:
    """The names of the errors that a call raises, or making one of a class.

    Those of a property are its own, without those of helpers: what it has was looked at before.
    """
    owner = one.thing if inspect.isclass(one.thing) else one.owner
    found: set[str] = set()
    seen: set[_Call] = set()
    waiting = [_Call(function, frozenset()) for function in _written_functions(one.thing)]
    while waiting:
        call = waiting.pop()
        if call in seen:
            continue
        seen.add(call)
        for node, caught in _with_caught(_tree_of(call.function), call, owner):
            if isinstance(node, ast.Raise):
                error = _error_of(node.exc, call.function, owner)
                if error and not {error, "Exception", "BaseException"} & caught:
                    found.add(error)
            elif isinstance(node, ast.Call) and not one.is_property:
                called = _resolve(node.func, call.function, owner)
                if _is_ours(called) and _HELPERS.match(called.__name__):
                    waiting.append(_Call(called, caught))
    return found - _OF_PYTHON


def _written_functions(thing: Any) -> list[FunctionType]:
    """What runs: of a class what makes one, as far as it is in a file of ours."""
    if inspect.isclass(thing):
        made_by = (getattr(thing, name, None) for name in ("__init__", "__post_init__"))
        return [function for function in made_by if _is_ours(function)]
    computes = getattr(thing, "fget", None) or getattr(thing, "func", None) or thing
    return [inspect.unwrap(computes)]


def _is_ours(thing: Any) -> bool:
    """Whether it is a function that stands in one of vimnp's files, and was not generated."""
    is_function = isinstance(thing, FunctionType) and thing.__module__.startswith("vimnp.")
    return is_function and thing.__code__.co_filename.endswith(".py")


def _tree_of(function: FunctionType) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def _with_caught(
    node: ast.AST, call: _Call, owner: type | None
) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """Every node of a function, and the errors that somebody around it catches."""
    yield node, call.caught
    inner = call
    if isinstance(node, ast.Try | ast.With):
        inner = call._replace(caught=call.caught | _caught_within(node, call.function, owner))
    body: list[ast.stmt] = node.body if inner is not call else []
    for child in ast.iter_child_nodes(node):
        yield from _with_caught(child, inner if child in body else call, owner)


def _caught_within(
    node: ast.Try | ast.With, function: FunctionType, owner: type | None
) -> set[str]:
    """The errors that a statement catches, or that its context managers of ours do."""
    handlers: list[ast.ExceptHandler] = []
    if isinstance(node, ast.Try):
        handlers = node.handlers
    else:
        calls = [item.context_expr for item in node.items]
        managers = [_resolve(c.func, function, owner) for c in calls if isinstance(c, ast.Call)]
        for manager in map(inspect.unwrap, filter(_is_ours, managers)):
            nodes = ast.walk(_tree_of(manager))
            handlers += [each for each in nodes if isinstance(each, ast.ExceptHandler)]
    names = [ast.walk(handler.type) for handler in handlers if handler.type]
    return {each.id for nodes in names for each in nodes if isinstance(each, ast.Name)}


def _error_of(node: ast.expr | None, function: FunctionType, owner: type | None) -> str | None:
    """The class of what is raised; None where an error that was caught goes on."""
    if not isinstance(node, ast.Call | ast.Name | ast.Attribute):
        return None
    found = _resolve(node.func if isinstance(node, ast.Call) else node, function, owner)
    if inspect.isclass(found):
        return found.__name__
    annotation = getattr(found, "__annotations__", {}).get("return")  # a function makes the error
    return annotation if isinstance(annotation, str) else None


def _resolve(node: ast.expr, function: FunctionType, owner: type | None) -> Any:
    """What a name means in a function, or an attribute of ``self``; None where it is a local."""
    if isinstance(node, ast.Name):
        return function.__globals__.get(node.id) or getattr(builtins, node.id, None)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if node.value.id in ("self", "cls"):
            found = inspect.getattr_static(owner, node.attr, None)
            return getattr(found, "__func__", found)
        return getattr(function.__globals__.get(node.value.id), node.attr, None)
    return None
