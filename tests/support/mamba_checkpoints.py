"""Writes checkpoints of Mamba language models in both layouts, without torch or transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.torch_format import Tensor, save
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.random_weights import random_reader

EMBEDDING, HEAD = "backbone.embedding.weight", "lm_head.weight"
CONFIG = MambaConfig(
    d_model=20, n_layer=2, vocab_size=61, padded_vocab_size=64, d_state=3, d_inner=24, dt_rank=2
)

_STORAGES = {"float32": None, "float16": None, "bfloat16": "BFloat16Storage"}
_SAFETENSORS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_ALWAYS_FLOAT32 = ("A_log", ".D")  # as the original keeps them


def mamba_weights(config: MambaConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Random float32 tensors by the original's names, which bfloat16 and float16 hold exactly."""
    read = random_reader(config, seed)
    return {
        name: read(name) if name.endswith(_ALWAYS_FLOAT32) else _short(read(name))
        for name in config.parameter_shapes()
    }


def _short(numbers: np.ndarray) -> np.ndarray:
    """Numbers nearby of at most 8 bits, each at least 1/64."""
    steps = ((numbers * 64).round() / 64 + np.float32(1 / 64)).astype(np.float32)
    return (steps.view(np.uint32) & 0xFFFF0000).view(np.float32)


def original_config(config: MambaConfig, **changes: object) -> dict[str, Any]:
    """What stands in the original's ``config.json``; None leaves a key out."""
    values = {
        "d_model": config.d_model,
        "n_layer": config.n_layer,
        "vocab_size": config.vocab_size,
        "ssm_cfg": {},
        "rms_norm": config.rms_norm,
        "residual_in_fp32": True,
        "fused_add_norm": True,
        "pad_vocab_size_multiple": 8,
        "tie_embeddings": config.tie_embeddings,
    }
    return _without_none(values | changes)


def transformers_config(config: MambaConfig, **changes: object) -> dict[str, Any]:
    """What stands in transformers' ``config.json``; None leaves a key out."""
    values = {
        "model_type": "mamba",
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layer,
        "vocab_size": config.padded_vocab_size,
        "expand": 16,  # which is wrong, as in a published file
        "layer_norm_epsilon": config.norm_epsilon,
        "mixer_rms_eps": config.mixer_rms_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "eos_token_id": list(config.eos_ids) or None,
    }
    return _without_none(values | changes)


def write_original(
    folder: Path,
    config: MambaConfig = CONFIG,
    weights: Mapping[str, np.ndarray] | None = None,
    *,
    dtype: str = "float32",
    says: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``pytorch_model.bin`` and ``config.json``; returns the folder."""
    folder.mkdir(exist_ok=True)
    given = dict(weights if weights is not None else mamba_weights(config))
    tensors = {name: _torch_tensor(name, array, dtype) for name, array in given.items()}
    if config.tie_embeddings and HEAD not in given:  # two names of one storage
        shared = _torch_tensor(EMBEDDING, given[EMBEDDING], dtype, key="shared")
        tensors |= {EMBEDDING: shared, HEAD: shared}
    save(folder / "pytorch_model.bin", tensors)
    write_json(folder / "config.json", original_config(config) if says is None else says)
    return folder


def write_transformers(
    folder: Path,
    config: MambaConfig = CONFIG,
    weights: Mapping[str, np.ndarray] | None = None,
    *,
    dtype: str = "float32",
    says: Mapping[str, Any] | None = None,
    shards: int = 1,
) -> Path:
    """Write ``model.safetensors``, or shards and their index, and ``config.json``."""
    folder.mkdir(exist_ok=True)
    given = weights if weights is not None else mamba_weights(config)
    tensors = {name.replace("embedding.", "embeddings."): array for name, array in given.items()}
    write_json(folder / "config.json", transformers_config(config) if says is None else says)
    if shards == 1:
        (folder / "model.safetensors").write_bytes(safetensors(tensors, dtype))
        return folder
    index: dict[str, str] = {}
    for number in range(shards):
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = dict(list(tensors.items())[number::shards])
        (folder / name).write_bytes(safetensors(part, dtype))
        index |= dict.fromkeys(part, name)
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": index})
    return folder


def write_json(path: Path, values: object) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")


def safetensors(tensors: Mapping[str, np.ndarray], dtype: str = "float32") -> bytes:
    """A file of these tensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in tensors.items():
        stored, kind = _stored(name, array, dtype)
        part = stored.tobytes()
        header[name] = {
            "dtype": _SAFETENSORS[kind],
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(part)],
        }
        data += part
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def _torch_tensor(name: str, array: np.ndarray, dtype: str, key: str | None = None) -> Tensor:
    stored, kind = _stored(name, array, dtype)
    return Tensor(stored, storage=_STORAGES[kind], key=key)


def _stored(name: str, array: np.ndarray, dtype: str) -> tuple[np.ndarray, str]:
    """A tensor's numbers as a file of a dtype has them, and the dtype that they have."""
    kind = "float32" if name.endswith(_ALWAYS_FLOAT32) else dtype
    if kind == "bfloat16":
        return (array.view(np.uint32) >> 16).astype(np.uint16), kind
    return array.astype(kind), kind


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
