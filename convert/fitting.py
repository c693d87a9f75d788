"""Whether tensors are those that a configuration implies, and settings are what the weights say."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from vimnp.convert.family import Shapes
from vimnp.convert.formats.naming import listing, quoted
from vimnp.convert.settings import to_text
from vimnp.errors import CheckpointError


def check_tensors(shapes: Shapes, expected: Shapes, title: str, description: str) -> None:
    """Raise CheckpointError unless the tensors are exactly those that are expected.

    Parameters
    ----------
    shapes, expected : mapping of str to tuple of int
    title : str
        What the network is, with its article.
    description : str
        What was taken from names alone, so that one name too many or too few can be seen.
    """
    problems = [
        _problem("missing", expected.keys() - shapes.keys()),
        _problem(f"not part of {title}", shapes.keys() - expected.keys()),
    ]
    if any(problems):
        raise CheckpointError(
            f"its tensors are not those of {title} of {description}: "
            f"{'; '.join(filter(None, problems))}"
        )
    wrong = [name for name, shape in expected.items() if shapes[name] != shape]
    if wrong:
        raise CheckpointError(
            f"{len(wrong)} tensors have another shape than expected: {quoted(wrong[0])} has "
            f"{shapes[wrong[0]]}, expected {expected[wrong[0]]}"
        )


def refuse_contradictions(settings: Mapping[str, Any], inferred: Mapping[str, Any]) -> None:
    """Raise CheckpointError for a setting of something that the weights tell otherwise."""
    for name, value in inferred.items():
        if name in settings and settings[name] != value:
            raise CheckpointError(
                f"the setting {name} is {to_text(settings[name])}, but the weights say "
                f"{to_text(value)}; leave it out"
            )


def shape_of(shapes: Shapes, name: str, dimensions: int, title: str) -> tuple[int, ...]:
    """The shape of a tensor that every such network has."""
    if name not in shapes:
        raise CheckpointError(f"{quoted(name)} is missing; expected every {title} to have it")
    shape = shapes[name]
    if len(shape) != dimensions or 0 in shape:
        raise CheckpointError(
            f"{quoted(name)} has the shape {shape}; expected {dimensions} dimensions, none empty"
        )
    return shape


def find_factor(product: int, number: int) -> int | float:
    """The shortest decimal by which `number` makes `product`, both 1 or more, rounded down."""
    if product % number == 0:
        return product // number
    for power in (10**digits for digits in range(1, 9)):
        least = -(-product * power // number)
        for factor in (least / power, (least + 1) / power):  # a product may be rounded down
            if int(factor * number) == product:
                return factor
    return product / number  # of more channels than any network has


def _problem(what: str, names: Collection[str]) -> str:
    return f"{len(names)} {what} ({listing(sorted(names))})" if names else ""
