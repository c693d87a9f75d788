"""What a weights file has to know of the network that it holds: its family.

A family of networks tells how its configuration is read and written, and which tensors a
configuration implies. The networks make themselves known here (:mod:`vimnp.models` does it, which
``import vimnp`` loads), so that the files need no knowledge of any of them.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from vimnp.errors import ConfigError

ReadTensor = Callable[[str], np.ndarray]
"""Gives a tensor by its name in the PyTorch state dict, float32."""

Initial = Callable[[tuple[int, ...], "np.random.Generator"], np.ndarray]
"""Makes values of a shape as they are before training, about.

In quotes, because NumPy loads its generators when they are first named.
"""


DTYPES_OF_PICTURES = ("float32", "float16", "int8")
"""What the files of networks of pictures can be stored as."""


class Tensor(NamedTuple):
    """A tensor of a network, as it stands in the state dict and in the weights file.

    Parameters
    ----------
    shape : tuple of int
    initial : callable
        Makes its values where a network has random weights.
    is_weight : bool
        False for a table, which is computed and not learnt.
    fewest_bits : {32, 16, 8, 4}
        Of a number in a weights file, at least, however small the file's dtype is. Only matrices
        may have less than 16.
    as_matrix : (outputs, inputs), optional
        Of a network of pictures, a matrix that int8 has in whole numbers, with a scale for each
        output: its shape as products read it, the same numbers in the same order.
    """

    shape: tuple[int, ...]
    initial: Initial
    is_weight: bool = True
    fewest_bits: int = 16
    as_matrix: tuple[int, int] | None = None


class Configuration:
    """Sizes and options of a network: the base of each family's own, a frozen dataclass.

    A field has the original's name for it, and JSON can hold its value. What is here need not be
    made for each (``eq=False, repr=False``): for many fields that takes a millisecond, which every
    process would pay at its start.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    later_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that older weights files lack, which hold networks that the defaults are right for."""

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__qualname__}({fields})"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a configuration from a complete mapping, as :meth:`to_dict` gives it.

        Parameters
        ----------
        values : mapping of str to object
            Every field by its name; only :attr:`later_fields` may be missing.

        Raises
        ------
        ConfigError
            If a field is missing or unknown, or a value is not allowed.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        for name in sorted(names - set(values) - cls.later_fields):
            raise ConfigError(f"the configuration lacks {name}")
        for name in sorted(set(values) - names):
            raise ConfigError(f"the configuration has an unknown field {name!r}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Give every field by its name, ready for JSON.

        Returns
        -------
        dict of str to object
            Lists stand for tuples.
        """
        values = dataclasses.asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    @property
    def family(self) -> Family:
        """The family of networks that has such configurations.

        Raises
        ------
        TypeError
            If none that is registered has.
        """
        for family in _loaded_families():
            if type(self) is family.configuration:  # which may stand on another family's
                return family
        raise TypeError(f"{type(self).__name__} belongs to no family that is registered")

    def tensors(self) -> dict[str, Tensor]:
        """List every tensor of the network.

        Returns
        -------
        dict of str to vimnp.weights.family.Tensor
            By its name in the PyTorch state dict: the shape, and how it can be stored.
        """
        return self.family.tensors(self)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """List the shape of every tensor of the network.

        Returns
        -------
        dict of str to tuple of int
            By its name in the PyTorch state dict, the shape that it has there.
        """
        return {name: tensor.shape for name, tensor in self.tensors().items()}

    @property
    def num_parameters(self) -> int:
        """Number of weights, in all tensors together; tables that are not learnt are none."""
        return sum(math.prod(t.shape) for t in self.tensors().values() if t.is_weight)


class Family(NamedTuple):
    """A family of networks.

    Parameters
    ----------
    name : str
        As weights files have it.
    configuration : type
    tensors : callable
        Gives the tensors that a configuration implies, by name.
    dtypes : tuple of str
        What its files can be stored as.
    """

    name: str
    configuration: type[Configuration]
    tensors: Callable[[Any], dict[str, Tensor]]
    dtypes: tuple[str, ...] = ("float32", "float16")


_families: dict[str, Family] = {}
_modules: dict[str, str] = {}


def register(family: Family) -> None:
    """Make a family known, so that its files can be read and written."""
    _families[family.name] = family


def register_module(name: str, module: str) -> None:
    """Make a family known that loads when a file names it, or when somebody imports it.

    Parameters
    ----------
    name : str
        The family's.
    module : str
        Whose attribute ``FAMILY`` is the family.
    """
    _modules[name] = module


def family_named(name: object) -> Family:
    """The family of this name.

    Raises
    ------
    ConfigError
        If none that is known has it.
    """
    if isinstance(name, str):
        if name in _families:
            return _families[name]
        if name in _modules:
            return importlib.import_module(_modules[name]).FAMILY
    known = " or ".join(map(repr, [*_families, *_modules]))
    raise ConfigError(f"family is {repr(name)[:100]}; this vimnp reads {known}")


def _loaded_families() -> Iterator[Family]:
    yield from _families.values()
    for module in map(sys.modules.get, _modules.values()):
        if module is not None:
            yield module.FAMILY
