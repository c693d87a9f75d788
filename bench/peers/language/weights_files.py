"""The same random weights for every network, in files, and the ids of the tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from peers.language.one import IDS
from peers.language.workloads import BATCH, LONGEST
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.random_weights import random_reader
from vimnp.weights import Metadata, write_weights
from vimnp.weights.family import ReadTensor

Write = Callable[[Path, MambaConfig, ReadTensor], object]


def write_all(folder: Path, config: MambaConfig, names: Iterable[str]) -> None:
    """Write weights by their names of ``NETWORKS``, and the ids.

    Parameters
    ----------
    folder : Path
        An empty one.
    config : MambaConfig
    names : iterable of str
        What is there already is not written again.
    """
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (BATCH, LONGEST))
    np.save(folder / IDS, ids)
    read = random_reader(config, seed=0)
    for name in dict.fromkeys(names):
        WRITE[name](folder / name, config, read)


def _npz(path: Path, config: MambaConfig, read: ReadTensor, *, dtype: str) -> None:
    """vimnp's, with a tokenizer, so that ``vimnp generate`` takes it as well."""
    metadata = Metadata(config=config, preprocessing=None, dtype=dtype, tokenizer="bytes")
    write_weights(path, metadata, ((name, read(name)) for name in config.tensors()))


def _gguf(path: Path, config: MambaConfig, read: ReadTensor) -> None:
    from peers.language.gguf_files import quantize, write_gguf

    source = path.with_name("F32.gguf")
    if not source.exists():
        write_gguf(source, config, read)
    if path != source and not path.exists():
        quantize(source, path, path.stem)


def _graphs(path: Path, config: MambaConfig, read: ReadTensor) -> None:
    from peers.language.onnx_mamba import write_graphs
    from peers.language.onnx_storage import STORAGES

    write_graphs(path, config, read, STORAGES[path.name])


def _transformers(path: Path, config: MambaConfig, read: ReadTensor) -> None:
    from peers.language.hugging_face import write_folder

    write_folder(path, config, read)


WRITE: dict[str, Write] = {
    **{
        f"{dtype}.npz": partial(_npz, dtype=dtype)
        for dtype in ("float32", "bfloat16", "int8", "int4")
    },
    **{f"{kind}.gguf": _gguf for kind in ("F32", "F16", "Q8_0", "Q4_0")},
    **dict.fromkeys(("float32", "dynamic", "weights_only"), _graphs),
    "transformers": _transformers,
}
"""By the name of what is written."""
