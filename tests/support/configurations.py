"""Any network that there can be, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vimnp.config import BIMAMBA_TYPES, POOL_TYPES, VimConfig

OPTIONS = {
    "rms_norm": st.booleans(),
    "if_abs_pos_embed": st.booleans(),
    "if_cls_token": st.booleans(),
    "use_double_cls_token": st.booleans(),
    "use_middle_cls_token": st.booleans(),
    "final_pool_type": st.sampled_from(POOL_TYPES),
    "bimamba_type": st.sampled_from(BIMAMBA_TYPES),
    "if_divide_out": st.booleans(),
    "if_bidirectional": st.booleans(),
    "if_rope": st.booleans(),
    "if_rope_residual": st.booleans(),
    "pt_hw_seq_len": st.integers(1, 20),
    "if_layer_scale": st.booleans(),
    "conv_bias": st.booleans(),
    "bias": st.booleans(),
    "channels": st.sampled_from([1, 3, 4]),
    "use_fast_path": st.booleans(),
    "flip_img_sequences_ratio": st.sampled_from([0.0, 1.0]),
}


EXPANDS = st.sampled_from([0.5, 1, 1.5, 2])


def patch_sizes(least: int, most: int) -> st.SearchStrategy[int | tuple[int, int]]:
    """Squares, and patches of two sides."""
    side = st.integers(least, most)
    return side | st.tuples(side, side)


def configurations(**sizes: st.SearchStrategy[Any]) -> st.SearchStrategy[VimConfig]:
    """Configurations of these sizes, with every combination of options that is allowed."""
    return st.builds(_fitting, **(OPTIONS | sizes))


def _fitting(**values: Any) -> VimConfig:
    """Give way where two options exclude each other."""
    if values["final_pool_type"] == "max":
        values["if_cls_token"] = False
    if values.get("expand", 1) < 1:
        values["embed_dim"] = max(values["embed_dim"], 2)  # or a mixer has no channel
    if values["if_rope"]:
        values["use_double_cls_token"] &= not values["if_cls_token"]
        values["embed_dim"] = -(-values["embed_dim"] // 4) * 4
    if values["if_bidirectional"]:
        values["depth"] = max(values["depth"], 2)
    return VimConfig(**values)
