"""The packages that the comparison needs and vimnp does not."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec

MEASURED = ("vimnp", "numpy", "torch", "onnxruntime")
NEEDED = ("torch", "onnx", "onnxruntime", "matplotlib", "pytest", "threadpoolctl")


def missing() -> str | None:
    """A sentence that names what is not installed; None if nothing is."""
    names = [name for name in NEEDED if find_spec(name) is None]
    if not names:
        return None
    return f"not installed: {', '.join(names)}; pip install -e '.[bench,test,train]' brings all"


def versions() -> dict[str, str]:
    """Of what is measured, by package."""
    return {name: version(name) for name in MEASURED}
