"""Which networks are compared, and what runs each of them.

Nothing that loads a framework is imported here: each network's process loads its own alone.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from peers import loaders


class Network(NamedTuple):
    """A network and its run-time.

    Parameters
    ----------
    label : str
        In tables and plots.
    family : str
        Networks of one family have the same weights and must give the same logits, as near as
        their precisions allow.
    weights : str
        Name of its weights file, which the comparison's ``weights_files.py`` writes.
    load : callable
        Loads that file.
    loops_over_tokens : bool
        Whether a pass is long, as with Python's loop over tokens, and gets fewer rounds.
    may_be_wrong : bool
        Whether its run-time is known to make other numbers of it: it is left out then, where any
        other network that disagrees ends the comparison.
    smallest_only : bool
        Whether it is for the smallest pictures alone: larger ones would take minutes and gigabytes.
    precision : str
        What its matrices are multiplied in: one of ``TOLERANCES``.
    """

    label: str
    family: str
    weights: str
    load: loaders.Load
    loops_over_tokens: bool = False
    may_be_wrong: bool = False
    smallest_only: bool = False
    precision: str = "float32"


TOLERANCES = {
    "float32": 1e-4,
    "int8": 0.15,  # a scale for each token
    "dynamic int8": 0.2,  # one scale for all tokens of a product
}
"""How far logits may be from those of a family's first network, relative to the largest of these.

A network with an error is as far as random logits are: by more than the largest.
"""


NETWORKS = {
    "vim-native": Network(
        "Vim-tiny, vimnp native", "vim", "vim.npz", partial(loaders.load_vimnp, backend="native")
    ),
    "vim-numpy": Network(
        "Vim-tiny, vimnp numpy", "vim", "vim.npz", partial(loaders.load_vimnp, backend="numpy")
    ),
    "vim-torch-loop": Network(
        "Vim-tiny, PyTorch, loop",
        "vim",
        "vim.pt",
        partial(loaders.load_torch, build=loaders.vim_step_by_step),
        loops_over_tokens=True,
    ),
    "vim-torch-two-stage": Network(
        "Vim-tiny, PyTorch, two-stage",
        "vim",
        "vim.pt",
        partial(loaders.load_torch, build=loaders.vim_two_stage),
        loops_over_tokens=True,
    ),
    "deit-torch": Network(
        "DeiT-tiny, PyTorch",
        "deit",
        "deit.pt",
        partial(loaders.load_torch, build=loaders.deit),
    ),
    "deit-onnx": Network(
        "DeiT-tiny, ONNX Runtime, exported", "deit", "deit.onnx", loaders.load_onnx
    ),
    "deit-onnx-blockwise": Network(
        "DeiT-tiny, ONNX Runtime, blockwise", "deit", "deit_blockwise.onnx", loaders.load_onnx
    ),
    "resnet-torch": Network(
        "ResNet-50 x0.5, PyTorch",
        "resnet",
        "resnet.pt",
        # On one core of a Zen 4, the layout takes a seventh off its time.
        partial(loaders.load_torch, build=loaders.resnet, channels_last=True),
    ),
    "resnet-onnx": Network(
        "ResNet-50 x0.5, ONNX Runtime", "resnet", "resnet.onnx", loaders.load_onnx
    ),
}
"""By the names that ``--peers`` takes."""

FAMILIES = tuple(dict.fromkeys(network.family for network in NETWORKS.values()))
