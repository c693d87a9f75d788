"""Random weights of the sizes and about the magnitudes that a trained network has.

For benchmarks and tests: the initial values of the originals (``_init_weights`` of Vision Mamba and
of VMamba, ``Mamba``'s constructor), with noise where they would all be equal. Each family's
``tensors.py`` names the kind of values that a tensor has.
"""

from __future__ import annotations

import math
import zlib

import numpy as np

from vimnp.weights.family import Configuration, ReadTensor

Shape = tuple[int, ...]


def random_reader(config: Configuration, seed: int) -> ReadTensor:
    """Give each of a network's tensors random values; the same seed gives the same ones."""
    tensors = config.tensors()

    def read(name: str) -> np.ndarray:
        # Seeded by name, so that a tensor does not depend on which were read before it.
        generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
        return tensors[name].initial(tensors[name].shape, generator).astype(np.float32)

    return read


def fan_in(shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """Of a matrix or filter (outputs, ...): smaller, the more inputs an output has."""
    return generator.uniform(-1, 1, shape) / math.sqrt(math.prod(shape[1:]))


def last_fan_in(shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """Of several matrices in one tensor (..., outputs, inputs)."""
    return generator.uniform(-1, 1, shape) / math.sqrt(shape[-1])


def small(shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """Of what is added: biases, embeddings; and of VMamba's linear layers."""
    return 0.02 * generator.standard_normal(shape)


def around_one(shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """Of what is multiplied with, a number for each channel."""
    return 1.0 + 0.1 * generator.standard_normal(shape)


def state_matrix(shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """The logarithm of -A, where A is -1, -2, .. -N in each channel: (Dn, N)."""
    return np.log(np.arange(1, shape[1] + 1)) + 0.1 * generator.standard_normal(shape)


def delta_bias(shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """What softplus makes delta of, from 0.001 to 0.1."""
    delta = np.exp(generator.uniform(math.log(1e-3), math.log(1e-1), shape))
    return np.log(np.expm1(delta))
