"""Which networks are compared in int8 and in float32, and what runs each of them.

Nothing that loads a framework is imported here: each network's process loads its own alone.
"""

from __future__ import annotations

from functools import partial

from peers import loaders, networks
from peers.networks import Network

VIM_FILE, VIM_INT8_FILE = networks.NETWORKS["vim-native"].weights, "vim_int8.npz"
DEITS = {"deit-onnx": "exported", "deit-onnx-blockwise": "blockwise"}
"""Both forms of DeiT-tiny in float32, and their names in labels; in int8 they end with "-int8"."""


def _vim_int8(way: str, backend: str, weights: str) -> Network:
    load = partial(loaders.load_vimnp, backend=backend, precision="int8")
    return Network(f"Vim-tiny, vimnp {way}", "vim", weights, load, precision="int8")


def _deit_int8(name: str, form: str) -> Network:
    weights = f"{networks.NETWORKS[name].weights.removesuffix('.onnx')}_int8.onnx"
    label = f"DeiT-tiny, ONNX Runtime, {form}, int8"
    return Network(label, "deit", weights, loaders.load_onnx, precision="dynamic int8")


NETWORKS: dict[str, Network] = {
    "vim-native": networks.NETWORKS["vim-native"],
    "vim-native-int8": _vim_int8("native, int8", "native", VIM_INT8_FILE),
    "vim-native-rounded": _vim_int8("native, int8 of a float32 file", "native", VIM_FILE),
    "vim-numpy-int8": _vim_int8("numpy, int8", "numpy", VIM_INT8_FILE),
    **{name: networks.NETWORKS[name] for name in DEITS},
    **{f"{name}-int8": _deit_int8(name, form) for name, form in DEITS.items()},
}
"""By the names that ``--peers`` takes."""
