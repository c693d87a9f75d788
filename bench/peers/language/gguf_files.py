"""A Mamba language model in llama.cpp's files: of float32, and what its own tool makes of that."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from gguf import GGUFWriter

from vimnp.models.mamba.config import MambaConfig
from vimnp.weights.family import ReadTensor

LAYER_NAMES = {
    "norm.weight": "attn_norm.weight",
    "mixer.in_proj.weight": "ssm_in.weight",
    "mixer.conv1d.weight": "ssm_conv1d.weight",
    "mixer.conv1d.bias": "ssm_conv1d.bias",
    "mixer.x_proj.weight": "ssm_x.weight",
    "mixer.dt_proj.weight": "ssm_dt.weight",
    "mixer.dt_proj.bias": "ssm_dt.bias",
    "mixer.A_log": "ssm_a",
    "mixer.D": "ssm_d",
    "mixer.out_proj.weight": "ssm_out.weight",
}
"""llama.cpp's names of a layer's tensors, by the original's."""


def write_gguf(path: Path, config: MambaConfig, read: ReadTensor) -> None:
    """Write a file of float32, as llama.cpp's ``convert_hf_to_gguf.py`` does, with no tokenizer.

    Parameters
    ----------
    path : Path
    config : MambaConfig
        ``d_inner`` is twice ``d_model``: llama.cpp knows no other.
    read : callable
        A tensor of the original's state dict by name.
    """
    writer = GGUFWriter(path, "mamba")
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(config.padded_vocab_size)
    writer.add_context_length(1 << 20)  # it has no bound
    writer.add_embedding_length(config.d_model)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(config.n_layer)
    writer.add_ssm_conv_kernel(config.d_conv)
    writer.add_ssm_inner_size(config.d_inner)
    writer.add_ssm_state_size(config.d_state)
    writer.add_ssm_time_step_rank(config.dt_rank)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_tensor("token_embd.weight", read("backbone.embedding.weight"))
    writer.add_tensor("output_norm.weight", read("backbone.norm_f.weight"))
    for index in range(config.n_layer):
        for name, theirs in LAYER_NAMES.items():
            tensor = read(f"backbone.layers.{index}.{name}")
            if name == "mixer.A_log":
                tensor = -np.exp(tensor)
            if name == "mixer.conv1d.weight":
                tensor = tensor[:, 0]
            writer.add_tensor(f"blk.{index}.{theirs}", np.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantize(source: Path, path: Path, kind: str) -> None:
    """Write a file anew with other matrices, as llama.cpp's ``llama-quantize`` does.

    Parameters
    ----------
    source : Path
        Of float32.
    path : Path
    kind : str
        "F16", "Q8_0" or "Q4_0".

    Raises
    ------
    RuntimeError
        If llama.cpp refuses.
    """
    import llama_cpp

    from peers.language.llama_log import silence

    silence()
    kinds = {
        "F16": llama_cpp.LLAMA_FTYPE_MOSTLY_F16,
        "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
        "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
    }
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = kinds[kind]
    status = llama_cpp.llama_model_quantize(bytes(source), bytes(path), ctypes.byref(parameters))
    if status:
        raise RuntimeError(f"llama.cpp does not write {path.name} from {source.name}")
