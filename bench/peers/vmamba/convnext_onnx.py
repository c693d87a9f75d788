"""ConvNeXt for ONNX Runtime and OpenVINO; ``classifier_sizes.py`` says which.

Random weights, in a graph that is written here, so that no exporter is needed. Between its
convolutions, tokens are rows, so that biases are added within the products.
"""

from __future__ import annotations

from onnx_graph import CHANNELS, Graph

from peers.vmamba.classifier_sizes import NUM_CLASSES, ConvNeXtSizes


def convnext(sizes: ConvNeXtSizes, side: int, seed: int = 0) -> bytes:
    """Write the network with random weights.

    Parameters
    ----------
    sizes : ConvNeXtSizes
    side : int
        Height and width of the picture: a multiple of 32.
    seed : int
        Of the weights.

    Returns
    -------
    bytes
        An ONNX model: "pixels", float32 (1, 3, side, side), to "logits", float32 (1, 1000).
    """
    graph = Graph(seed)
    epsilon = sizes.norm_epsilon
    grid, first = side // sizes.patch_size, sizes.dims[0]
    x = graph.convolution("pixels", "downsample_layers.0.0", CHANNELS, first, 4, stride=4)
    x = graph.layer_norm(graph.to_tokens(x, first), "downsample_layers.0.1", first, epsilon)
    for stage, (depth, dim) in enumerate(zip(sizes.depths, sizes.dims, strict=True)):
        if stage:
            inputs, name = sizes.dims[stage - 1], f"downsample_layers.{stage}"
            x = graph.layer_norm(x, f"{name}.0", inputs, epsilon)
            planes = graph.to_planes(x, inputs, grid, grid)
            x = graph.to_tokens(graph.convolution(planes, f"{name}.1", inputs, dim, 2, 2), dim)
            grid //= 2
        for index in range(depth):
            x = _block(graph, x, f"stages.{stage}.{index}", dim, grid, sizes)
    features = graph.add("ReduceMean", x, graph.integers(0), keepdims=1)  # (1, dim)
    features = graph.layer_norm(features, "norm", dim, epsilon)
    graph.linear(features, "head", dim, NUM_CLASSES, output="logits")
    return graph.model("convnext", side)


def _block(graph: Graph, x: str, name: str, dim: int, grid: int, sizes: ConvNeXtSizes) -> str:
    """(grid^2, dim) -> (grid^2, dim)."""
    hidden = sizes.mlp_ratio * dim
    planes = graph.to_planes(x, dim, grid, grid)
    kernel = sizes.kernel_size
    y = graph.convolution(planes, f"{name}.dwconv", dim, dim, kernel, pad=kernel // 2, group=dim)
    y = graph.layer_norm(graph.to_tokens(y, dim), f"{name}.norm", dim, sizes.norm_epsilon)
    y = graph.add("Gelu", graph.linear(y, f"{name}.pwconv1", dim, hidden))
    y = graph.linear(y, f"{name}.pwconv2", hidden, dim)
    y = graph.add("Mul", y, graph.weight(f"{name}.gamma", dim, mean=1.0))
    return graph.add("Add", x, y)
