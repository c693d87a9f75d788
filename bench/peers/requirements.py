"""The packages that the comparisons need and vimnp does not."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

MEASURED = ("vimnp", "numpy", "torch", "onnxruntime")
NEEDED = ("torch", "onnx", "onnxruntime", "matplotlib", "pytest", "threadpoolctl")


def missing(needed: Sequence[str] | None = None, extras: str = "bench,test,train") -> str | None:
    """A sentence that names what is not installed; None if nothing is.

    Parameters
    ----------
    needed : sequence of str, optional
        Modules, by default those of the networks of pictures.
    extras : str
        Of vimnp, which bring them all.
    """
    names = [name for name in needed or NEEDED if find_spec(name) is None]
    if not names:
        return None
    return f"not installed: {', '.join(names)}; pip install -e '.[{extras}]' brings all"
