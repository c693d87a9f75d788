"""The configuration of a Mamba language model from the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vimnp.convert.family import Shapes
from vimnp.convert.fitting import check_tensors, refuse_contradictions, shape_of
from vimnp.convert.mamba.recognise import count_layers, refuse_kin
from vimnp.convert.settings import to_text
from vimnp.errors import CheckpointError, ConfigError
from vimnp.models.mamba.config import MambaConfig
from vimnp.models.mamba.tensors import OPTIONS, SIZES
from vimnp.weights.family import ReadTensor

_UNTOLD = ("vocab_size", "norm_epsilon", "mixer_rms_eps", "eos_ids")  # by any tensor


def infer_config(
    shapes: Shapes, settings: Mapping[str, Any], model: str | None = None
) -> tuple[MambaConfig, list[str]]:
    """Find the configuration that a state dict was made with.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Every tensor of the state dict, by the original's names.
    settings : mapping of str to object
        Values of fields that ``config.json`` or the user gives.
    model : str, optional
        Of no meaning here.

    Returns
    -------
    config : MambaConfig
        Its ``parameter_shapes()`` are exactly ``shapes``.
    assumptions : list of str
        What neither the weights nor the settings told, as sentences.

    Raises
    ------
    CheckpointError
        If the network is no such Mamba, or a setting contradicts the weights.
    """
    refuse_kin(shapes)
    inferred: dict[str, Any] = {
        field: shape_of(shapes, name, dimensions, "Mamba language model")[axis]
        for field, (name, dimensions, axis) in SIZES.items()
    }
    inferred["n_layer"] = count_layers(shapes)
    for option, telling in OPTIONS.items():
        ((value, name),) = telling.items()
        inferred[option] = value if name in shapes else not value
    refuse_contradictions(settings, inferred)
    untold = {"vocab_size": inferred["padded_vocab_size"]}
    try:
        config = MambaConfig(**{**untold, **settings, **inferred})
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    check_tensors(shapes, config.parameter_shapes(), "a Mamba language model", _describe(config))
    return config, [
        f"{name}={to_text(getattr(config, name))}, {_reason(name)}"
        for name in _UNTOLD
        if name not in settings
    ]


def examine(
    config: MambaConfig, read: ReadTensor, settings: Mapping[str, Any], model: str | None
) -> list[str]:
    """Nothing: no number tells of what was assumed."""
    return []


def _describe(config: MambaConfig) -> str:
    """What was taken from names alone, so that one name too many or too few can be seen."""
    norm = "RMSNorm" if config.rms_norm else "LayerNorm"
    found = [name for name in ("bias", "conv_bias", "tie_embeddings") if getattr(config, name)]
    return f"{config.n_layer} layers with {' and '.join([norm, *found])}"


def _reason(name: str) -> str:
    if name == "vocab_size":
        return "all rows of the embedding, as no config.json tells"
    return "as no config.json tells"
