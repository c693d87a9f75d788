"""A Mamba language model as a folder in Hugging Face's layout."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.numpy import save_file

from vimnp.models.mamba.config import MambaConfig
from vimnp.weights.family import ReadTensor


def write_folder(folder: Path, config: MambaConfig, read: ReadTensor) -> None:
    """Write ``config.json`` and ``model.safetensors``.

    Parameters
    ----------
    folder : Path
        To be made.
    config : MambaConfig
    read : callable
        A tensor of the original's state dict by name.
    """
    folder.mkdir()
    described = {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layer,
        "vocab_size": config.padded_vocab_size,
        "state_size": config.d_state,
        "conv_kernel": config.d_conv,
        "intermediate_size": config.d_inner,
        "expand": config.d_inner // config.d_model,
        "time_step_rank": config.dt_rank,
        "use_bias": config.bias,
        "use_conv_bias": config.conv_bias,
        "layer_norm_epsilon": config.norm_epsilon,
        "tie_word_embeddings": config.tie_embeddings,
    }
    (folder / "config.json").write_text(json.dumps(described, indent=1))
    tensors = {
        name.replace("backbone.embedding.", "backbone.embeddings."): read(name)
        for name in config.tensors()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
