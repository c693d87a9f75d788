"""The network for pictures of another size than it was trained for.

Nothing but the position embedding and the rotary tables depends on the size. The original's
``interpolate_pos_embed`` (``vim/utils.py`` of hustvl/Vim) takes the first row for the class
token's, wherever that stands; here it is the row of the class token.
"""

from __future__ import annotations

import dataclasses
from numbers import Integral
from typing import Any

import numpy as np

from vimnp.errors import ConfigError
from vimnp.models.vim import rope
from vimnp.models.vim.config import VimConfig
from vimnp.weights.family import ReadTensor

_CUBIC = -0.75  # slope of the kernel at 1, PyTorch's


def resized(
    config: VimConfig, read: ReadTensor, img_size: int | tuple[int, int]
) -> tuple[VimConfig, ReadTensor]:
    """The same network for pictures of another size.

    Parameters
    ----------
    config : VimConfig
    read : callable
        Gives each tensor by its name in the PyTorch state dict.
    img_size : int or (height, width)
        In pixels; one number is a square.

    Returns
    -------
    config : VimConfig
    read : callable
        Gives the resized tensors in place of those that depend on the size.

    Raises
    ------
    ConfigError
        If no such network can be, or the checkpoint's rotary tables are not those of its
        ``pt_hw_seq_len``, so that those of another size are unknown.
    """
    sides: Any = (img_size, img_size) if isinstance(img_size, Integral) else img_size
    new = dataclasses.replace(config, img_size=sides)
    if new.grid_size == config.grid_size:
        return new, read
    if not rope.are_tables(config, read):
        raise ConfigError(
            f"img_size: the rotary tables are not those of pt_hw_seq_len {config.pt_hw_seq_len}, "
            "so that others are unknown; convert the checkpoint again with --set pt_hw_seq_len=N, "
            "or leave img_size out"
        )

    tables = rope.tables(new) if new.if_rope else {}

    def read_resized(name: str) -> np.ndarray:
        if name == "pos_embed":
            return resize_pos_embed(read(name), config, new)
        return tables[name] if name in tables else read(name)

    return new, read_resized


def resize_pos_embed(pos_embed: np.ndarray, old: VimConfig, new: VimConfig) -> np.ndarray:
    """Interpolate the patches' rows over the new grid; those of class tokens move with these.

    As ``torch.nn.functional.interpolate(mode="bicubic", align_corners=False)``.

    Parameters
    ----------
    pos_embed : ndarray of float32, shape (1, L of old, E)
    old, new : VimConfig

    Returns
    -------
    ndarray of float32, shape (1, L of new, E)
    """
    patches = np.delete(pos_embed[0], list(old.class_tokens.values()), axis=0)
    patches = patches.reshape(*old.grid_size, old.embed_dim)
    for axis in range(2):
        weights = bicubic_weights(old.grid_size[axis], new.grid_size[axis])
        patches = np.moveaxis(np.tensordot(weights, patches, (1, axis)), 0, axis)
    rows = list(patches.reshape(-1, old.embed_dim))
    for name, position in new.class_tokens.items():  # in order, so each lands where it is to stand
        rows.insert(position, pos_embed[0, old.class_tokens[name]])
    return np.array(rows, np.float32)[None]


def bicubic_weights(old: int, new: int) -> np.ndarray:
    """What each of `old` samples contributes to each of `new` over the same length.

    A new sample is a cubic convolution of the four old ones around it (Keys 1981); beyond the ends
    the last ones repeat.

    Returns
    -------
    ndarray of float64, shape (new, old)
    """
    position = (np.arange(new) + 0.5) * old / new - 0.5
    start = np.floor(position).astype(int)
    weights = np.zeros((new, old))
    for tap in range(-1, 3):
        neighbour = start + tap
        weight = _cubic(np.abs(position - neighbour))
        np.add.at(weights, (np.arange(new), neighbour.clip(0, old - 1)), weight)
    return weights


def _cubic(x: np.ndarray) -> np.ndarray:
    """The convolution's kernel at distances from 0 to 2."""
    near = ((_CUBIC + 2) * x - (_CUBIC + 3)) * x**2 + 1
    far = _CUBIC * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, far)
