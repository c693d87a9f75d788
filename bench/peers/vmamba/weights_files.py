"""The weights of every network, and the picture, in files: random, and equal within a family."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from limits import pixels

from peers.graph_weights import join_qkv, save, state_dict_of
from peers.one import PIXELS
from peers.vmamba.convnext_onnx import convnext
from peers.vmamba.networks import NETWORKS
from peers.vmamba.sizes import Sizes
from peers.vmamba.swin_onnx import swin
from peers.vmamba.vmamba_onnx import GRAPHS
from vimnp.models.random_weights import random_reader
from vimnp.models.vmamba.config import VMambaConfig
from vimnp.weights import Metadata, write_weights


def write_all(folder: Path, sizes: Sizes, side: int, names: Collection[str]) -> dict[str, int]:
    """Write the files that networks load.

    Parameters
    ----------
    folder : Path
        An empty one.
    sizes : Sizes
    side : int
        Height and width of the picture.
    names : collection of str
        Of ``NETWORKS``.

    Returns
    -------
    dict
        Number of parameters by family, of the families that the names have.
    """
    np.save(folder / PIXELS, pixels(side))
    files = {NETWORKS[name].weights for name in names}
    families = dict.fromkeys(NETWORKS[name].family for name in names)
    parameters = {}
    for family in families:
        if family in sizes.vmambas:
            config = dataclasses.replace(sizes.vmambas[family], img_size=(side, side))
            parameters[family] = _write_vmamba(folder, family, config, files)
        else:
            parameters[family] = {"convnext": _write_convnext, "swin": _write_swin}[family](
                folder, sizes, side
            )
    return parameters


def _write_vmamba(folder: Path, family: str, config: VMambaConfig, files: Collection[str]) -> int:
    read = random_reader(config, seed=0)
    tensors = {name: read(name) for name in config.tensors()}
    write_weights(folder / f"{family}.npz", Metadata(config=config), tensors.items())
    for kind, graph in GRAPHS.items():
        if (file := f"{family}_{kind}.onnx") in files:
            (folder / file).write_bytes(graph(config, read).network())
    state_dict = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    return save(folder / f"{family}.pt", config.to_dict(), state_dict)


def _write_convnext(folder: Path, sizes: Sizes, side: int) -> int:
    model = convnext(sizes.convnext, side)
    (folder / "convnext.onnx").write_bytes(model)
    return save(folder / "convnext.pt", sizes.convnext._asdict(), state_dict_of(model))


def _write_swin(folder: Path, sizes: Sizes, side: int) -> int:
    model = swin(sizes.swin, side)
    (folder / "swin.onnx").write_bytes(model)
    state_dict = state_dict_of(model)
    join_qkv(state_dict)
    return save(folder / "swin.pt", sizes.swin._asdict() | {"side": side}, state_dict)
