"""Smoothing: what the inputs of each matrix are divided by before int8 rounds them.

Some channels of a network's activations are many times larger than the others. A token's scale is
that of its largest number, so that the others would be rounded away. Dividing such channels by a
factor, and multiplying the weights that read them by it, changes nothing but the rounding:
SmoothQuant (arXiv 2211.10438), with alpha 1/2. How large the channels are is seen in some passes of
the network, over noise or pictures; it depends little on which.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from vimnp.engine.packing import transposed
from vimnp.errors import CheckpointError, ImageError
from vimnp.images.preprocessing import read_image
from vimnp.models import network_of_pictures
from vimnp.models.vision import VisionModel
from vimnp.storage.folders import walk
from vimnp.weights.family import ReadTensor
from vimnp.weights.metadata import Metadata

_NOISES = 8
_MOST_PICTURES = 64
_SMALLEST, _LARGEST = 2.0**-16, 2.0**16


class _Watched:
    """A matrix that multiplies as floats do, and notes how large its inputs are.

    It stands in the parameters of a NumPy network as one of whole numbers does.

    Parameters
    ----------
    matrix : ndarray of float32, shape (outputs, inputs)
    largest : ndarray of float32, shape (inputs,)
        The largest of each input so far; written.
    """

    smooth = None

    def __init__(self, matrix: np.ndarray, largest: np.ndarray) -> None:
        self.outputs, self.inputs = matrix.shape
        self._matrix, self._largest = matrix, largest

    def scaled(self, factors: np.ndarray) -> Self:
        """The same with each output multiplied by a factor."""
        return type(self)(self._matrix * factors[:, None], self._largest)

    def packed(self, empty: Any) -> Self:
        """Itself, laid out for NumPy's products."""
        self._matrix = transposed(self._matrix, empty)
        return self

    def multiply(self, x: np.ndarray, out: np.ndarray) -> None:
        """``out = x @ matrix``."""
        np.maximum(self._largest, np.abs(x).max(axis=0), out=self._largest)
        np.matmul(x, self._matrix, out=out)


def find_smoothing(
    metadata: Metadata[Any],
    read: ReadTensor,
    pictures: str | os.PathLike[str] | None = None,
    on_skipped: Callable[[ImageError], object] = lambda _: None,
) -> dict[str, np.ndarray]:
    """What to divide the inputs of each matrix by that int8 has in whole numbers.

    Parameters
    ----------
    metadata : Metadata
        Of a network of pictures; its dtype is of no meaning.
    read : callable
        Gives each tensor by its name.
    pictures : path-like, optional
        A folder of pictures, also in the folders in it, of which 64 are looked at; without it,
        pictures of noise.
    on_skipped : callable, optional
        Is told of each file there that is no picture which can be read; others take no part.

    Returns
    -------
    dict of str to ndarray of float32, shape (inputs,)
        By the names of the tensors. The factors of a matrix have a geometric mean of about 1.

    Raises
    ------
    CheckpointError
        If the folder has no picture that can be read.
    """
    tensors = metadata.config.tensors()
    shapes = {name: t.as_matrix for name, t in tensors.items() if t.as_matrix is not None}
    activations = {name: np.zeros(shape[1], np.float32) for name, shape in shapes.items()}
    weights: dict[str, np.ndarray] = {}

    def read_watched(name: str) -> Any:
        tensor = np.asarray(read(name), np.float32)
        if name not in shapes:
            return tensor
        matrix = tensor.reshape(shapes[name])
        weights[name] = np.abs(matrix).max(axis=0)
        return _Watched(matrix, activations[name])

    model = _watching(metadata, read_watched)
    for inputs in _inputs(model, pictures, on_skipped):
        model(inputs)
    return {name: _factors(activations[name], weights[name]) for name in weights}


def _watching(metadata: Metadata[Any], read: ReadTensor) -> VisionModel:
    """The network with matrices that note their inputs."""
    network: Any = network_of_pictures(metadata.config.family.name)

    class Watching(network):  # type: ignore[misc]
        def _load(self, read: ReadTensor, pack: Any) -> Any:
            def pack_watched(matrix: Any, empty: Any) -> Any:
                is_watched = isinstance(matrix, _Watched)
                return matrix.packed(empty) if is_watched else pack(matrix, empty)

            return super()._load(read, pack_watched)

    plain = Metadata(config=metadata.config, preprocessing=metadata.preprocessing)
    found: VisionModel = Watching(plain, read, backend="numpy")
    return found


def _inputs(
    model: VisionModel,
    pictures: str | os.PathLike[str] | None,
    on_skipped: Callable[[ImageError], object],
) -> Iterator[np.ndarray]:
    """What the network is to look at, normalised: (channels, H, W) each."""
    if pictures is None:
        shape = (model.config.channels, *model.config.img_size)
        generator = np.random.default_rng(0)
        for _ in range(_NOISES):
            yield generator.standard_normal(shape, np.float32)
        return
    is_read = False
    for path in _spread(_files(Path(pictures))):
        try:
            inputs = model.preprocess(read_image(path))
        except ImageError as error:  # a label, or a picture that is damaged: others tell as much
            on_skipped(error)
            continue
        is_read = True
        yield inputs
    if not is_read:
        raise CheckpointError(
            f"{pictures}: no picture there can be read; expected a folder of pictures to "
            "calibrate with, or none, to do it with noise"
        )


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no folder; expected one of pictures to calibrate with")
    return [folder / name for name in walk(folder)]


def _spread(paths: list[Path]) -> Iterable[Path]:
    """Some of them, from everywhere in the list."""
    step = -(-len(paths) // _MOST_PICTURES)
    return paths[::step] if paths else paths


def _factors(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of inputs so large at most, with weights so large at most.

    Inputs and weights are then equally large in each channel. What is 0 in either is left alone.
    """
    factors = np.ones(len(weights))
    counts = (activations > 0) & (weights > 0) & np.isfinite(activations)
    logarithms = np.log2(activations[counts] / weights[counts].astype(np.float64)) / 2
    if len(logarithms):
        factors[counts] = np.exp2(logarithms - logarithms.mean())
    return np.clip(factors, _SMALLEST, _LARGEST).astype(np.float32)
