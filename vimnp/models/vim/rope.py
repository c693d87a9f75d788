"""Rotary position embedding: each layer's input, rotated by an angle for each patch.

Channels lie in pairs, and the angle of a pair grows with the patch's row (in the first half of the
channels) or column (in the second), at a frequency of its own (RoFormer, Su et al. 2021;
``VisionRotaryEmbeddingFast`` in ``vim/rope.py`` of hustvl/Vim).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vimnp.models.vim.config import VimConfig
from vimnp.weights.family import ReadTensor

_LONGEST_WAVE = 10000.0  # patches, over 2 pi

_TOLERANCE = 4e-3  # of stored tables: bfloat16 rounds by up to 2e-3

COS, SIN = "rope.freqs_cos", "rope.freqs_sin"  # in the state dict


class Rotation(NamedTuple):
    """What the tokens are rotated by, in the order of the sequence."""

    cos: np.ndarray  # (L, E)
    sin: np.ndarray  # (L, E), negative for the first channel of each pair

    @classmethod
    def read(cls, config: VimConfig, read: ReadTensor) -> Rotation:
        """From the tables of the state dict, (M, E) each.

        Where there is a class token, the first token is not turned, wherever the class token
        stands: networks with it in the middle were trained like this, too. The original puts a
        reversed sequence back into the picture's order to rotate it, but not where its layers go in
        pairs.
        """
        cos = np.ones((config.num_tokens, config.embed_dim), np.float32)
        sin = np.zeros_like(cos)
        left_out = config.num_tokens - config.num_patches
        cos[left_out:], sin[left_out:] = read(COS), read(SIN)
        sin[:, ::2] *= -1
        if config.flips_sequence and not config.if_bidirectional:
            cos, sin = (np.ascontiguousarray(table[::-1]) for table in (cos, sin))
        return cls(cos, sin)

    def apply(self, tokens: np.ndarray, partners: np.ndarray) -> None:
        """Rotate in place.

        Parameters
        ----------
        tokens : ndarray, shape (L, E)
        partners : ndarray, shape (L, E)
            Is overwritten.
        """
        partners[:, ::2] = tokens[:, 1::2]
        partners[:, 1::2] = tokens[:, ::2]
        partners *= self.sin
        tokens *= self.cos
        tokens += partners


def tables(config: VimConfig) -> dict[str, np.ndarray]:
    """The original's tables for a picture of any size, by their names in the state dict.

    A side's patches share ``pt_hw_seq_len`` positions, so that a larger picture has finer steps.

    Parameters
    ----------
    config : VimConfig
        The original knows square pictures only; here rows and columns have a step each.

    Returns
    -------
    dict of str to ndarray of float32, shape (M, E)
    """
    pairs = config.embed_dim // 4  # of each half
    frequencies = _LONGEST_WAVE ** (-np.arange(pairs) / pairs)
    of_rows, of_columns = (
        np.repeat(np.outer(np.arange(n) * config.pt_hw_seq_len / n, frequencies), 2, axis=1)
        for n in config.grid_size
    )
    angles = np.empty((*config.grid_size, 2, 2 * pairs))
    angles[:, :, 0] = of_rows[:, None]
    angles[:, :, 1] = of_columns[None, :]
    tables = {COS: np.cos(angles), SIN: np.sin(angles)}
    shape = (config.num_patches, config.embed_dim)
    return {name: table.reshape(shape).astype(np.float32) for name, table in tables.items()}


def are_tables(config: VimConfig, read: ReadTensor) -> bool:
    """Whether the state dict's tables, as far as it has any, are those of :func:`tables`."""
    return not config.if_rope or all(
        np.allclose(read(name), table, rtol=0, atol=_TOLERANCE)
        for name, table in tables(config).items()
    )
