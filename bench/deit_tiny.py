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

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

EMBED_DIM, DEPTH, NUM_HEADS, MLP_RATIO = 192, 12, 3, 4
CHANNELS, PATCH_SIZE, NUM_CLASSES = 3, 16, 1000
NORM_EPSILON = 1e-6
OPSET, CONTRIB_OPSET, IR_VERSION = 20, 1, 10  # opset 20 is the first with Gelu
CONTRIB = "com.microsoft"


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
    graph = _Graph(seed)
    tokens = _embed(graph, side)  # (L, E)
    for index in range(DEPTH):
        tokens = _block(graph, tokens, f"blocks.{index}", blockwise)
    first = graph.add("Gather", tokens, graph.constant(np.array([0])), axis=0)  # (1, E)
    _linear(graph, _norm(graph, first, "norm"), NUM_CLASSES, "head", output="logits")
    return graph.model(side).SerializeToString()


def deit_session(
    side: int, num_threads: int, blockwise: bool = False
) -> Callable[[np.ndarray], np.ndarray]:
    """Prepare the network to run with so many threads, ONNX Runtime's other settings untouched.

    Parameters
    ----------
    side : int
        Height and width of the picture.
    num_threads : int
    blockwise : bool
        As for the network.

    Returns
    -------
    callable
        Maps pixels, float32 (3, side, side), to logits, float32 (1000,).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(
        deit_tiny(side, blockwise=blockwise), options, providers=["CPUExecutionProvider"]
    )

    def run(pixels: np.ndarray) -> np.ndarray:
        return session.run(["logits"], {"pixels": pixels[None]})[0][0]

    return run


class _Graph:
    """Nodes and weights, in the order in which they are added.

    Parameters
    ----------
    seed : int
        Of the weights.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append a node of one output; return the output's name."""
        output = output or f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, array: np.ndarray, name: str = "") -> str:
        name = name or f"constant_{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, *shape: int, mean: float = 0.0, std: float = 0.02) -> str:
        return self.constant(self._rng.normal(mean, std, shape).astype(np.float32), name)

    def reshape(self, values: str, *shape: int) -> str:
        return self.add("Reshape", values, self.constant(np.array(shape)))

    def model(self, side: int) -> onnx.ModelProto:
        pixels = [1, CHANNELS, side, side]
        graph = helper.make_graph(
            self._nodes,
            "deit_tiny",
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, pixels)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, NUM_CLASSES])],
            self._initializers,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, CONTRIB_OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _embed(graph: _Graph, side: int) -> str:
    """Patches behind the class token, each with its position, (L, E)."""
    num_patches = (side // PATCH_SIZE) ** 2
    kernel = [PATCH_SIZE, PATCH_SIZE]
    std = (CHANNELS * PATCH_SIZE**2) ** -0.5  # keeps the variance
    weight = graph.weight("patch_embed.proj.weight", EMBED_DIM, CHANNELS, *kernel, std=std)
    bias = graph.weight("patch_embed.proj.bias", EMBED_DIM)
    patches = graph.add("Conv", "pixels", weight, bias, kernel_shape=kernel, strides=kernel)
    patches = graph.reshape(patches, EMBED_DIM, num_patches)
    patches = graph.add("Transpose", patches, perm=[1, 0])
    tokens = graph.add("Concat", graph.weight("cls_token", 1, EMBED_DIM), patches, axis=0)
    return graph.add("Add", tokens, graph.weight("pos_embed", num_patches + 1, EMBED_DIM))


def _block(graph: _Graph, tokens: str, name: str, blockwise: bool) -> str:
    """(L, E) -> (L, E)."""
    normed = _norm(graph, tokens, f"{name}.norm1")
    attended = _attention(graph, normed, f"{name}.attn", blockwise)
    tokens = graph.add("Add", tokens, attended)
    hidden = _norm(graph, tokens, f"{name}.norm2")
    hidden = _linear(graph, hidden, MLP_RATIO * EMBED_DIM, f"{name}.mlp.fc1")
    hidden = graph.add("Gelu", hidden)
    hidden = _linear(graph, hidden, EMBED_DIM, f"{name}.mlp.fc2", MLP_RATIO * EMBED_DIM)
    return graph.add("Add", tokens, hidden)


def _attention(graph: _Graph, tokens: str, name: str, blockwise: bool) -> str:
    """(L, E) -> (L, E)."""
    projected = [_linear(graph, tokens, EMBED_DIM, f"{name}.{part}") for part in "qkv"]
    if blockwise:  # its scale is 1 / sqrt(64) by default
        batched = [graph.reshape(part, 1, -1, EMBED_DIM) for part in projected]
        mixed = graph.add("MultiHeadAttention", *batched, domain=CONTRIB, num_heads=NUM_HEADS)
    else:
        mixed = _exported_attention(graph, *projected)
    return _linear(graph, graph.reshape(mixed, -1, EMBED_DIM), EMBED_DIM, f"{name}.proj")


def _exported_attention(graph: _Graph, q: str, k: str, v: str) -> str:
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


def _norm(graph: _Graph, tokens: str, name: str) -> str:
    weight = graph.weight(f"{name}.weight", EMBED_DIM, mean=1.0)
    bias = graph.weight(f"{name}.bias", EMBED_DIM)
    return graph.add("LayerNormalization", tokens, weight, bias, epsilon=NORM_EPSILON)


def _linear(
    graph: _Graph,
    tokens: str,
    out_features: int,
    name: str,
    in_features: int = EMBED_DIM,
    output: str = "",
) -> str:
    weight = graph.weight(f"{name}.weight", in_features, out_features, std=in_features**-0.5)
    bias = graph.weight(f"{name}.bias", out_features)
    return graph.add("Gemm", tokens, weight, bias, output=output)
