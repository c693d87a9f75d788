"""The operations: public and checked, as the networks call them, and in plain NumPy."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vimnp.ops.checked import causal_conv1d as causal_conv1d
    from vimnp.ops.checked import causal_conv1d_update as causal_conv1d_update
    from vimnp.ops.checked import conv2d as conv2d
    from vimnp.ops.checked import gelu as gelu
    from vimnp.ops.checked import layer_norm as layer_norm
    from vimnp.ops.checked import selective_scan as selective_scan
    from vimnp.ops.checked import selective_scan_bidirectional as selective_scan_bidirectional
    from vimnp.ops.checked import selective_state_update as selective_state_update
    from vimnp.ops.cross_scans import cross_merge as cross_merge
    from vimnp.ops.cross_scans import cross_scan as cross_scan
    from vimnp.ops.cross_scans import selective_scan_2d as selective_scan_2d
    from vimnp.ops.reference import Direction as Direction

_PUBLIC = {
    "causal_conv1d": "checked",
    "causal_conv1d_update": "checked",
    "conv2d": "checked",
    "cross_merge": "cross_scans",
    "cross_scan": "cross_scans",
    "gelu": "checked",
    "layer_norm": "checked",
    "selective_scan": "checked",
    "selective_scan_2d": "cross_scans",
    "selective_scan_bidirectional": "checked",
    "selective_state_update": "checked",
    "Direction": "reference",
}


def __getattr__(name: str) -> object:
    """The checked operations load when they are used: no network needs them."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"vimnp.ops.{_PUBLIC[name]}"), name)
