"""How much noise in each channel of each tensor disturbs the logits, by sending random signs back through the network.

For logits noise power the right weight of a value x is the sum over logits k of (∂logit_k/∂x)². With v a vector of
random signs, the gradient of v·logits squared has that sum as its mean (Hutchinson, 1990), so one backward run for
each photo estimates all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.graph import (
    NO_PADDING,
    Add,
    Border,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalMean,
    Graph,
    Mul,
    Node,
    Padding,
    Sigmoid,
    Swish,
)
from edge_effnet.quantization.execute import execute, sigmoid

Array = npt.NDArray[Any]
Sensitivity = Mapping[str, npt.NDArray[np.float64]]


def channel_sensitivity(graph: Graph, inputs: Iterable[Array], *, seed: int) -> Sensitivity:
    """Tensor name → float64[C]: logit noise power for noise of variance 1 in every position of that channel.

    Averaged over the images [1, H, W, 3]; the image itself isn't listed. Deterministic by `seed`.
    """
    generator = np.random.default_rng(seed)
    totals: dict[str, Any] = {}
    images = 0
    for image in inputs:
        tensors: dict[str, Array] = {}
        logits = execute(graph, image, hook=lambda name, tensor, kept=tensors: kept.setdefault(name, tensor))  # type: ignore[misc]
        signs = generator.choice(np.array([-1.0, 1.0], np.float32), size=logits.shape)
        for name, gradient in _backward(graph, tensors, signs):
            flat = gradient.reshape(-1, gradient.shape[-1])
            totals[name] = totals.get(name, 0.0) + np.einsum("nc,nc->c", flat, flat, dtype=np.float64)
        images += 1
    return {name: total / images for name, total in totals.items()}


def _backward(graph: Graph, tensors: dict[str, Array], signs: Array) -> Iterable[tuple[str, Array]]:
    """(tensor name, gradient) from the output to the first node; tensors and gradients are dropped once used."""
    gradients = {graph.output_name: signs}
    for node in reversed(graph.nodes):
        gradient = gradients.pop(node.name)
        yield node.name, gradient
        for name, part in zip(
            node.inputs,
            _input_gradients(node, [tensors[name] for name in node.inputs], tensors[node.name], gradient),
            strict=True,
        ):
            if name != graph.input_name:
                gradients[name] = gradients[name] + part if name in gradients else part
        del tensors[node.name]


def _input_gradients(node: Node, inputs: list[Array], output: Array, gradient: Array) -> list[Array]:
    if getattr(node, "activation", "none") == "relu6":
        gradient = gradient * ((output > 0) & (output < 6))
    match node:
        case Conv2D():
            return [_conv_gradient(node, inputs[0], gradient)]
        case DepthwiseConv2D():
            return [_depthwise_gradient(node, inputs[0], gradient)]
        case Dense():
            return [gradient @ node.weight]
        case Swish():
            gate = sigmoid(inputs[0])
            return [gradient * gate * (1 + inputs[0] * (1 - gate))]
        case Sigmoid():
            return [gradient * output * (1 - output)]
        case Add():
            return [gradient, gradient]
        case Mul():
            gate_gradient = gradient * inputs[0]
            narrow = inputs[1].shape[1:3] == (1, 1)
            return [gradient * inputs[1], gate_gradient.sum(axis=(1, 2), keepdims=True) if narrow else gate_gradient]
        case GlobalMean():
            height, width = inputs[0].shape[1:3]
            spread = gradient.reshape(len(gradient), 1, 1, -1) / np.float32(height * width)
            return [np.broadcast_to(spread, inputs[0].shape)]
        case Border():
            return [_inside(gradient, node.padding)]


def _inside(tensor: Array, padding: Padding) -> Array:
    _, height, width, _ = tensor.shape
    return tensor[:, padding.top : height - padding.bottom, padding.left : width - padding.right]


def _conv_gradient(node: Conv2D, tensor: Array, gradient: Array) -> Array:
    """Only 1×1 convolutions pass gradients on: the stem's input is the image, whose noise isn't asked for."""
    if node.weight.shape[1:3] != (1, 1) or node.stride != 1 or node.padding != NO_PADDING:
        return np.zeros_like(tensor)
    return gradient @ node.weight[:, 0, 0, :]


def _depthwise_gradient(node: DepthwiseConv2D, tensor: Array, gradient: Array) -> Array:
    pad, stride = node.padding, node.stride
    batch, height, width, channels = tensor.shape
    result = np.zeros((batch, height + pad.top + pad.bottom, width + pad.left + pad.right, channels), tensor.dtype)
    out_h, out_w = gradient.shape[1:3]
    kernel_h, kernel_w, _ = node.weight.shape
    for y in range(kernel_h):
        for x in range(kernel_w):
            window = result[:, y : y + (out_h - 1) * stride + 1 : stride, x : x + (out_w - 1) * stride + 1 : stride]
            window += gradient * node.weight[y, x]
    return _inside(result, pad)
