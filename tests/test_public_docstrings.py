"""What every public docstring tells: a summary, parameters, results, errors, and where it is from.

A docstring may leave parameters to another one, if it names that: "see :func:`vimnp.conv2d`", "As
for the class", "As for calling the model".
"""

from __future__ import annotations

import builtins
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import vimnp
from tests.support.public_names import API, Public, find, public
from tests.support.raised_errors import raised_errors
from vimnp.models import model
from vimnp.models.generation import Options

docscrape = pytest.importorskip("numpydoc.docscrape")
if not API.exists():
    pytest.skip("the tests lie beside no checkout", allow_module_level=True)

PUBLIC = {one.name: one for one in public()}

VERBS = re.compile(
    "(Add|Apply|Build|Choose|Close|Compute|Convert|Convolve|Copy|Count|Decode|Describe|Encode"
    "|Evaluate|Explain|Find|Give|Join|Lay|List|Load|Make|Normalise|Predict|Preprocess|Raise|Read"
    "|Reverse|Run|Say|Scan|Show|Sum|Write) "
)
"""What the summaries of functions begin with."""

REFERENCE = re.compile(r"(?:see|As for|those of)\s+:(?:func|class|meth):`~?(?:vimnp\.)?([\w.]+)`")
ARRAY = re.compile(r"\b(nd)?array\b")
SHAPE = re.compile(r"\bshapes?\b")
DTYPE = re.compile(
    r"\b(float\d*|floats|uint8|intp|integers|numbers|(any floating |any )dtype|dtypes)\b"
)
YEAR = re.compile(r"\b(19|20)\d\d\b")

OPERATIONS = [name for name in vimnp.__all__ if hasattr(vimnp.ops, name) and name != "Direction"]
NETWORKS = [one.name for one in PUBLIC.values() if model.Model in getattr(one.thing, "__mro__", ())]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_tells_what_users_need(name: str) -> None:
    assert [*lacks(PUBLIC[name])] == []


@pytest.mark.parametrize("name", [*OPERATIONS, *NETWORKS, "SS2D"])
def test_operations_and_networks_tell_of_the_paper_they_are_from(name: str) -> None:
    assert YEAR.search(inspect.getdoc(find(name)) or "")


def lacks(one: Public) -> Iterator[str]:
    """What a docstring lacks, a sentence each."""
    text = inspect.getdoc(one.thing)
    if not text:
        yield "there is none"
        return
    sections = docscrape.NumpyDocString(text)
    yield from lacks_of_summary(one, text.partition("\n\n")[0])
    if not one.is_property:
        yield from lacks_of_parameters(one, text, sections["Parameters"])
    if inspect.isfunction(one.thing):
        yield from lacks_of_results(one, text, sections["Returns"] or sections["Yields"])
    yield from lacks_of_errors(one, text, sections["Raises"])


def lacks_of_summary(one: Public, summary: str) -> Iterator[str]:
    if "\n" in summary or not summary.endswith("."):
        yield "the summary is no sentence on a line of its own"
    if inspect.isfunction(one.thing) and not VERBS.match(summary):
        yield f"the summary begins with {summary.split()[0]!r}; expected one of VERBS"


def lacks_of_parameters(one: Public, text: str, told: list[Any]) -> Iterator[str]:
    expected = parameter_names(one)
    if not told:
        if expected and "Made by :meth:" not in text:
            yield from lacks_elsewhere(one, text, expected)
        return
    names = [name for entry in told for name in names_of(entry)]
    if sorted(names) != sorted(expected):
        yield f"the parameters are {names}; the signature has {expected}"
    for entry in told:
        about = " ".join(entry.desc)
        if not about:
            yield f"{entry.name}: no description"
        if not entry.type:
            yield from lacks_elsewhere(one, about, names_of(entry))
        yield from lacks_of_type(entry.name, entry.type)


def parameter_names(one: Public) -> list[str]:
    """As the signature has them, with those of a generation for ``**options``."""
    if inspect.isclass(one.thing) and issubclass(one.thing, Exception):
        return []
    names = [name for name in inspect.signature(one.thing).parameters if name[0] != "_"]
    own = [name for name in names if name not in ("self", "cls", "options")]
    return own + [*Options.__annotations__] * ("options" in names)


def names_of(entry: Any) -> list[str]:
    names = re.findall(r"\w+", entry.name)
    return [*Options.__annotations__] if names == ["options"] else names


def lacks_elsewhere(one: Public, text: str, names: list[str]) -> Iterator[str]:
    """Parameters of which neither this docstring tells, nor the one that a text refers to."""
    there = names_there(one, text)
    if missing := [name for name in names if name not in there]:
        yield f"{missing}: told of neither here nor where the docstring refers to"


def names_there(one: Public, text: str) -> set[str]:
    """The parameters of what a text refers to, and of what that refers to in its turn."""
    found = REFERENCE.search(text)
    if text.startswith("As for the class"):
        target: Any = one.owner
    elif text.startswith("As for calling the model"):
        target = find("VisionMamba.__call__")
    elif found:
        target = getattr(one.owner, found[1], None) or find(found[1])
    else:
        return set()
    there = inspect.getdoc(target) or ""
    entries = docscrape.NumpyDocString(there)["Parameters"]
    names = {name for entry in entries for name in names_of(entry)}
    return names | names_there(one._replace(thing=target), there)


def lacks_of_results(one: Public, text: str, told: list[Any]) -> Iterator[str]:
    for entry in told:
        if not entry.desc:
            yield f"what it returns, {entry.type}: no description"
        yield from lacks_of_type("what it returns", entry.type)
    returned = inspect.signature(one.thing).return_annotation
    itself = {"Self", one.owner.__name__} if one.owner else set()
    needs_none = returned in {"None", "NoReturn", "Iterator[None]", *itself}
    if not told and not needs_none and not REFERENCE.search(text.partition("\n")[0]):
        yield f"it returns {returned}; expected to read so"


def lacks_of_type(name: str, kind: str) -> Iterator[str]:
    """Of an array, the shape and the dtype."""
    if ARRAY.search(kind) and not SHAPE.search(kind):
        yield f"{name}: an array without a shape"
    if ARRAY.search(kind) and not DTYPE.search(kind):
        yield f"{name}: an array without a dtype"


def lacks_of_errors(one: Public, text: str, told: list[Any]) -> Iterator[str]:
    for entry in told:
        if not entry.desc:
            yield f"{entry.type}: does not say when"
    if REFERENCE.search(text) and not told:
        return
    errors = [name for entry in told for name in entry.type.split(", ")]
    errors += re.findall(r"^Raise (\w+)", text)
    known = tuple(map(error_named, errors))
    for name in sorted(raised_errors(one)):
        if not issubclass(error_named(name), known):
            yield f"{name} is raised, and not told of"


def error_named(name: str) -> type[Exception]:
    places = (vimnp.errors, model, builtins)
    found: type[Exception] = next(getattr(place, name) for place in places if hasattr(place, name))
    return found
