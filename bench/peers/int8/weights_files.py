"""The weights of every network in int8, made of those in float32, in files beside them."""

from __future__ import annotations

from pathlib import Path

from onnx_int8 import in_int8

from peers import weights_files
from peers.int8.networks import DEITS, NETWORKS, VIM_FILE, VIM_INT8_FILE
from vimnp.convert.calibration import find_smoothing
from vimnp.weights import Metadata, WeightsFile, write_weights
from vimnp.weights.quantization import Quantization


def write_all(folder: Path, side: int) -> dict[str, int]:
    """Write what ``peers/weights_files.py`` writes, and the same in int8.

    Parameters
    ----------
    folder : Path
        An empty one.
    side : int
        Height and width of the picture.

    Returns
    -------
    dict
        Number of parameters by family.
    """
    parameters = weights_files.write_all(folder, side)
    _convert_vim(folder / VIM_FILE, folder / VIM_INT8_FILE)
    for name in DEITS:
        model = (folder / NETWORKS[name].weights).read_bytes()
        (folder / NETWORKS[f"{name}-int8"].weights).write_bytes(in_int8(model))
    return parameters


def _convert_vim(source: Path, destination: Path) -> None:
    """As ``vimnp convert --dtype int8`` makes it of a checkpoint: smoothed by noise."""
    with WeightsFile(source) as file:
        config = file.metadata.config
        smoothing = find_smoothing(file.metadata, file.read)
        metadata = Metadata(config=config, dtype="int8", quantization=Quantization("noise"))
        tensors = ((name, file.read(name)) for name in config.tensors())
        write_weights(destination, metadata, tensors, smoothing=smoothing)
