"""DeiT-tiny in ONNX Runtime: the transformer of Vim-tiny's size, which vimnp is measured against.

Touvron et al. 2021, https://arxiv.org/abs/2012.12877 (table 1), without distillation; names are
timm's. The weights are random and the graph is written here, so that no torch is needed.

Why this form: of twenty-odd, it is the fastest over 224, 448 and 672 pixels with 1 and 2 threads
(ONNX Runtime 1.31, AVX-512).

- Attention comes in two forms: as exports write it (MatMul, Softmax, MatMul), and as
  MultiHeadAttention, an operator of ONNX Runtime's own that no export has. It goes block by block:
  the same time at 224 pixels, 9 % less at 672 with 1 thread and 25 % less with 2.
- Gemm on matrices adds the bias itself, and three for q, k and v save a Split. Where they stand
  makes no difference to a MatMul with an Add, which ONNX Runtime turns into a Gemm anyway.
- Gelu equals its Erf form, which is fused into it. BiasGelu and SkipLayerNormalization, the other
  fusions of the Runtime's own, are slower on a CPU: 12 % of the network, 1 thread.
"""

from __future__ import annotations

import numpy as np
from onnx_graph import CHANNELS, CONTRIB, NUM_CLASSES, Graph

EMBED_DIM, DEPTH, NUM_HEADS, MLP_RATIO = 192, 12, 3, 4
PATCH_SIZE = 16
NORM_EPSILON = 1e-6


def deit_tiny(side: int = 224, seed: int = 0, blockwise: bool = False) -> bytes:
    """Write the network with random weights.

    Parameters
    ----------
    side : int
        Height and width of the picture; what exceeds a multiple of 16 is not looked at.
    seed : int
        Of the weights.
    blockwise : bool
        Attention as MultiHeadAttention, instead of as exports write it.

    Returns
    -------
    bytes
        An ONNX model: "pixels", float32 (1, 3, side, side), to "logits", float32 (1, 1000).
    """
    graph = Graph(seed)
    tokens = _embed(graph, side)  # (L, E)
    for index in range(DEPTH):
        tokens = _block(graph, tokens, f"blocks.{index}", blockwise)
    first = graph.add("Gather", tokens, graph.constant(np.array([0])), axis=0)  # (1, E)
    graph.linear(_norm(graph, first, "norm"), "head", EMBED_DIM, NUM_CLASSES, output="logits")
    return graph.model("deit_tiny", side)


def _embed(graph: Graph, side: int) -> str:
    """Patches behind the class token, each with its position, (L, E)."""
    num_patches = (side // PATCH_SIZE) ** 2
    name = "patch_embed.proj"
    patches = graph.convolution("pixels", name, CHANNELS, EMBED_DIM, PATCH_SIZE, PATCH_SIZE)
    patches = graph.to_tokens(patches, EMBED_DIM)
    tokens = graph.add("Concat", graph.weight("cls_token", 1, EMBED_DIM), patches, axis=0)
    return graph.add("Add", tokens, graph.weight("pos_embed", num_patches + 1, EMBED_DIM))


def _block(graph: Graph, tokens: str, name: str, blockwise: bool) -> str:
    """(L, E) -> (L, E)."""
    normed = _norm(graph, tokens, f"{name}.norm1")
    attended = _attention(graph, normed, f"{name}.attn", blockwise)
    tokens = graph.add("Add", tokens, attended)
    hidden = _norm(graph, tokens, f"{name}.norm2")
    hidden = graph.linear(hidden, f"{name}.mlp.fc1", EMBED_DIM, MLP_RATIO * EMBED_DIM)
    hidden = graph.add("Gelu", hidden)
    hidden = graph.linear(hidden, f"{name}.mlp.fc2", MLP_RATIO * EMBED_DIM, EMBED_DIM)
    return graph.add("Add", tokens, hidden)


def _attention(graph: Graph, tokens: str, name: str, blockwise: bool) -> str:
    """(L, E) -> (L, E)."""
    projected = [graph.linear(tokens, f"{name}.{part}", EMBED_DIM, EMBED_DIM) for part in "qkv"]
    if blockwise:  # its scale is 1 / sqrt(64) by default
        batched = [graph.reshape(part, 1, -1, EMBED_DIM) for part in projected]
        mixed = graph.add("MultiHeadAttention", *batched, domain=CONTRIB, num_heads=NUM_HEADS)
    else:
        mixed = _exported_attention(graph, *projected)
    return graph.linear(graph.reshape(mixed, -1, EMBED_DIM), f"{name}.proj", EMBED_DIM, EMBED_DIM)


def _exported_attention(graph: Graph, q: str, k: str, v: str) -> str:
    """(L, E) each -> (L, heads, E / heads)."""
    head_dim = EMBED_DIM // NUM_HEADS
    axes = ([1, 0, 2], [1, 2, 0], [1, 0, 2])  # heads first; k transposed
    q, k, v = (
        graph.add("Transpose", graph.reshape(part, -1, NUM_HEADS, head_dim), perm=perm)
        for part, perm in zip((q, k, v), axes, strict=True)
    )
    q = graph.add("Mul", q, graph.constant(np.float32(head_dim**-0.5)))
    weights = graph.add("Softmax", graph.add("MatMul", q, k), axis=-1)
    return graph.add("Transpose", graph.add("MatMul", weights, v), perm=[1, 0, 2])


def _norm(graph: Graph, tokens: str, name: str) -> str:
    return graph.layer_norm(tokens, name, EMBED_DIM, NORM_EPSILON)
