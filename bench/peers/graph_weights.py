"""Weights of PyTorch's networks, which are those of the graphs that were written before."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

Tensors: TypeAlias = dict[str, Tensor]


def state_dict_of(model: bytes) -> Tensors:
    """The weights of a graph by name, its matrices (in, out) as PyTorch has them: (out, in)."""
    tensors = {}
    for initializer in onnx.load_from_string(model).graph.initializer:
        array = numpy_helper.to_array(initializer)
        if initializer.name.startswith("constant_"):  # a shape, or the scale of attention
            continue
        is_matrix = array.ndim == 2 and initializer.name.endswith(".weight")
        tensors[initializer.name] = torch.tensor(array.T.copy() if is_matrix else array)
    return tensors


def join_qkv(state_dict: Tensors) -> None:
    """Put one matrix in the place of three for q, k and v, and one bias."""
    for name in [name for name in state_dict if ".q." in name]:
        parts = [state_dict.pop(name.replace(".q.", f".{part}.")) for part in "qkv"]
        state_dict[name.replace(".q.", ".qkv.")] = torch.cat(parts)


def save(path: Path, config: dict[str, Any], state_dict: Tensors) -> int:
    """Write what ``loaders.load_torch`` reads; returns the number of parameters."""
    torch.save({"config": config, "state_dict": state_dict}, path)
    return sum(tensor.numel() for tensor in state_dict.values())
