"""Every option of the original's classification networks, by itself and where options meet.

A row is what differs from a small network of the test's own; add one and every comparison runs it.
"""

from typing import Any

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "overlap": {"stride": 4},
    "head_token": {"use_middle_cls_token": False},
    "mean": {"if_cls_token": False},
    "last": {"if_cls_token": False, "final_pool_type": "none"},
    "summed": {"if_divide_out": False},
    "layer_norm": {"rms_norm": False},
    "no_positions": {"if_abs_pos_embed": False},
    "other_sizes": {"d_state": 5, "d_conv": 3, "expand": 3, "dt_rank": 7},
    "double_tokens": {"use_double_cls_token": True},
    "max": {"if_cls_token": False, "final_pool_type": "max"},
    "all": {"if_cls_token": False, "final_pool_type": "all"},
    "forward_only": {"bimamba_type": "none"},
    "v1": {"bimamba_type": "v1"},
    "layer_scale": {"if_layer_scale": True},
    "layer_scale_v1": {"if_layer_scale": True, "bimamba_type": "v1"},
    "layer_scale_forward_only": {"if_layer_scale": True, "bimamba_type": "none"},
    "rope": {"if_rope": True},
    "rope_head_token": {"if_rope": True, "use_middle_cls_token": False},
    "rope_no_token": {"if_rope": True, "if_cls_token": False, "pt_hw_seq_len": 3},
    "rope_residual": {"if_rope": True, "if_rope_residual": True},
    "rope_head_token_residual": {
        "if_rope": True,
        "if_rope_residual": True,
        "use_middle_cls_token": False,
    },
    "no_conv_bias": {"conv_bias": False},
    "slow_path": {"use_fast_path": False},
    "slow_path_v1": {"use_fast_path": False, "bimamba_type": "v1"},
    "slow_path_forward_only": {"use_fast_path": False, "bimamba_type": "none"},
    "flip": {"flip_img_sequences_ratio": 1.0},
    "flip_head_token": {"flip_img_sequences_ratio": 1.0, "use_middle_cls_token": False},
    "flip_double_tokens": {"flip_img_sequences_ratio": 1.0, "use_double_cls_token": True},
    "flip_all": {
        "flip_img_sequences_ratio": 1.0,
        "if_cls_token": False,
        "final_pool_type": "all",
    },
    "flip_rope": {"flip_img_sequences_ratio": 1.0, "if_rope": True},
    "flip_rope_residual": {
        "flip_img_sequences_ratio": 1.0,
        "if_rope": True,
        "if_rope_residual": True,
        "use_middle_cls_token": False,
    },
    "flip_bidirectional_rope": {
        "flip_img_sequences_ratio": 1.0,
        "if_bidirectional": True,
        "depth": 4,
        "if_rope": True,
        "if_rope_residual": True,
    },
    "bidirectional": {"if_bidirectional": True, "depth": 4},
    "bidirectional_odd": {"if_bidirectional": True, "depth": 3},
    "bidirectional_forward_only": {
        "if_bidirectional": True,
        "depth": 4,
        "bimamba_type": "none",
    },
    "bidirectional_v1": {"if_bidirectional": True, "depth": 4, "bimamba_type": "v1"},
    "bidirectional_layer_scale": {"if_bidirectional": True, "depth": 4, "if_layer_scale": True},
    "bidirectional_rope": {"if_bidirectional": True, "depth": 4, "if_rope": True},
    "bidirectional_rope_residual": {
        "if_bidirectional": True,
        "depth": 4,
        "if_rope": True,
        "if_rope_residual": True,
    },
}
