"""PyTorch checkpoint -> ``.npz`` weights file, without PyTorch."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vimnp.convert.family import Beside, Evaluation, Training
from vimnp.convert.formats.checkpoint import Checkpoint
from vimnp.convert.formats.locate import INDEX, find_weights
from vimnp.convert.formats.naming import listing, quoted
from vimnp.convert.formats.safetensors_file import SafetensorsFile
from vimnp.convert.formats.shards import Shards
from vimnp.convert.formats.source import Source
from vimnp.convert.labels import IMAGENET_CLASSES, IMAGENET_NAMES, read_labels
from vimnp.convert.network import (
    Network,
    find_network,
    published_names,
    refuse_other_model,
)
from vimnp.convert.settings import parse_settings, to_text
from vimnp.errors import CheckpointError, ConfigError, ImageError, WeightsError
from vimnp.images.preprocessing import Preprocessing
from vimnp.weights.family import Configuration
from vimnp.weights.metadata import BYTES, TOKENIZER, Metadata, OfPictures, OfText
from vimnp.weights.quantization import Quantization
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
    skipped : tuple of str
        Of the files to calibrate with that were looked at, those that are no pictures which can be
        read: the name of each, and why.
    """

    metadata: Metadata[Any]
    assumptions: tuple[str, ...]
    parameters: int
    size: int
    skipped: tuple[str, ...] = ()


class _Calibration(NamedTuple):
    """What a network in int8 is smoothed by: a folder, or None for noise; and who hears what.

    Of a file there that is no picture which can be read.
    """

    pictures: str | os.PathLike[str] | None
    on_skipped: Callable[[ImageError], object]


def convert_checkpoint(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    labels: str | os.PathLike[str] | None = None,
    settings: Mapping[str, str] | None = None,
    use_ema: bool = False,
    model: str | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    calibrate: str | os.PathLike[str] | None = None,
) -> Conversion:
    """Convert a checkpoint into a weights file.

    Parameters
    ----------
    source : path-like
        A ``.pth`` or ``.bin`` file of ``torch.save``, in which nothing is executed, or a
        ``.safetensors`` file, which takes the package of that name; or a folder with such a file,
        or with an index and the files that it names. Of a language model, ``config.json`` and the
        tokenizer's files beside it are read.
    destination : path-like
        The ``.npz`` file to write, whole or not at all.
    dtype : {"float32", "float16", "bfloat16", "int8", "int4"}
        Of the stored weights; bfloat16 and int4 for language models alone. A network of pictures
        in int8 multiplies whole numbers, and is smoothed for that
        (:mod:`vimnp.convert.calibration`).
    labels : path-like, optional
        File with a name for each class; see :func:`vimnp.convert.labels.read_labels`. Without it a
        network of 1,000 classes gets ImageNet's names, which counts as an assumption, and with
        "none" no network gets any.
    settings : mapping of str to str, optional
        What the weights do not tell; see :func:`vimnp.convert.settings.parse_settings`.
    use_ema : bool
        Take the moving average of the weights, ``model_ema``, from a training dump.
    model : str, optional
        The published network, by its name in :data:`vimnp.config.PUBLISHED`, that settles what
        neither the weights nor the settings tell. Another number of classes is no contradiction.
    tokenizer : path-like, optional
        Of a language model: a ``tokenizer.json``, by default the one beside the weights, if there
        is one; or "bytes", the tokenizer whose ids are bytes.
    calibrate : path-like, optional
        Of a network of pictures in int8: a folder of pictures to smooth it by, in the place of
        noise.

    Returns
    -------
    Conversion
        What the file says of itself, how large it is, and what was assumed.

    Raises
    ------
    CheckpointError
        If anything is wrong with one of the files or settings. The message names the culprit, and
        no file is left behind.
    OSError
        If the destination cannot be written.
    """
    source, destination = Path(source), Path(destination)
    _refuse_source([source], destination)
    if model is not None and model not in published_names():
        known = ", ".join(published_names())
        raise CheckpointError(f"there is no model {quoted(model)}; expected one of {known}")
    with _open(source, use_ema) as checkpoint:
        network, metadata, beside, assumptions = _describe(
            checkpoint, dtype, settings or {}, model, tokenizer
        )
        metadata = _with_calibration(metadata, calibrate)
        _refuse_source([*checkpoint.files, *beside.files], destination)
        if labels is None and _has_imagenet_classes(metadata.config):
            labels = IMAGENET_NAMES
            if model is None:  # the published ones were trained on it
                assumptions.append(
                    "the classes are ImageNet's, as there are 1,000; --labels FILE names others"
                )
        if labels not in (None, "none"):
            metadata = dataclasses.replace(metadata, labels=_read_labels(labels, metadata.config))
        skipped: list[ImageError] = []
        calibration = _Calibration(calibrate, skipped.append)
        size = _write(destination, metadata, network, beside.tokenizer, calibration)
    return Conversion(
        metadata,
        tuple(assumptions),
        metadata.config.num_parameters,
        size,
        tuple(map(str, skipped)),
    )


def _open(source: Path, use_ema: bool) -> Source:
    path = find_weights(source)
    if path.name.endswith(INDEX):
        if use_ema:
            raise CheckpointError(
                f"{path}: an index has no model_ema among its files; convert it without --ema"
            )
        return Shards(path, _open_file)
    return _open_file(path, use_ema)


def _open_file(path: Path, use_ema: bool = False) -> Source:
    # By the name: safetensors files have no magic number, and damaged ones are to be told as such.
    if path.suffix.lower() != ".safetensors":
        return Checkpoint(path, use_ema=use_ema)
    if use_ema:
        raise CheckpointError(
            f"{path}: a safetensors file holds one set of weights and no model_ema; convert it "
            "without --ema"
        )
    return SafetensorsFile(path)


def _describe(
    checkpoint: Source,
    dtype: str,
    settings: Mapping[str, str],
    model: str | None,
    tokenizer: str | os.PathLike[str] | None,
) -> tuple[Network, Metadata[Any], Beside, list[str]]:
    """The network, what the weights file is to say of it, and what of that is assumed."""
    with _naming(checkpoint):
        network = find_network(checkpoint)
        if model is not None and not network.family.takes_text:
            refuse_other_model(model, network.family)
        given, of_pictures = parse_settings(settings, network.family.configuration)
        if tokenizer is not None and not network.family.takes_text:
            raise CheckpointError("a tokenizer for a network that takes no text; leave it out")
    network = network.without_twins()
    beside = _read_beside(network, tokenizer)
    with _naming(checkpoint):
        training = network.family.training(checkpoint.training)
        told = {**training.settings, **beside.settings, **given}
        config, assumptions = network.family.infer(network.shapes, told, model)
        _check_claims(config, beside)
        preprocessing, untold = _preprocessing(config, of_pictures, network.family.evaluation)
        metadata = Metadata(
            config=config,
            preprocessing=preprocessing,
            dtype=dtype,
            source=os.fsencode(checkpoint.path.name).decode(errors="replace"),  # for JSON
            source_sha256=checkpoint.sha256(),
            tokenizer=_kind_of(tokenizer, beside),
            chat_template=beside.chat_template,
        )
    doubts = network.family.examine(config, network.read, given, model)
    made = [network.made.assumption] if network.made.tensors else []
    doubts = [*doubts, *_contradicted(config, training)]
    assumptions = [*assumptions, *made, *doubts, *untold, *_left_out(network)]
    return network, metadata, beside, assumptions


@contextlib.contextmanager
def _naming(checkpoint: Source) -> Iterator[None]:
    """Have errors name the checkpoint."""
    try:
        yield
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from None


def _read_beside(network: Network, tokenizer: str | os.PathLike[str] | None) -> Beside:
    """What the files beside the weights tell, and the tokenizer that the user names."""
    folder = network.checkpoint.path.parent
    if tokenizer is None or tokenizer == BYTES:
        beside = network.family.beside(folder, None, network.shapes_there)
    else:
        beside = network.family.beside(folder, Path(tokenizer), network.shapes_there)
    if tokenizer == BYTES:
        return beside._replace(tokenizer=None, tokens=0)
    return beside


def _kind_of(tokenizer: str | os.PathLike[str] | None, beside: Beside) -> str | None:
    """What the weights file calls the tokenizer."""
    if tokenizer == BYTES:
        return BYTES
    return None if beside.tokenizer is None else TOKENIZER


def _check_claims(config: Configuration, beside: Beside) -> None:
    """Refuse files beside the weights that are of another network."""
    for name, value in beside.claims.items():
        if getattr(config, name) != value:
            raise CheckpointError(
                f"{beside.source} has {name} {to_text(value)}, but the weights say "
                f"{to_text(getattr(config, name))}; expected the files of one network"
            )
    if isinstance(config, OfText) and beside.tokens > config.vocab_size:
        raise CheckpointError(
            f"its tokenizer gives ids up to {beside.tokens - 1}, but the network knows those below "
            f"{config.vocab_size}; expected the tokenizer of this network"
        )


def _contradicted(config: Configuration, training: Training) -> list[str]:
    """What a training's configuration says otherwise than the weights, which win."""
    return [
        f"{name}={to_text(getattr(config, name))}, as the weights say, though the training's "
        f"configuration has {to_text(value)}"
        for name, value in training.claims.items()
        if getattr(config, name) != value
    ]


def _preprocessing(
    config: Configuration, given: Mapping[str, Any], evaluation: Evaluation
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
    known = evaluation.values if config.channels == 3 else {}
    preprocessing = Preprocessing.of_channels(
        config.channels, **{"crop_pct": crop_pct, **known, **given}
    )
    untold = [
        f"{field.name}={to_text(getattr(preprocessing, field.name))}"
        for field in dataclasses.fields(Preprocessing)
        if field.name not in given
    ]
    because = evaluation.because
    if preprocessing.channels == 1:
        because = f"{Evaluation().because}, averaged over red, green and blue"
    elif not preprocessing.takes_pictures:
        because = f"which nothing uses: {config.channels} channels come as normalised arrays"
    return preprocessing, [f"{' and '.join(untold)}, {because}"] if untold else []


def _with_calibration(
    metadata: Metadata[Any], pictures: str | os.PathLike[str] | None
) -> Metadata[Any]:
    """What the file says of its smoothing, if the network is quantised for pictures."""
    if metadata.quantization is None:
        if pictures is not None:
            raise CheckpointError(
                f"{pictures}: pictures to calibrate with, and nothing to calibrate; leave them "
                "out, or take the dtype int8 for a network of pictures"
            )
        return metadata
    calibration = "noise" if pictures is None else "pictures"
    preprocessing = metadata.preprocessing
    assert preprocessing is not None  # metadata of a network of pictures have it
    if pictures is not None and not preprocessing.takes_pictures:
        raise CheckpointError(
            f"{pictures}: the network takes arrays of {preprocessing.channels} channels, and no "
            "pictures; leave them out, to calibrate with noise"
        )
    return dataclasses.replace(metadata, quantization=Quantization(calibration))


def _left_out(network: Network) -> list[str]:
    names = network.left_out
    what = "tensor" if len(names) == 1 else "tensors"
    left_out = f"{len(names)} {what} can be left out, as no part of the network: {listing(names)}"
    return [left_out] if names else []


def _has_imagenet_classes(config: Configuration) -> bool:
    return isinstance(config, OfPictures) and config.num_classes == IMAGENET_CLASSES


def _read_labels(path: str | os.PathLike[str], config: Configuration) -> tuple[str, ...]:
    if not isinstance(config, OfPictures) or not config.num_classes:
        raise CheckpointError(f"{path}: labels for a network without classes; leave them out")
    return read_labels(path, config.num_classes)


def _write(
    destination: Path,
    metadata: Metadata[Any],
    network: Network,
    tokenizer: bytes | None,
    calibration: _Calibration,
) -> int:
    """Write the weights file; its size in bytes."""
    source = network.checkpoint.path
    try:
        smoothing = _find_smoothing(metadata, network, calibration)
        tensors = network.read_all(metadata.config.parameter_shapes())
        return write_weights(
            destination, metadata, tensors, tokenizer=tokenizer, smoothing=smoothing
        )
    except CheckpointError:
        raise
    except WeightsError as error:
        is_narrow = metadata.dtype in ("float16", "int8")
        hint = "; float32 has the wider range" if is_narrow else ""
        raise CheckpointError(f"{source}: {error}{hint}") from None
    except (OSError, ValueError) as error:  # ValueError: a path without a name, or a zero byte
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{destination}: cannot be written: {reason}") from None


def _find_smoothing(
    metadata: Metadata[Any], network: Network, calibration: _Calibration
) -> dict[str, np.ndarray]:
    if not metadata.is_smoothed:
        return {}
    from vimnp.convert.calibration import find_smoothing  # most conversions run no network

    return find_smoothing(metadata, network.read, *calibration)


def _refuse_source(read: Iterable[Path], destination: Path) -> None:
    """Refuse to write over what is read."""
    for source in read:
        if _is_same_file(source, destination):
            raise CheckpointError(f"{source}: is the destination as well; expected another file")


def _is_same_file(source: Path, destination: Path) -> bool:
    try:
        return source.samefile(destination)
    except (OSError, ValueError):  # one of them does not exist
        return False
