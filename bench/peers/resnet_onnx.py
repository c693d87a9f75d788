"""The CNN for ONNX Runtime; ``resnet_sizes.py`` says which.

Random weights, in a graph that is written here, so that no exporter is needed. ONNX Runtime fuses
each convolution with the activation, and with the sum, that follow it.
"""

from __future__ import annotations

from onnx_graph import Graph

from peers.resnet_sizes import (
    CHANNELS,
    EXPANSION,
    NUM_CLASSES,
    OUT_FEATURES,
    STAGES,
    STEM_WIDTH,
    stride_of,
)


def resnet(side: int = 224, seed: int = 0) -> bytes:
    """Write the network with random weights.

    Parameters
    ----------
    side : int
        Height and width of the picture.
    seed : int
        Of the weights.

    Returns
    -------
    bytes
        An ONNX model: "pixels", float32 (1, 3, side, side), to "logits", float32 (1, 1000).
    """
    graph = Graph(seed)
    x = _conv(graph, "pixels", "conv1", CHANNELS, STEM_WIDTH, 7, stride=2)
    x = graph.add("Relu", x)
    x = graph.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    inputs = STEM_WIDTH
    for stage, (depth, width) in enumerate(STAGES, 1):
        for index in range(depth):
            name = f"layer{stage}.{index}"
            x = _bottleneck(graph, x, name, inputs, width, stride_of(stage, index))
            inputs = EXPANSION * width
    features = graph.add("Flatten", graph.add("GlobalAveragePool", x))  # (1, OUT_FEATURES)
    graph.linear(features, "fc", OUT_FEATURES, NUM_CLASSES, output="logits")
    return graph.model("resnet", side)


def _bottleneck(graph: Graph, x: str, name: str, inputs: int, width: int, stride: int) -> str:
    """(1, inputs, H, W) -> (1, EXPANSION * width, H / stride, W / stride)."""
    outputs = EXPANSION * width
    hidden = graph.add("Relu", _conv(graph, x, f"{name}.conv1", inputs, width, 1))
    hidden = graph.add("Relu", _conv(graph, hidden, f"{name}.conv2", width, width, 3, stride))
    hidden = _conv(graph, hidden, f"{name}.conv3", width, outputs, 1)
    if inputs != outputs or stride != 1:
        x = _conv(graph, x, f"{name}.downsample", inputs, outputs, 1, stride)
    return graph.add("Relu", graph.add("Add", hidden, x))


def _conv(
    graph: Graph, x: str, name: str, inputs: int, outputs: int, size: int, stride: int = 1
) -> str:
    """A square convolution; its padding keeps height and width but for the stride."""
    return graph.convolution(x, name, inputs, outputs, size, stride, pad=size // 2)
