"""The network in a checkpoint: its family, and its tensors by the names that the family has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from vimnp.convert import vim
from vimnp.convert.family import NOTHING, Converter, Made, Shapes
from vimnp.convert.formats.naming import listing
from vimnp.convert.formats.source import SourceFile
from vimnp.errors import CheckpointError

FAMILIES: tuple[Converter, ...] = (vim.CONVERTER,)
"""What can be converted: the first that recognises a state dict takes it."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that was recognised in a checkpoint.

    Parameters
    ----------
    checkpoint : SourceFile
    family : Converter
    names : dict of str to str
        The name in the checkpoint of each tensor.
    made : Made
        What the checkpoint lacks.
    """

    checkpoint: SourceFile
    family: Converter
    names: dict[str, str]
    made: Made = NOTHING

    @property
    def shapes(self) -> Shapes:
        found = {name: self.checkpoint.shapes[there] for name, there in self.names.items()}
        return found | {name: array.shape for name, array in self.made.tensors.items()}

    @property
    def left_out(self) -> list[str]:
        """Names in the checkpoint of what is no part of the network."""
        taken = set(self.names.values())
        return [name for name in self.checkpoint.shapes if name not in taken]

    def read(self, name: str) -> np.ndarray:
        if name in self.made.tensors:
            return self.made.tensors[name]
        return self.checkpoint.read(self.names[name])

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Name and numbers of these tensors, in the order in which they are read fastest."""
        ours = {self.names[name]: name for name in names if name not in self.made.tensors}
        yield from self.made.tensors.items()
        for there in self.checkpoint.reading_order(ours):
            yield ours[there], self.checkpoint.read(there)


def find_network(checkpoint: SourceFile) -> Network:
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
    # What other networks have as well, a ViT for one, tells nothing.
    common: set[str] = set()
    for family in FAMILIES:
        common.update(*(config.parameter_shapes() for config in family.published.values()))
    telling = [name for name in checkpoint.shapes if name not in common]
    raise CheckpointError(
        f"no {' or '.join(family.title for family in FAMILIES)}: it has "
        f"{listing(telling or checkpoint.shapes) or 'no tensor at all'}; expected names such as "
        f"{' or '.join(repr(family.example) for family in FAMILIES)}"
    )
