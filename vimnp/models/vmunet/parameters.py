"""The network's parameters, in the layout that its arithmetic reads; see VMamba's."""

from __future__ import annotations

from typing import Generic, NamedTuple

import numpy as np

from vimnp.engine.packing import Matrix, PackMatrix
from vimnp.models.parameters import Norm, laid_out, matrix_fields
from vimnp.models.vmamba.parameters import (
    MATRICES as VMAMBA_MATRICES,
)
from vimnp.models.vmamba.parameters import (
    Block,
    Convolution,
    Stage,
    VMambaLoader,
)
from vimnp.models.vmunet.config import VMUNetConfig
from vimnp.weights.family import ReadTensor


class Line(NamedTuple, Generic[Matrix]):
    """What makes one line of each token's square of tokens."""

    expand: Matrix  # (2 C, 2 C): two tokens of C channels, from left to right


class Expansion(NamedTuple, Generic[Matrix]):
    """A token of 2 C channels -> 2 x 2 tokens of C."""

    lines: tuple[Line[Matrix], ...]
    norm: Norm  # of each of the tokens


class DecoderStage(NamedTuple, Generic[Matrix]):
    """What leads up from the stage below, and blocks."""

    expansion: Expansion[Matrix] | None  # of all but the first
    blocks: tuple[Block[Matrix], ...]


class Final(NamedTuple, Generic[Matrix]):
    """A token of the first stage -> 4 x 4 pixels, and their classes."""

    expand: Matrix  # (C, 4 C): pixels of C / 4 channels, line by line
    norm: Norm  # of each of the pixels
    head: Matrix  # (C / 4, classes)
    head_bias: np.ndarray  # (classes,)


class Parameters(NamedTuple, Generic[Matrix]):
    """The whole network."""

    stem: tuple[Convolution[Matrix], ...]
    stages: tuple[Stage[Matrix], ...]
    decoder: tuple[DecoderStage[Matrix], ...]
    final: Final[Matrix]


MATRICES = VMAMBA_MATRICES | matrix_fields(Line, Final)


def load_parameters(
    config: VMUNetConfig, read: ReadTensor, pack: PackMatrix[Matrix]
) -> Parameters[Matrix]:
    """Read every tensor once and lay it out; as :func:`vimnp.models.vmamba.parameters`' own."""
    return _Loader(config, read, pack).network(config)


def lay_out(
    config: VMUNetConfig, plain: Parameters[np.ndarray], pack: PackMatrix[Matrix]
) -> Parameters[Matrix]:
    """Lay out anew what a backend has laid out, and its ``plain`` has given."""
    return laid_out(plain, pack, MATRICES, config.num_parameters)


class _Loader(VMambaLoader[Matrix]):
    """Reads a VM-UNet's tensors."""

    def network(self, config: VMUNetConfig) -> Parameters[Matrix]:
        return Parameters(
            stem=self.stem(),
            stages=self.stages(),
            decoder=tuple(
                DecoderStage(
                    expansion=self._expansion(f"layers_up.{number}.upsample") if number else None,
                    blocks=tuple(
                        self.block(
                            f"layers_up.{number}.blocks.{index}", config.num_stages - 1 - number
                        )
                        for index in range(depth)
                    ),
                )
                for number, depth in enumerate(config.depths_decoder)
            ),
            final=self._final(),
        )

    def _expansion(self, prefix: str) -> Expansion[Matrix]:
        lines = np.split(self._read(f"{prefix}.expand.weight"), 2)
        return Expansion(
            lines=tuple(Line(self._packed(line)) for line in lines),
            norm=self._layer_norm(f"{prefix}.norm"),
        )

    def _final(self) -> Final[Matrix]:
        weight = self._read("final_conv.weight")
        return Final(
            expand=self._matrix("final_up.expand.weight"),
            norm=self._layer_norm("final_up.norm"),
            head=self._packed(weight.reshape(weight.shape[:2])),
            head_bias=self._vector("final_conv.bias"),
        )
