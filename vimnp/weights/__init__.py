"""The ``.npz`` weights file."""

from vimnp.weights.file import BUNDLED_DIGITS as BUNDLED_DIGITS
from vimnp.weights.file import DTYPES as DTYPES
from vimnp.weights.file import FORMAT_VERSION as FORMAT_VERSION
from vimnp.weights.file import METADATA as METADATA
from vimnp.weights.file import Metadata as Metadata
from vimnp.weights.file import WeightsFile as WeightsFile
from vimnp.weights.file import write_weights as write_weights
