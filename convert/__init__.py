"""PyTorch checkpoint -> ``.npz`` weights file, without PyTorch."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vimnp.convert.formats.checkpoint import Checkpoint
from vimnp.convert.formats.naming import listing, quoted
from vimnp.convert.formats.safetensors_file import SafetensorsFile
from vimnp.convert.formats.source import SourceFile
from vimnp.convert.labels import read_labels
from vimnp.convert.network import FAMILIES, Network, find_network
from vimnp.convert.settings import parse_settings, to_text
from vimnp.errors import CheckpointError, ConfigError, WeightsError
from vimnp.images.preprocessing import Preprocessing
from vimnp.weights.family import Configuration
from vimnp.weights.metadata import Metadata, OfPictures
from vimnp.weights.writing import write_weights

__all__ = ["Conversion", "convert_checkpoint"]

# Pixels: the original's evaluation (``vim/datasets.py``) scales and crops larger pictures only.
_UNCROPPED_SIDE = 32


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Parameters
    ----------
    metadata : Metadata
        As written into the file.
    assumptions : tuple of str
        What neither the checkpoint nor the settings told.
    parameters : int
        Number of weights.
    size : int
        Of the written file, in bytes.
    """

    metadata: Metadata[Any]
    assumptions: tuple[str, ...]
    parameters: int
    size: int


def convert_checkpoint(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    labels: str | os.PathLike[str] | None = None,
    settings: Mapping[str, str] | None = None,
    use_ema: bool = False,
    model: str | None = None,
) -> Conversion:
    """Convert a checkpoint into a weights file.

    Parameters
    ----------
    source : path-like
        A ``.pth`` file of ``torch.save``, in which nothing is executed, or a ``.safetensors`` file,
        which takes the package of that name.
    destination : path-like
        The ``.npz`` file to write, whole or not at all.
    dtype : {"float32", "float16"}
        Of the stored weights.
    labels : path-like, optional
        File with a name for each class; see :func:`vimnp.convert.labels.read_labels`.
    settings : mapping of str to str, optional
        What the weights do not tell; see :func:`vimnp.convert.settings.parse_settings`.
    use_ema : bool
        Take the moving average of the weights, ``model_ema``, from a training dump.
    model : str, optional
        The published network, by its name in :data:`vimnp.config.PUBLISHED`, that settles what
        neither the weights nor the settings tell. Another number of classes is no contradiction.

    Returns
    -------
    Conversion

    Raises
    ------
    CheckpointError
        If anything is wrong with one of the files or settings. The message names the culprit, and
        no file is left behind.
    """
    source, destination = Path(source), Path(destination)
    if _is_same_file(source, destination):
        raise CheckpointError(f"{source}: is the destination as well; expected another file")
    published = [name for family in FAMILIES for name in family.published]
    if model is not None and model not in published:
        known = ", ".join(published)
        raise CheckpointError(f"there is no model {quoted(model)}; expected one of {known}")
    with _open(source, use_ema) as checkpoint:
        network, metadata, assumptions = _describe(checkpoint, dtype, settings or {}, model)
        if labels is not None:
            metadata = dataclasses.replace(metadata, labels=_read_labels(labels, metadata.config))
        size = _write(destination, metadata, network)
    return Conversion(metadata, tuple(assumptions), metadata.config.num_parameters, size)


def _open(source: Path, use_ema: bool) -> SourceFile:
    # By the name: safetensors files have no magic number, and damaged ones are to be told as such.
    if source.suffix.lower() != ".safetensors":
        return Checkpoint(source, use_ema=use_ema)
    if use_ema:
        raise CheckpointError(
            f"{source}: a safetensors file holds one set of weights and no model_ema; convert it "
            "without --ema"
        )
    return SafetensorsFile(source)


def _describe(
    checkpoint: SourceFile, dtype: str, settings: Mapping[str, str], model: str | None
) -> tuple[Network, Metadata[Any], list[str]]:
    """The network, what the weights file is to say of it, and what of that is assumed."""
    try:
        network = find_network(checkpoint)
        given, of_pictures = parse_settings(settings, network.family.configuration)
        config, assumptions = network.family.infer(network.shapes, given, model)
        preprocessing, untold = _preprocessing(config, of_pictures)
        metadata = Metadata(
            config=config,
            preprocessing=preprocessing,
            dtype=dtype,
            source=os.fsencode(checkpoint.path.name).decode(errors="replace"),  # for JSON
            source_sha256=checkpoint.sha256(),
        )
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from None
    doubts = network.family.examine(config, network.read, given, model)
    made = [network.made.assumption] if network.made.tensors else []
    return network, metadata, [*assumptions, *made, *doubts, *untold, *_left_out(network)]


def _preprocessing(
    config: Configuration, given: Mapping[str, Any]
) -> tuple[Preprocessing | None, list[str]]:
    """What the network does to pictures, if it takes any, and what of that is assumed."""
    if not isinstance(config, OfPictures):
        if given:
            raise CheckpointError(
                f"the setting {next(iter(given))} is of pictures, and this network takes none; "
                "leave it out"
            )
        return None, []
    for name in given.keys() & {"mean", "std"}:
        if len(given[name]) != config.channels:
            raise CheckpointError(
                f"the setting {name} is {to_text(given[name])}; expected {config.channels} numbers "
                "with commas between them, one for each of the network's channels"
            )
    crop_pct = 1.0 if max(config.img_size) <= _UNCROPPED_SIDE else Preprocessing.crop_pct
    preprocessing = Preprocessing.of_channels(config.channels, **{"crop_pct": crop_pct, **given})
    untold = [
        f"{field.name}={to_text(getattr(preprocessing, field.name))}"
        for field in dataclasses.fields(Preprocessing)
        if field.name not in given
    ]
    because = "as in the original's evaluation"
    if preprocessing.channels == 1:
        because += ", averaged over red, green and blue"
    elif not preprocessing.takes_pictures:
        because = f"which nothing uses: {config.channels} channels come as normalised arrays"
    return preprocessing, [f"{' and '.join(untold)}, {because}"] if untold else []


def _left_out(network: Network) -> list[str]:
    names = network.left_out
    what = "tensor" if len(names) == 1 else "tensors"
    left_out = f"{len(names)} {what} can be left out, as no part of the network: {listing(names)}"
    return [left_out] if names else []


def _read_labels(path: str | os.PathLike[str], config: Configuration) -> tuple[str, ...]:
    if not isinstance(config, OfPictures) or not config.num_classes:
        raise CheckpointError(f"{path}: labels for a network without classes; leave them out")
    return read_labels(path, config.num_classes)


def _write(destination: Path, metadata: Metadata[Any], network: Network) -> int:
    """Write the weights file; its size in bytes."""
    source = network.checkpoint.path
    try:
        return write_weights(
            destination, metadata, network.read_all(metadata.config.parameter_shapes())
        )
    except CheckpointError:
        raise
    except WeightsError as error:
        hint = "; float32 has the wider range" if metadata.dtype == "float16" else ""
        raise CheckpointError(f"{source}: {error}{hint}") from None
    except (OSError, ValueError) as error:  # ValueError: a path without a name, or a zero byte
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{destination}: cannot be written: {reason}") from None


def _is_same_file(source: Path, destination: Path) -> bool:
    try:
        return source.samefile(destination)
    except (OSError, ValueError):  # one of them does not exist
        return False
