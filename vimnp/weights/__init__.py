"""The ``.npz`` weights file."""

from vimnp.weights.file import BUNDLED_DIGITS as BUNDLED_DIGITS
from vimnp.weights.file import BUNDLED_PYDOC as BUNDLED_PYDOC
from vimnp.weights.file import WeightsFile as WeightsFile
from vimnp.weights.metadata import DTYPES as DTYPES
from vimnp.weights.metadata import FORMAT_VERSION as FORMAT_VERSION
from vimnp.weights.metadata import METADATA as METADATA
from vimnp.weights.metadata import Metadata as Metadata
from vimnp.weights.writing import Rows as Rows
from vimnp.weights.writing import write_weights as write_weights
