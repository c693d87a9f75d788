"""The native backend: the whole network in one compiled parallel region.

Its matrices are packed once for the products of ``_product.h``, and a pass goes through
``_network.h``, whose steps are those of :mod:`vimnp.models.vim.model`.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

import numpy as np

from vimnp.models.vim.config import VimConfig
from vimnp.models.vim.layout import with_matrices
from vimnp.models.vim.parameters import Empty, Load, Parameters
from vimnp.models.vim.workspace import Spares
from vimnp.ops import kernels
from vimnp.ops.kernels import aligned_empty
from vimnp.runtime import extension

SPAN = np.dtype([("begin", np.float64), ("end", np.float64), ("step", np.intc), ("layer", np.intc)])
"""Seconds, an index of ``_scan.STEP_NAMES``, and a layer: -1 before the first, after the last."""


class NativeNetwork:
    """A network on the instruction set that is in use when it is made.

    It uses as many threads as there are vectors of channels at most.

    Parameters
    ----------
    config : VimConfig
    load : callable
        Gives the parameters, with the matrices laid out as they are to be.
    num_threads : int

    Raises
    ------
    ConfigError
        If the kernels are missing, or one of them is switched off.
    """

    def __init__(self, config: VimConfig, load: Load, num_threads: int) -> None:
        compiled = extension.for_network()
        width, panel = self._packing = compiled.width, compiled.panel
        self.kernels = compiled
        self.instruction_set = compiled.name
        self._config = config
        self._parameters = load(functools.partial(pack, width, panel))
        self._network = compiled.network(config, self._parameters)
        self.images_at_once = self._network.images_at_once
        self._elements = config.num_tokens * config.d_inner * config.num_active_layers
        self._most_threads = -(-config.d_inner // width)  # a vector of channels for each
        self._set_num_threads(num_threads)

    def plain(self) -> Parameters:
        """The parameters in no backend's layout; see :mod:`vimnp.models.vim.layout`."""
        config = self._config
        assert config.dt_rank is not None
        outputs = {
            "patch_proj": config.embed_dim,
            "in_proj": 2 * config.d_inner,
            "x_proj": config.dt_rank + 2 * config.d_state,
            "dt_proj": config.d_inner,
            "out_proj": config.embed_dim,
            "head": config.num_classes,
        }
        return with_matrices(
            self._parameters, lambda field, packed: unpack(*self._packing, packed, outputs[field])
        )

    def with_num_threads(self, num_threads: int) -> NativeNetwork:
        """The same network, on the same weights in memory, with another number of threads."""
        other = copy.copy(self)
        other._set_num_threads(num_threads)
        return other

    def _set_num_threads(self, num_threads: int) -> None:
        self.num_threads = min(num_threads, self._most_threads)
        size = self._network.workspace_size(self.num_threads)
        self._spares = Spares(functools.partial(aligned_empty, size))

    def forward(
        self,
        images: Sequence[np.ndarray],
        out: np.ndarray,
        *,
        output: str,
        spans: np.ndarray | None = None,
    ) -> None:
        """What is asked for of some images, in one region.

        Parameters
        ----------
        images : arrays of float32, shape (3, H, W)
            `images_at_once` of them at most.
        out : ndarray of float32, shape (images, ...), C-contiguous
            For each image what `output` says; see :class:`vimnp.models.vim.model.VisionMamba`.
        output : {"logits", "features", "tokens"}
        spans : ndarray of SPAN, shape (num_threads, spans), optional
            Each thread writes the time of its steps to its row, as far as there is room.
        """
        with self._spares.one() as memory:
            self._network.forward(
                [np.require(image, requirements=["C", "ALIGNED"]) for image in images],
                out.reshape(len(out), -1),
                memory,
                output=output,
                num_threads=kernels.threads_for("forward", self._elements, self.num_threads),
                spans=spans,
            )


def pack(width: int, panel: int, matrix: np.ndarray, empty: Empty = aligned_empty) -> np.ndarray:
    """Lay a matrix out in panels of outputs.

    Parameters
    ----------
    width : int
        Floats in a vector.
    panel : int
        Outputs in a panel, a multiple of `width`.
    matrix : ndarray of float32, shape (outputs, inputs)
    empty : callable
        Makes the array that is returned.

    Returns
    -------
    ndarray of float32, shape (inputs * outputs rounded up to a multiple of width,)
        Panel after panel, each (inputs, outputs of the panel); the last one has what is left, and
        zeros that fill a vector.
    """
    outputs, inputs = matrix.shape
    padded = -(-outputs // width) * width
    packed = empty(inputs * padded)
    for start in range(0, padded, panel):
        stop = min(start + panel, padded)
        block = packed[start * inputs : stop * inputs].reshape(inputs, stop - start)
        there = min(stop, outputs) - start
        block[:, :there] = matrix[start : start + there].T
        block[:, there:] = 0
    return packed


def unpack(width: int, panel: int, packed: np.ndarray, outputs: int) -> np.ndarray:
    """The matrix that :func:`pack` was given, transposed.

    Parameters
    ----------
    width, panel : int
        As they were for packing.
    packed : ndarray of float32, shape (inputs * outputs rounded up to a multiple of width,)
    outputs : int

    Returns
    -------
    ndarray of float32, shape (inputs, outputs)
    """
    padded = -(-outputs // width) * width
    inputs = len(packed) // padded
    matrix = np.empty((inputs, outputs), np.float32)
    for start in range(0, padded, panel):
        stop = min(start + panel, padded)
        block = packed[start * inputs : stop * inputs].reshape(inputs, stop - start)
        there = min(stop, outputs) - start
        matrix[:, start : start + there] = block[:, :there]
    return matrix
