"""The files beside a Mamba's weights: ``config.json``, and the tokenizer's.

Sizes stand in ``config.json`` too, but in published files some are wrong, as FalconMamba's
``expand`` is: so the weights tell them. What no tensor tells is taken from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vimnp.convert.family import Beside, Shapes
from vimnp.convert.formats.naming import quoted
from vimnp.convert.formats.side_file import parse_side_file, read_side_file
from vimnp.convert.mamba.tokenizer import CONFIG, TEMPLATE, TokenizerFiles, read_tokenizer
from vimnp.errors import CheckpointError, ConfigError
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.mamba.tensors import EMBEDDING, HEAD
from vimnp.weights.metadata import TOKENIZER

_CONFIG = "config.json"
BESIDE = (_CONFIG, TOKENIZER, CONFIG, TEMPLATE)
"""All that is read beside the weights, where it is there."""

_CONFIG_LIMIT = 1 << 20  # bytes; published ones have a thousand
_MODEL_TYPES = ("mamba", "falcon_mamba")
_LAYER = "Mamba1"  # of ssm_cfg, and what it is without
_ACTIVATIONS = ("silu", "swish")  # which are one function
_FALCON_EPSILON = 1e-6  # as transformers' FalconMambaConfig has it

# The names of one thing in the original's file and in transformers'.
_D_MODEL = ("d_model", "hidden_size")
_LAYERS = ("n_layer", "num_hidden_layers")
_TIED = ("tie_embeddings", "tie_word_embeddings")


def read_beside(folder: Path, tokenizer: Path | None, shapes: Shapes) -> Beside:
    """Read what lies in a folder beside a Mamba's weights.

    Parameters
    ----------
    folder : Path
    tokenizer : Path, optional
        A ``tokenizer.json`` that must be there; by default the folder's, if it has one.
    shapes : mapping of str to tuple of int
        Of all tensors, by the original's names.

    Raises
    ------
    CheckpointError
        If a file is not sound, or ``config.json`` is of a network that is no Mamba.
    """
    place = tokenizer or folder / TOKENIZER
    found = read_tokenizer(place)
    if found is None and tokenizer is not None:
        raise CheckpointError(f"{tokenizer}: cannot be read: No such file or directory")
    path = folder / _CONFIG
    data = read_side_file(path, _CONFIG_LIMIT)
    if data is None:
        return _with_tokenizer(Beside({}, {}, str(path), files=(place,)), found)
    try:
        values = parse_side_file(path, data)
        _refuse_kin(values)
        claims = _claims(values, shapes)
        settings = _settings(values, shapes)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return _with_tokenizer(Beside(settings, claims, str(path), files=(place, path)), found)


def _with_tokenizer(beside: Beside, tokenizer: TokenizerFiles | None) -> Beside:
    if tokenizer is None:
        return beside
    settings = dict(beside.settings)
    if tokenizer.eos_id is not None:
        settings.setdefault("eos_ids", (tokenizer.eos_id,))
    return beside._replace(
        settings=settings,
        tokenizer=tokenizer.content,
        tokens=tokenizer.largest_id + 1,
        chat_template=tokenizer.chat_template,
    )


def _refuse_kin(values: Mapping[str, Any]) -> None:
    """Raise ConfigError for networks that are like a Mamba, by name."""
    if values.get("quantization_config") is not None:
        raise ConfigError(
            "has a quantization_config, so its weights are already quantised; expected the "
            "checkpoint that they were made from: quantise that with --dtype"
        )
    kind = values.get("model_type", _MODEL_TYPES[0])
    if kind not in _MODEL_TYPES:
        raise ConfigError(f"model_type is {quoted(kind)}; expected {' or '.join(_MODEL_TYPES)}")
    ssm = values.get("ssm_cfg")
    if ssm is not None and not isinstance(ssm, dict):
        raise ConfigError(f"ssm_cfg is {quoted(ssm)}; expected an object")
    layer = (ssm or {}).get("layer", _LAYER)
    if layer != _LAYER:
        raise ConfigError(
            f"ssm_cfg.layer is {quoted(layer)}; expected {_LAYER}: this is no network of the first "
            "Mamba"
        )
    if values.get("attn_layer_idx"):
        raise ConfigError(
            "attn_layer_idx names layers with attention, so this is a hybrid network; expected a "
            "Mamba in every layer"
        )
    if values.get("d_intermediate"):
        raise ConfigError(
            f"d_intermediate is {quoted(values['d_intermediate'])}, so its layers have an MLP; "
            "expected 0: mixers alone"
        )
    activation = values.get("hidden_act", _ACTIVATIONS[0])
    if activation not in _ACTIVATIONS:
        raise ConfigError(f"hidden_act is {quoted(activation)}; expected {_ACTIVATIONS[0]}")


def _claims(values: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """What the file says that the weights tell."""
    found: dict[str, Any] = {}
    for field, names in (("d_model", _D_MODEL), ("n_layer", _LAYERS)):
        for name in names:
            if name in values:
                found[field] = _count(name, values[name], least=1)
    for name in _TIED:
        if values.get(name) is None:
            continue
        if not isinstance(values[name], bool):
            raise ConfigError(f"{name} is {quoted(values[name])}; expected true or false")
        if values[name]:
            found["tie_embeddings"] = True
        elif HEAD not in shapes:
            raise ConfigError(f"{name} is false, but the weights have no {HEAD!r}; expected one")
    return found


def _settings(values: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """What no tensor tells."""
    found: dict[str, Any] = {
        "norm_epsilon": _epsilon("layer_norm_epsilon", values, MambaConfig.norm_epsilon),
        "mixer_rms_eps": _epsilon(
            "mixer_rms_eps", values, _FALCON_EPSILON if _is_falcon(values) else None
        ),
    }
    if "vocab_size" in values:
        vocab_size = _count("vocab_size", values["vocab_size"], least=1)
        rows = shapes[EMBEDDING][0] if shapes[EMBEDDING] else 0
        if vocab_size > rows:
            raise ConfigError(
                f"vocab_size is {vocab_size}, but the embedding has {rows} rows; expected a row "
                "for each id"
            )
        found["vocab_size"] = vocab_size
    ids = values.get("eos_token_id")
    if ids is not None:
        ids = ids if isinstance(ids, list) else [ids]
        found["eos_ids"] = tuple(_count("eos_token_id", i, least=0) for i in ids)
    return found


def _count(name: str, value: object, least: int) -> int:
    """A whole number; what else a hostile file may have here is not repeated at length."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 1 << 31:
        raise ConfigError(f"{name} is {quoted(value)}; expected a whole number from {least} up")
    return value


def _epsilon(name: str, values: Mapping[str, Any], default: float | None) -> float | None:
    value = values.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        what = f"{value:g}" if isinstance(value, float) else quoted(value)
        raise ConfigError(f"{name} is {what}; expected a number from 0 to below 1")
    return float(value)


def _is_falcon(values: Mapping[str, Any]) -> bool:
    """Whether it is a FalconMamba: old files of it have the model_type of a Mamba."""
    architectures = values.get("architectures")
    named = isinstance(architectures, list) and "FalconMambaForCausalLM" in architectures
    return named or values.get("model_type") == "falcon_mamba"
