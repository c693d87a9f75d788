"""What a detector's backbone lacks of a Vision Mamba, though its own output needs none of it."""

from __future__ import annotations

import numpy as np

from vimnp.convert.family import NOTHING, Made, Shapes


def complete(shapes: Shapes) -> Made:
    """A last norm that multiplies by 1, where a backbone has neither a head nor such a norm.

    ``det/detectron2/modeling/backbone/vim.py`` of hustvl/Vim deletes both, and gives what the last
    layer does.
    """
    scale = shapes.get("layers.0.norm.weight")
    if scale is None or any(name.startswith(("norm_f.", "head.")) for name in shapes):
        return NOTHING
    made = {"norm_f.weight": np.ones(scale, np.float32)}
    if "layers.0.norm.bias" in shapes:
        made["norm_f.bias"] = np.zeros(scale, np.float32)
    return Made(
        made,
        "a last norm that multiplies by 1, as there is no 'norm_f.weight': what a detector reads "
        "is before it, model.intermediate_features(...)",
    )
