"""Swin for ONNX Runtime and OpenVINO; ``classifier_sizes.py`` says which.

Random weights, in a graph that is written here, so that no exporter is needed. Tokens are rows. One
Gather shifts the windows and parts them, and another one puts all back.
"""

from __future__ import annotations

import numpy as np
from onnx_graph import CHANNELS, Graph

from peers.vmamba.classifier_sizes import NUM_CLASSES, SwinSizes
from peers.vmamba.windows import relative_positions, shift_mask, window_order


def swin(sizes: SwinSizes, side: int, seed: int = 0) -> bytes:
    """Write the network with random weights.

    Parameters
    ----------
    sizes : SwinSizes
    side : int
        Height and width of the picture: every stage's tokens make whole windows.
    seed : int
        Of the weights.

    Returns
    -------
    bytes
        An ONNX model: "pixels", float32 (1, 3, side, side), to "logits", float32 (1, 1000).
    """
    graph = Graph(seed)
    epsilon, patch, dim = sizes.norm_epsilon, sizes.patch_size, sizes.embed_dim
    x = graph.convolution("pixels", "patch_embed.proj", CHANNELS, dim, patch, stride=patch)
    x = graph.layer_norm(graph.to_tokens(x, dim), "patch_embed.norm", dim, epsilon)
    grid = side // patch
    for stage, depth in enumerate(sizes.depths):
        if stage:
            name = f"layers.{stage - 1}.downsample"
            x = graph.layer_norm(graph.merged(x, dim, grid, grid), f"{name}.norm", 4 * dim, epsilon)
            x = graph.linear(x, f"{name}.reduction", 4 * dim, 2 * dim, bias=False)
            grid, dim = grid // 2, 2 * dim
        for index in range(depth):
            x = _block(graph, x, f"layers.{stage}.blocks.{index}", sizes, stage, grid, index)
    x = graph.layer_norm(x, "norm", dim, epsilon)
    features = graph.add("ReduceMean", x, graph.integers(0), keepdims=1)  # (1, dim)
    graph.linear(features, "head", dim, NUM_CLASSES, output="logits")
    return graph.model("swin", side)


def _block(
    graph: Graph, x: str, name: str, sizes: SwinSizes, stage: int, grid: int, index: int
) -> str:
    """(grid^2, dim) -> (grid^2, dim)."""
    dim, epsilon = sizes.dim(stage), sizes.norm_epsilon
    shift = sizes.shift(grid, index)
    order = window_order(grid, sizes.window, shift).ravel()
    mask = shift_mask(grid, sizes.window, shift) if shift else None
    y = graph.layer_norm(x, f"{name}.norm1", dim, epsilon)
    y = graph.add("Gather", y, graph.constant(order), axis=0)
    y = _attention(graph, y, f"{name}.attn", dim, sizes.num_heads[stage], sizes.window, mask)
    y = graph.add("Gather", y, graph.constant(np.argsort(order)), axis=0)
    x = graph.add("Add", x, y)
    y = graph.layer_norm(x, f"{name}.norm2", dim, epsilon)
    y = graph.add("Gelu", graph.linear(y, f"{name}.mlp.fc1", dim, sizes.mlp_ratio * dim))
    return graph.add("Add", x, graph.linear(y, f"{name}.mlp.fc2", sizes.mlp_ratio * dim, dim))


def _attention(
    graph: Graph, x: str, name: str, dim: int, heads: int, window: int, mask: np.ndarray | None
) -> str:
    """Tokens window by window, (windows w^2, dim) -> (windows w^2, dim)."""
    head_dim, tokens = dim // heads, window**2
    table = graph.weight(f"{name}.relative_position_bias_table", (2 * window - 1) ** 2, heads)
    bias = graph.add("Gather", table, graph.constant(relative_positions(window)), axis=0)
    bias = graph.add("Transpose", bias, perm=[2, 0, 1])  # (heads, w^2, w^2)
    if mask is not None:
        bias = graph.add("Add", bias, graph.constant(mask[:, None]))  # (windows, heads, w^2, w^2)
    axes = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])  # heads before tokens; k transposed
    q, k, v = (
        graph.add(
            "Transpose",
            graph.reshape(graph.linear(x, f"{name}.{part}", dim, dim), -1, tokens, heads, head_dim),
            perm=perm,
        )
        for part, perm in zip("qkv", axes, strict=True)
    )
    q = graph.add("Mul", q, graph.constant(np.float32(head_dim**-0.5)))
    weights = graph.add("Softmax", graph.add("Add", graph.add("MatMul", q, k), bias), axis=-1)
    mixed = graph.add("Transpose", graph.add("MatMul", weights, v), perm=[0, 2, 1, 3])
    return graph.linear(graph.reshape(mixed, -1, dim), f"{name}.proj", dim, dim)
