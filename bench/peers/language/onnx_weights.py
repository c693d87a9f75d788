"""Weights that several ONNX graphs share, in a file beside them.

A graph with its weights inside would hold them once for prompts and once more for single tokens.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnx
from onnx import TensorProto, helper

ALIGNMENT = 4096  # bytes: a page, so that a run-time can map each tensor


class SharedWeights:
    """The file, to which each array is written the first time that it is asked for.

    Parameters
    ----------
    path : Path
        The graphs have to lie in the same folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = path.open("wb")
        self._tensors: dict[str, onnx.TensorProto] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> onnx.TensorProto:
        """What a graph says of an array: its shape, and its place in the file."""
        return self._tensors[name]

    def write(self, name: str, array: np.ndarray) -> None:
        """Append an array."""
        self._stream.write(bytes(-self._stream.tell() % ALIGNMENT))
        place = {"location": self._path.name, "offset": self._stream.tell(), "length": array.nbytes}
        tensor = TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=array.shape,
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self._stream.write(np.ascontiguousarray(array).data)
        self._tensors[name] = tensor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.close()
