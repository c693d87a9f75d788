"""The weights of every network, and the picture, in files: random, and equal within a family."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import checkout  # noqa: F401  (finds tests.support)
import deit_tiny
import numpy as np
import torch
from limits import pixels
from onnx_graph import NUM_CLASSES

from peers.deit_torch import Sizes
from peers.graph_weights import join_qkv, save, state_dict_of
from peers.one import PIXELS
from peers.resnet_onnx import resnet
from tests.support.random_weights import write_random
from vimnp.config import VIM_TINY
from vimnp.weights import WeightsFile


def write_all(folder: Path, side: int) -> dict[str, int]:
    """Write the files that ``NETWORKS`` names.

    Parameters
    ----------
    folder : Path
        An empty one.
    side : int
        Height and width of the picture.

    Returns
    -------
    dict
        Number of parameters by family.
    """
    np.save(folder / PIXELS, pixels(side))
    return {
        "vim": _write_vim(folder, side),
        "deit": _write_deit(folder, side),
        "resnet": _write_resnet(folder, side),
    }


def _write_vim(folder: Path, side: int) -> int:
    config = dataclasses.replace(VIM_TINY, img_size=(side, side))
    with WeightsFile(write_random(folder / "vim.npz", config)) as file:
        state_dict = {
            name: torch.from_numpy(file.read(name).copy()) for name in config.parameter_shapes()
        }
    return save(folder / "vim.pt", config.to_dict(), state_dict)


def _write_deit(folder: Path, side: int) -> int:
    model = deit_tiny.deit_tiny(side)
    (folder / "deit.onnx").write_bytes(model)
    (folder / "deit_blockwise.onnx").write_bytes(deit_tiny.deit_tiny(side, blockwise=True))
    state_dict = state_dict_of(model)
    for name in ("cls_token", "pos_embed"):
        state_dict[name] = state_dict[name][None]
    join_qkv(state_dict)
    sizes = Sizes(
        num_patches=state_dict["pos_embed"].shape[1] - 1,
        patch_size=deit_tiny.PATCH_SIZE,
        embed_dim=deit_tiny.EMBED_DIM,
        depth=deit_tiny.DEPTH,
        num_heads=deit_tiny.NUM_HEADS,
        mlp_ratio=deit_tiny.MLP_RATIO,
        num_classes=NUM_CLASSES,
        norm_epsilon=deit_tiny.NORM_EPSILON,
    )
    return save(folder / "deit.pt", sizes._asdict(), state_dict)


def _write_resnet(folder: Path, side: int) -> int:
    model = resnet(side)
    (folder / "resnet.onnx").write_bytes(model)
    return save(folder / "resnet.pt", {}, state_dict_of(model))
