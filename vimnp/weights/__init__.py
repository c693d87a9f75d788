"""The ``.npz`` weights file."""

from typing import TYPE_CHECKING

from vimnp.weights.file import BUNDLED_DIGITS as BUNDLED_DIGITS
from vimnp.weights.file import BUNDLED_PYDOC as BUNDLED_PYDOC
from vimnp.weights.file import WeightsFile as WeightsFile
from vimnp.weights.metadata import DTYPES as DTYPES
from vimnp.weights.metadata import FORMAT_VERSION as FORMAT_VERSION
from vimnp.weights.metadata import METADATA as METADATA
from vimnp.weights.metadata import Metadata as Metadata

if TYPE_CHECKING:
    from vimnp.weights.writing import Rows as Rows
    from vimnp.weights.writing import write_weights as write_weights


def __getattr__(name: str) -> object:
    """What writes files loads when it is used: no network needs it."""
    if name not in ("Rows", "write_weights"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vimnp.weights import writing

    return getattr(writing, name)
