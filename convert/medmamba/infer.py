"""The configuration of a MedMamba from the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vimnp.convert.family import Shapes
from vimnp.convert.formats.naming import quoted
from vimnp.convert.vmamba.infer import (
    assumptions,
    expect_model,
    fit,
    infer_options,
    infer_sizes,
)
from vimnp.errors import CheckpointError
from vimnp.models.medmamba.config import MedMambaConfig
from vimnp.models.medmamba.published import name_of
from vimnp.models.vmamba.config import STAGES
from vimnp.weights.family import ReadTensor


def infer_config(
    shapes: Shapes, settings: Mapping[str, Any], model: str | None = None
) -> tuple[MedMambaConfig, list[str]]:
    """Find the configuration that a state dict was made with.

    Parameters, results and errors are those of :func:`vimnp.convert.vmamba.infer.infer_config`.
    """
    sizes = infer_sizes(shapes, STAGES)
    sizes["dims"] = tuple(2 * half for half in sizes["dims"])  # a block's norm is of a half
    inferred = sizes | infer_options(shapes)
    config = fit(MedMambaConfig, shapes, inferred, settings, "a MedMamba")
    like = name_of(config)
    expect_model(model, like)
    return config, assumptions(config, settings, like)


def examine(
    config: MedMambaConfig, read: ReadTensor, settings: Mapping[str, Any], model: str | None
) -> list[str]:
    """Nothing is left open, but no variance may be negative.

    Raises
    ------
    CheckpointError
        If one is.
    """
    for name in config.parameter_shapes():
        if name.endswith(".running_var") and not (read(name) >= 0).all():
            raise CheckpointError(f"{quoted(name)} has a number below 0; expected variances")
    return []
