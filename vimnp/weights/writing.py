"""Write a weights file, whole or not at all."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from typing import IO

import numpy as np
from numpy.lib import format as npy_format

from vimnp.errors import WeightsError
from vimnp.storage.files import whole_file
from vimnp.weights.metadata import METADATA, Metadata


def write_weights(
    path: str | os.PathLike[str],
    metadata: Metadata,
    tensors: Iterable[tuple[str, np.ndarray]],
) -> int:
    """Write a weights file, whole or not at all.

    Parameters
    ----------
    path : path-like
        Where to; an existing file is replaced once the new one is complete. See
        :func:`vimnp.storage.files.whole_file` for links, devices and pipes.
    metadata : Metadata
    tensors : iterable of (name, array)
        Every tensor of ``metadata.config.parameter_shapes()`` once, in any order and floating
        dtype. Taken one by one, so a generator keeps only one of them in memory.

    Returns
    -------
    int
        Size of the file in bytes.

    Raises
    ------
    WeightsError
        If a tensor is missing, unknown, repeated, of the wrong shape, not finite, or does not
        fit into float16.
    OSError
        If the file cannot be written.
    """
    with whole_file(path) as file:
        _write_members(file, metadata, tensors)
        return file.seek(0, os.SEEK_END)


def _write_members(
    file: IO[bytes], metadata: Metadata, tensors: Iterable[tuple[str, np.ndarray]]
) -> None:
    missing = metadata.config.parameter_shapes()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        # A ZipInfo of our own has a fixed date: the same weights give the same bytes.
        archive.writestr(zipfile.ZipInfo(METADATA), metadata.to_json())
        for name, tensor in tensors:
            shape = missing.pop(name, None)
            if shape is None:
                raise WeightsError(f"{name}: not a tensor of this network, or given twice")
            if tensor.shape != shape:
                raise WeightsError(f"{name}: shape {tensor.shape}; expected {shape}")
            stored = _to_stored(name, tensor, metadata.dtype)
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                npy_format.write_array(member, stored, version=(1, 0), allow_pickle=False)
    if missing:
        raise WeightsError(f"{next(iter(missing))}: missing; expected {len(missing)} more tensors")


def _to_stored(name: str, tensor: np.ndarray, dtype: str) -> np.ndarray:
    if not np.isfinite(tensor).all():
        raise WeightsError(f"{name}: holds NaN or infinity; expected finite weights")
    largest = float(np.abs(tensor).max())
    if largest > float(np.finfo(dtype).max):
        raise WeightsError(f"{name}: holds {largest:g}, too large for {dtype}")
    return np.ascontiguousarray(tensor, dtype=np.dtype(dtype).newbyteorder("<"))
