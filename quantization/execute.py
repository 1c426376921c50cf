"""Running a graph in numpy: the float reference for calibration, and the place where quantization is simulated.

Works on any batch size and in the dtype of its input (float32, or float64 for a reference).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.graph import (
    NO_PADDING,
    Add,
    Border,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Fused,
    GlobalMean,
    Graph,
    Mul,
    Node,
    Padding,
    Sigmoid,
    Swish,
    conv_size,
    frame_nhwc,
)

Array: TypeAlias = npt.NDArray[Any]
#: Called with every tensor as it is made (the input's name included); what it returns takes the tensor's place.
Hook: TypeAlias = Callable[[str, Array], Array]
#: Computes one node from its inputs.
Run: TypeAlias = Callable[[Node, list[Array]], Array]
#: Bytes of one strip of a depthwise convolution: small enough for a core's second-level cache.
_STRIP_BYTES = 1 << 18


def execute(graph: Graph, images: Array, *, hook: Hook | None = None, run: Run | None = None) -> Array:
    """The output [N, C] for images [N, H, W, 3]; tensors are dropped as soon as no later node reads them.

    run: computes a node in `run_node`'s place.
    """
    keep = hook or (lambda _name, tensor: tensor)
    compute = run or run_node
    tensors = {graph.input_name: keep(graph.input_name, images)}
    last_use = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    for index, node in enumerate(graph.nodes):
        tensors[node.name] = keep(node.name, compute(node, [tensors[name] for name in node.inputs]))
        for name in set(node.inputs):
            if last_use[name] == index and name != graph.output_name:
                del tensors[name]
    return tensors[graph.output_name]


def run_node(node: Node, inputs: list[Array]) -> Array:
    """One node's output from its inputs."""
    tensor = inputs[0]
    match node:
        case Conv2D():
            return _activate(_conv(node, tensor), node.activation)
        case DepthwiseConv2D():
            return _activate(_depthwise(node, tensor), node.activation)
        case Dense():
            return tensor @ node.weight.T.astype(tensor.dtype) + node.bias.astype(tensor.dtype)
        case Swish():
            return tensor * sigmoid(tensor)
        case Sigmoid():
            return sigmoid(tensor)
        case Add():
            return _activate(tensor + inputs[1], node.activation)
        case Mul():
            return tensor * inputs[1]
        case GlobalMean():
            return tensor.mean(axis=(1, 2), keepdims=node.keep_dims, dtype=np.float64).astype(tensor.dtype)
        case Border():
            result = padded(tensor, node.padding)
            return result + frame_nhwc(node, result.shape).astype(tensor.dtype)


def sigmoid(values: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow: exp of at most 88, whose reciprocal float32 still holds."""
    result = np.clip(values, -88.0, 88.0)
    np.negative(result, out=result)
    np.exp(result, out=result)
    result += 1
    return np.reciprocal(result, out=result)


def _activate(values: Array, activation: Fused) -> Array:
    return np.clip(values, 0, 6, out=values) if activation == "relu6" else values


def padded(tensor: Array, padding: Padding) -> Array:
    """[N, H, W, C] with zeros around it; the tensor itself when there is nothing to add."""
    if padding == NO_PADDING:
        return tensor
    batch, height, width, channels = tensor.shape
    result = np.zeros(
        (batch, height + padding.top + padding.bottom, width + padding.left + padding.right, channels), tensor.dtype
    )
    result[:, padding.top : padding.top + height, padding.left : padding.left + width] = tensor
    return result


def conv_patches(node: Conv2D, tensor: Array) -> Array:
    """[N, H', W', kh·kw·in]: what each output pixel of a convolution sees, in the order of `weight`."""
    kernel_h, kernel_w = node.weight.shape[1:3]
    if (kernel_h, kernel_w, node.stride, node.padding) == (1, 1, 1, NO_PADDING):
        return tensor
    windows = np.lib.stride_tricks.sliding_window_view(padded(tensor, node.padding), (kernel_h, kernel_w), axis=(1, 2))
    strided = windows[:, :: node.stride, :: node.stride].transpose(0, 1, 2, 4, 5, 3)
    return np.ascontiguousarray(strided).reshape(*strided.shape[:3], -1)


def _conv(node: Conv2D, tensor: Array) -> Array:
    patches = conv_patches(node, tensor)
    flat = patches.reshape(-1, patches.shape[-1]) @ node.weight.reshape(node.weight.shape[0], -1).T.astype(tensor.dtype)
    flat += node.bias.astype(tensor.dtype)
    return flat.reshape(*patches.shape[:3], -1)


def depthwise_taps(node: DepthwiseConv2D, tensor: Array) -> list[list[Array]]:
    """[kh][kw] views [N, H', W', C] of the padded input: what tap (y, x) multiplies."""
    kernel_h, kernel_w, _ = node.weight.shape
    source, stride = padded(tensor, node.padding), node.stride
    out_h = conv_size(source.shape[1], kernel_h, stride, 0, 0)
    out_w = conv_size(source.shape[2], kernel_w, stride, 0, 0)
    return [
        [
            source[:, y : y + (out_h - 1) * stride + 1 : stride, x : x + (out_w - 1) * stride + 1 : stride]
            for x in range(kernel_w)
        ]
        for y in range(kernel_h)
    ]


def _depthwise(node: DepthwiseConv2D, tensor: Array) -> Array:
    weight, bias = node.weight.astype(tensor.dtype), node.bias.astype(tensor.dtype)
    taps = depthwise_taps(node, tensor)
    batch, out_h, out_w, channels = taps[0][0].shape
    result = np.empty((batch, out_h, out_w, channels), tensor.dtype)
    rows = max(1, _STRIP_BYTES // (out_w * channels * tensor.itemsize * batch))
    product = np.empty((batch, min(rows, out_h), out_w, channels), tensor.dtype)
    for start in range(0, out_h, rows):
        strip = result[:, start : start + rows]
        strip[:] = bias
        scratch = product[:, : strip.shape[1]]
        for y, line in enumerate(taps):
            for x, tap in enumerate(line):
                np.multiply(tap[:, start : start + rows], weight[y, x], out=scratch)
                strip += scratch
    return result
