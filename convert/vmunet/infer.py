"""The configuration of a VM-UNet from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vimnp.convert.family import Shapes
from vimnp.convert.fitting import shape_of
from vimnp.convert.vmamba.infer import (
    assumptions,
    count_blocks,
    expect_model,
    fit,
    infer_options,
    infer_sizes,
)
from vimnp.convert.vmunet.recognise import refuse_kin
from vimnp.errors import CheckpointError
from vimnp.models.vmunet.config import MOST_STAGES, VMUNetConfig
from vimnp.models.vmunet.published import name_of

_LAYER = re.compile(r"layers\.([0-9]{1,6})\.blocks\.")


def infer_config(
    shapes: Shapes, settings: Mapping[str, Any], model: str | None = None
) -> tuple[VMUNetConfig, list[str]]:
    """Find the configuration that a state dict was made with.

    Parameters, results and errors are those of :func:`vimnp.convert.vmamba.infer.infer_config`.
    """
    refuse_kin(shapes)
    stages = len({match[1] for match in map(_LAYER.match, shapes) if match})
    if not 2 <= stages <= MOST_STAGES:
        raise CheckpointError(
            f"it has {stages} stages; expected 2 to {MOST_STAGES}, layers.0 to "
            f"layers.{MOST_STAGES - 1} at most"
        )
    inferred = infer_sizes(shapes, stages) | infer_options(shapes)
    inferred["depths_decoder"] = count_blocks(shapes, stages, "layers_up")
    inferred["num_classes"] = shape_of(shapes, "final_conv.weight", 4, "VM-UNet")[0]
    config = fit(VMUNetConfig, shapes, inferred, settings, "a VM-UNet")
    # A picture of even grids has no odd row to be padded or cropped.
    told = {"downsample_pad": config.downsample_pad, **settings}
    like = name_of(config)
    expect_model(model, like)
    return config, assumptions(config, told, like)
