"""The network in a checkpoint: its family, and its tensors by the names that the family has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from vimnp.convert import mamba, medmamba, vim, vmamba, vmunet
from vimnp.convert.family import NOTHING, Converter, Made, Shapes
from vimnp.convert.formats.naming import listing
from vimnp.convert.formats.source import Source
from vimnp.errors import CheckpointError
from vimnp.weights.writing import Rows

FAMILIES: tuple[Converter, ...] = (
    vim.CONVERTER,
    medmamba.CONVERTER,
    vmunet.CONVERTER,
    vmamba.CONVERTER,  # whose blocks the two before it have as well
    mamba.CONVERTER,
)
"""What can be converted: the first that recognises a state dict takes it."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that was recognised in a checkpoint.

    Parameters
    ----------
    checkpoint : Source
    family : Converter
    names : dict of str to str
        The name in the checkpoint of each tensor.
    made : Made
        What the checkpoint lacks.
    twins : dict of str to str
        The name in the checkpoint of each tensor that another one stands for.
    """

    checkpoint: Source
    family: Converter
    names: dict[str, str]
    made: Made = NOTHING
    twins: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def shapes(self) -> Shapes:
        found = {name: self._shape(name) for name in self.names}
        return found | {name: array.shape for name, array in self.made.tensors.items()}

    @property
    def shapes_there(self) -> Shapes:
        """Of all that the checkpoint has of the network, twins too."""
        return {n: self.checkpoint.shapes[there] for n, there in (self.names | self.twins).items()}

    @property
    def left_out(self) -> list[str]:
        """Names in the checkpoint of what is no part of the network."""
        taken = {*self.names.values(), *self.twins.values()}
        return [name for name in self.checkpoint.shapes if name not in taken]

    def without_twins(self) -> Network:
        """The same network without what holds the same numbers under two names.

        Raises
        ------
        CheckpointError
            If such a tensor cannot be read.
        """
        twins = {
            name: self.names[name]
            for name, other in self.family.twins.items()
            if self.names.keys() >= {name, other}
            and self.checkpoint.is_same(self.names[name], self.names[other])
        }
        left = {name: there for name, there in self.names.items() if name not in twins}
        return dataclasses.replace(self, names=left, twins=twins)

    def read(self, name: str) -> np.ndarray:
        if name in self.made.tensors:
            return self.made.tensors[name]
        return self.checkpoint.read(self.names[name]).reshape(self._shape(name))

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, np.ndarray | Rows]]:
        """Name and numbers of these tensors, in the order in which they are read fastest."""
        ours = {self.names[name]: name for name in names if name not in self.made.tensors}
        yield from self.made.tensors.items()
        for there in self.checkpoint.reading_order(ours):
            name = ours[there]
            yield name, _reshaped(self.checkpoint.rows(there), self._shape(name))

    def _shape(self, name: str) -> tuple[int, ...]:
        """The shape that a tensor of the checkpoint has in the network."""
        return self.family.reshape(name, self.checkpoint.shapes[self.names[name]])


def _reshaped(rows: Rows, shape: tuple[int, ...]) -> Rows:
    """The same numbers in another shape, of whose rows each is one or several of the stored."""
    if rows.shape == shape:
        return rows
    stored = rows.shape[0] // shape[0]

    def read(begin: int, end: int) -> np.ndarray:
        return rows.read(begin * stored, end * stored).reshape(end - begin, *shape[1:])

    return Rows(shape, read)


def published_names() -> list[str]:
    """The names of all published networks that can be converted by them."""
    return [name for family in FAMILIES for name in family.published]


def refuse_other_model(model: str, family: Converter) -> None:
    """Raise CheckpointError for the name of a published network of another family."""
    if model not in family.published:
        (other,) = (f for f in FAMILIES if model in f.published)
        raise CheckpointError(
            f"the network {model} is {_with_article(other)}, and this one {_with_article(family)}; "
            "leave --model out"
        )


def _with_article(family: Converter) -> str:
    """The title of a family, as of one network."""
    return family.title if family.named_apart or family.takes_text else f"a {family.title}"


def find_network(checkpoint: Source) -> Network:
    """The network in a checkpoint.

    Raises
    ------
    CheckpointError
        If it is of no known family.
    """
    for family in FAMILIES:
        network = Network(checkpoint, family, family.rename(checkpoint.shapes))
        if family.recognise(network.shapes):
            return dataclasses.replace(network, made=family.complete(network.shapes))
    others = [f for f in FAMILIES if f.takes_text or f.named_apart]
    pictures = [family for family in FAMILIES if family not in others]
    # What other networks have as well, a ViT for one, tells nothing.
    common: set[str] = set()
    for family in pictures:
        common.update(*(config.parameter_shapes() for config in family.published.values()))
    telling = [name for name in checkpoint.shapes if name not in common]
    apart = [f"{family.title} has names such as {family.example!r}" for family in others]
    raise CheckpointError(
        f"no {' or '.join(family.title for family in pictures)}: it has "
        f"{listing(telling or checkpoint.shapes) or 'no tensor at all'}; expected names such as "
        f"{' or '.join(repr(family.example) for family in pictures)}; {'; '.join(apart)}"
    )
