"""The language model's parameters, in the layout that its arithmetic reads.

Matrices are laid out as their products read them, and A is computed from ``A_log``: once, when a
model is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, cast

import numpy as np

from vimnp.engine.packing import Matrix, PackMatrix
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.mamba.tensors import EMBEDDING, FIRST_MIXER, HEAD
from vimnp.models.parameters import Loader, Norm, laid_out, matrix_fields
from vimnp.weights.family import ReadTensor
from vimnp.weights.members import as_stored

if TYPE_CHECKING:
    from vimnp.weights.encodings import Encoded

Load = Callable[[PackMatrix[Any]], "Parameters[Any]"]
"""Gives a network's parameters, with the matrices laid out."""


class Layer(NamedTuple, Generic[Matrix]):
    """One block: norm and mixer."""

    norm: Norm
    in_proj: Matrix  # (E, 2 Dn), x first
    in_proj_bias: np.ndarray | None  # (2 Dn,)
    conv_weight: np.ndarray  # (K, Dn), the newest token's last
    conv_bias: np.ndarray | None  # (Dn,)
    x_proj: Matrix  # (Dn, R + 2N)
    dt_proj: Matrix  # (R, Dn)
    dt_bias: np.ndarray  # (Dn,)
    A: np.ndarray  # (N, Dn)
    D: np.ndarray  # (Dn,)
    out_proj: Matrix  # (Dn, E)
    out_proj_bias: np.ndarray | None  # (E,)


class Parameters(NamedTuple, Generic[Matrix]):
    """The whole network."""

    embedding: Matrix  # (E, V): a token's is a column
    layers: tuple[Layer[Matrix], ...]
    norm_f: Norm
    head: Matrix  # (E, V); the embedding itself where the two are tied
    ones: np.ndarray  # (max(R, N),): the weight of norms that have none, as FalconMamba's


MATRICES = matrix_fields(Parameters, Layer)
"""Fields that a :data:`PackMatrix` has made."""


def load_parameters(
    config: MambaConfig, read: ReadTensor, pack: PackMatrix[Matrix]
) -> Parameters[Matrix]:
    """Read every tensor once and lay it out.

    Parameters
    ----------
    config : MambaConfig
    read : callable
        Gives each tensor of the network by name, in its shape. Called tensor by tensor, so that
        the original and the laid-out weights need not be in memory together.
    pack : callable
        Lays out a matrix that is multiplied with.

    Returns
    -------
    Parameters
    """
    return _Loader(config, read, pack).parameters()


def lay_out(
    config: MambaConfig, plain: Parameters[np.ndarray], pack: PackMatrix[Matrix], dtype: str
) -> Parameters[Matrix]:
    """Lay out anew what a backend has laid out, and its ``plain`` has given, in one arena.

    Parameters
    ----------
    config : MambaConfig
    plain : Parameters
        Matrices are (inputs, outputs), float32.
    pack : callable
        Lays out a matrix that is multiplied with.
    dtype : str
        How matrices were stored: they are so again, to the bit.
    """
    tensors = config.tensors()

    def stored(field: str, matrix: np.ndarray) -> np.ndarray | Encoded:
        name = {"embedding": EMBEDDING, "head": HEAD}.get(field, f"{FIRST_MIXER}.{field}.weight")
        return as_stored(tensors[name], dtype, matrix)

    found = laid_out(plain, pack, MATRICES, config.num_parameters, stored)
    return cast("Parameters[Matrix]", found)


class _Loader(Loader[MambaConfig, Matrix]):
    """Reads a language model's tensors."""

    def parameters(self) -> Parameters[Matrix]:
        config = self._config
        embedding = self._matrix(EMBEDDING)
        ones = self._arena.empty(max(config.dt_rank, config.d_state))
        ones.fill(1)
        return Parameters(
            embedding=embedding,
            layers=tuple(map(self._layer, range(config.n_layer))),
            norm_f=self._norm("backbone.norm_f", config.norm_epsilon),
            head=embedding if config.tie_embeddings else self._matrix(HEAD),
            ones=ones,
        )

    def _layer(self, index: int) -> Layer[Matrix]:
        prefix = f"backbone.layers.{index}"
        mixer = f"{prefix}.mixer"
        return Layer(
            norm=self._norm(f"{prefix}.norm", self._config.norm_epsilon),
            in_proj=self._matrix(f"{mixer}.in_proj.weight"),
            in_proj_bias=self._optional(f"{mixer}.in_proj.bias"),
            conv_weight=self._filter(f"{mixer}.conv1d.weight"),
            conv_bias=self._optional(f"{mixer}.conv1d.bias"),
            x_proj=self._matrix(f"{mixer}.x_proj.weight"),
            dt_proj=self._matrix(f"{mixer}.dt_proj.weight"),
            dt_bias=self._vector(f"{mixer}.dt_proj.bias"),
            A=self._state_matrix(f"{mixer}.A_log"),
            D=self._vector(f"{mixer}.D"),
            out_proj=self._matrix(f"{mixer}.out_proj.weight"),
            out_proj_bias=self._optional(f"{mixer}.out_proj.bias"),
        )
