"""Chat templates of Jinja that anybody may have written, rendered within bounds.

A template comes with weights, and is a program. Here it gets text and gives text: it reaches
nothing else, as in Jinja's sandbox, and what it does is counted, so that it can neither fill the
memory nor run for ever. All that makes something larger than it was given pays for it: loops and
calls, what is put together, literals of lists, and filters, of which only those are there whose
cost is known.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes, sandbox
from jinja2.runtime import LoopContext, Undefined
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

_SECONDS = 5.0
_WORK = 1 << 20  # characters and items, and so much for each one given:
_WORK_EACH = 64
_LARGEST_NUMBER = 1 << 64
_LARGEST_EXPONENT = 64
_SCALARS = (str, int, float, type(None), Undefined)

_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(
        {
            *("count", "endswith", "find", "index", "partition", "rfind", "rpartition"),
            *("isalnum", "isalpha", "isdigit", "isspace", "startswith"),
            *("join", "replace", "split", "splitlines", "rsplit"),
            *("strip", "lstrip", "rstrip", "removeprefix", "removesuffix"),
            *("capitalize", "lower", "title", "upper"),
        }
    ),
    dict: frozenset(["get", "items", "keys", "values"]),
    list: frozenset(["count", "index"]),
    tuple: frozenset(["count", "index"]),
}
_FILTERS = (
    *("abs", "float", "int", "round", "capitalize", "lower", "title", "trim", "upper"),
    *("count", "d", "default", "first", "items", "last", "length", "list"),
    *("map", "reject", "rejectattr", "select", "selectattr"),
)
_BLOCKS = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block)


class TooMuchError(Exception):
    """A template does more than any chat template has to do."""


class _Budget:
    """What a template may still do."""

    def __init__(self, work: int) -> None:
        self._left = work
        self._end = time.monotonic() + _SECONDS

    def charge(self, work: int) -> None:
        """Take so much off. Raises TooMuchError where there is no more."""
        self._left -= work
        if self._left < 0 or time.monotonic() > self._end:
            raise TooMuchError("it does more than a chat template has to do")

    def each(self, values: Iterable[Any]) -> list[Any]:
        """The items, each of which is paid for."""
        found = []
        for value in values:
            self.charge(1)
            found.append(value)
        return found

    def made(self, value: Any) -> Any:
        """Pay for what was made; what is still to be gone through becomes a list."""
        if isinstance(value, _SCALARS):
            self.charge(1 + (len(value) if isinstance(value, str) else 0))
        elif isinstance(value, list | tuple | dict):
            self.charge(1 + len(value))
        elif isinstance(value, Iterable) and not isinstance(value, Namespace):
            return self.each(value)
        return value

    def weighed(self, value: Any) -> Any:
        """Pay for a literal and all that is in it: a list of lists of one list can be endless."""
        self.charge(1)
        if isinstance(value, dict):
            for each in (*value, *value.values()):
                self.weighed(each)
        elif isinstance(value, list | tuple):
            for each in value:
                self.weighed(each)
        return value

    def joined(self, values: Iterable[Any], separator: Any = "") -> str:
        """Texts and numbers, put together."""
        texts = [as_text(value) for value in self.each(values)]
        self.charge(sum(map(len, texts)) + len(as_text(separator)) * len(texts))
        return as_text(separator).join(texts)

    def replaced(self, text: Any, old: Any, new: Any, count: Any = -1) -> str:
        """``str.replace``, which is paid for by what it could give."""
        text, old, new = as_text(text), as_text(old), as_text(new)
        self.charge(len(text) + (text.count(old) + 1) * len(new))
        return text.replace(old, new, -1 if count is None else int(count))

    def to_json(self, value: Any, indent: Any = None, **options: Any) -> str:
        """JSON, as transformers has it: with letters of every script."""
        width = None if indent is None else min(int(indent), 8)
        pieces = []
        for piece in json.JSONEncoder(ensure_ascii=False, indent=width).iterencode(value):
            self.charge(1 + len(piece))
            pieces.append(piece)
        return "".join(pieces)

    def range(self, *bounds: int) -> list[int]:
        """Numbers, each of which is paid for."""
        self.charge(len(range(*bounds)))
        return [*range(*bounds)]


def as_text(value: object) -> str:
    """What is printed of a text or a number. Raises TypeError for anything else."""
    if isinstance(value, Undefined):
        return ""
    if not isinstance(value, _SCALARS):
        raise TypeError(f"a {type(value).__name__} has no text; a template needs tojson for it")
    return str(value)


class _Counting(NodeTransformer):
    """Puts the counting where a template goes through something, or makes something."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802  # Jinja's name
        if node.recursive:
            raise TooMuchError("it has a recursive loop")
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "_each")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes), "_joined")

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, "_weighed")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, "_weighed")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, "_weighed") if node.ctx == "load" else node

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        if isinstance(node, _BLOCKS):
            raise TooMuchError(f"it has {type(node).__name__.lower()}, which names other files")
        return super().generic_visit(node, *args, **kwargs)


def _filtered(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class _Environment(sandbox.ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with less in it, and counted."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])

    def __init__(self, budget: _Budget) -> None:

        @jinja2.pass_context  # with which nothing is printed while it compiles, either
        def shown(context: object, value: Any) -> str:
            text = as_text(value)
            budget.charge(1 + len(text))
            return text

        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # what is computed while it compiles is not counted
            finalize=shown,
            extensions=["jinja2.ext.loopcontrols"],
        )
        self._budget = budget
        self.concat = lambda pieces: budget.joined(pieces)  # type: ignore[method-assign]
        self.filters = {name: self._counted(self.filters[name]) for name in _FILTERS}
        self.filters |= {
            "_each": budget.each,
            "_joined": budget.joined,
            "_weighed": budget.weighed,
            "join": budget.joined,
            "replace": budget.replaced,
            "safe": as_text,
            "string": as_text,
            "tojson": budget.to_json,
        }
        self.globals = {
            "namespace": Namespace,
            "raise_exception": _refuse,
            "range": budget.range,
        }

    def _counted(self, apply: Callable[..., Any]) -> Callable[..., Any]:
        """A filter whose result is paid for; how Jinja passes arguments to it stays."""

        @functools.wraps(apply)
        def counted(*args: Any, **kwargs: Any) -> Any:
            return self._budget.made(apply(*args, **kwargs))

        return counted

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """What a template calls; the names are Jinja's, so that any argument can be named."""
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        budget = __self._budget
        if isinstance(owner, str) and name in ("join", "replace"):
            budget.charge(1)
            if name == "join":
                return budget.joined(args[0], owner)
            return budget.replaced(owner, *args)
        return budget.made(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic, and texts or lists one after the other."""
        if operator == "+" and any(
            isinstance(left, kind) and isinstance(right, kind) for kind in (str, list)
        ):
            self._budget.charge(len(left) + len(right))
        elif operator == "*" and isinstance(left, str) and isinstance(right, int):
            self._budget.charge(len(left) * max(right, 0))
        else:
            for number in (left, right):
                if not isinstance(number, int | float):
                    raise TypeError(f"a template has {operator} of {type(number).__name__}")
                if isinstance(number, int) and abs(number) > _LARGEST_NUMBER:
                    raise TooMuchError("its numbers become too large")
            if operator == "**" and abs(right) > _LARGEST_EXPONENT:
                raise TooMuchError("its numbers become too large")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Only methods whose cost is known, and what loops and namespaces have."""
        for kind, names in _METHODS.items():
            if isinstance(obj, kind):
                return attr in names
        known = isinstance(obj, Namespace | LoopContext | Undefined)
        return known and super().is_safe_attribute(obj, attr, value)


def _refuse(message: object) -> NoReturn:
    """What templates call where messages do not fit."""
    raise jinja2.TemplateError(as_text(message))


def render(source: str, values: Mapping[str, Any], size: int) -> str:
    """The text that a template makes.

    Parameters
    ----------
    source : str
    values : mapping of str to object
        What the template can name: texts, numbers, and lists and dicts of such.
    size : int
        Characters in these, by which the template may do more.

    Raises
    ------
    Exception
        Of many kinds, if it is no template, or wants what it must not have.
    """
    environment = _Environment(_Budget(_WORK + _WORK_EACH * (size + len(source))))
    tree = _Counting().visit(environment.parse(source))
    code = environment.compile(tree)
    template = environment.template_class.from_code(environment, code, environment.globals)
    return template.render(values)
