"""PyTorch checkpoint -> ``.npz`` weights file, without PyTorch."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from vimnp.convert.checkpoint import Checkpoint
from vimnp.convert.infer import infer_config
from vimnp.convert.labels import read_labels
from vimnp.convert.naming import quoted
from vimnp.convert.safetensors_file import SafetensorsFile
from vimnp.convert.settings import parse_settings, to_text
from vimnp.convert.source import SourceFile
from vimnp.errors import CheckpointError, ConfigError, WeightsError
from vimnp.images.preprocessing import Preprocessing
from vimnp.models.vim import rope
from vimnp.models.vim.published import PUBLISHED
from vimnp.weights.metadata import Metadata
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

    metadata: Metadata
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
    """Convert a checkpoint of hustvl/Vim into a weights file.

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
    if model is not None and model not in PUBLISHED:
        known = ", ".join(PUBLISHED)
        raise CheckpointError(f"there is no model {quoted(model)}; expected one of {known}")
    with _open(source, use_ema) as checkpoint:
        metadata, assumptions = _describe(checkpoint, dtype, labels, settings or {}, model)
        size = _write(destination, metadata, checkpoint)
    return Conversion(metadata, assumptions, metadata.config.num_parameters, size)


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
    checkpoint: SourceFile,
    dtype: str,
    labels: str | os.PathLike[str] | None,
    settings: Mapping[str, str],
    model: str | None,
) -> tuple[Metadata, tuple[str, ...]]:
    try:
        network, preprocessing = parse_settings(settings)
        config, assumptions = infer_config(checkpoint.shapes, network, model)
        crop_pct = 1.0 if max(config.img_size) <= _UNCROPPED_SIDE else Preprocessing.crop_pct
        metadata = Metadata(
            config=config,
            preprocessing=Preprocessing(**{"crop_pct": crop_pct, **preprocessing}),
            dtype=dtype,
            source=os.fsencode(checkpoint.path.name).decode(errors="replace"),  # for JSON
            source_sha256=checkpoint.sha256(),
        )
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from None
    if labels is not None:
        metadata = dataclasses.replace(metadata, labels=read_labels(labels, config.num_classes))
    told = model is not None or "pt_hw_seq_len" in network
    if not told and not rope.are_tables(config, checkpoint.read):
        assumptions.append(
            f"pt_hw_seq_len={config.pt_hw_seq_len}, though the rotary tables are not those that it "
            "gives; it matters to pictures of another size only"
        )
    untold = [
        f"{field.name}={to_text(getattr(metadata.preprocessing, field.name))}"
        for field in dataclasses.fields(Preprocessing)
        if field.name not in preprocessing
    ]
    if untold:
        assumptions.append(f"{' and '.join(untold)}, as in the original's evaluation")
    return metadata, tuple(assumptions)


def _write(destination: Path, metadata: Metadata, checkpoint: SourceFile) -> int:
    """Write the weights file; its size in bytes."""

    def tensors() -> Iterator[tuple[str, np.ndarray]]:
        for name in checkpoint.reading_order(metadata.config.parameter_shapes()):
            yield name, checkpoint.read(name)

    try:
        return write_weights(destination, metadata, tensors())
    except CheckpointError:
        raise
    except WeightsError as error:
        hint = "; float32 has the wider range" if metadata.dtype == "float16" else ""
        raise CheckpointError(f"{checkpoint.path}: {error}{hint}") from None
    except (OSError, ValueError) as error:  # ValueError: a path without a name, or a zero byte
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{destination}: cannot be written: {reason}") from None


def _is_same_file(source: Path, destination: Path) -> bool:
    try:
        return source.samefile(destination)
    except (OSError, ValueError):  # one of them does not exist
        return False
