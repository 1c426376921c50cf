"""One row an operator: its shape, what it computes, its gradient, and how channels and int8 pass through it.

Whoever handles operators elsewhere (emitters, rewrites) either handles one or raises `unsupported(node, consumer)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np

from edge_effnet.errors import GraphError, OperatorError
from edge_effnet.network.activations import FUSED_LIMITS, RESPONSES, Array, Fused
from edge_effnet.network.arithmetic import (
    border,
    mean,
    mean_gradient,
    product_gradient,
    softmax,
    softmax_gradient,
)
from edge_effnet.network.geometry import conv_size, reach
from edge_effnet.network.graph import (
    Activation,
    Add,
    Border,
    Conv2D,
    Convolution,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalMean,
    Graph,
    Mul,
    Node,
    Shape,
    Softmax,
)
from edge_effnet.network.kernels import (
    convolution,
    convolution_gradient,
    depthwise,
    depthwise_gradient,
    inside,
)

#: Output channel c depends on input channel c alone, or on all of them.
Channels: TypeAlias = Literal["each by itself", "mixed"]
#: Parameters of the output in int8: its own, or those of its first input, since the values are copied.
Int8: TypeAlias = Literal["own", "of the input"]


@dataclass(frozen=True)
class Operator:
    """What is known of one kind of node.

    shape: from the inputs' shapes, raising GraphError. evaluate: from the inputs, any batch, in their dtype. gradient:
    of each input, from inputs, output and the output's gradient. int8: whose parameters the output has, where it is
    int8 at all. macs: multiplications for an output of a shape.
    """

    name: str
    shape: Callable[[Any, Sequence[Shape]], Shape]
    evaluate: Callable[[Any, Sequence[Array]], Array]
    gradient: Callable[[Any, Sequence[Array], Array, Array], list[Array]]
    channels: Channels = "each by itself"
    int8: Int8 = "own"
    macs: Callable[[Any, Shape], int] = lambda _node, _shape: 0


def operator_of(node: Node) -> Operator:
    """The node's row; raises OperatorError for a record that is no operator."""
    try:
        return OPERATORS[type(node)]
    except KeyError:
        raise unsupported(node, "the table of operators") from None


def is_copy(node: Node) -> bool:
    """Whether the output holds values of its first input unchanged, so that int8 has one set of parameters for both."""
    return operator_of(node).int8 == "of the input"


def unsupported(node: object, consumer: str) -> OperatorError:
    """The one error for an operator that a consumer doesn't handle."""
    name = getattr(node, "name", "?")
    kind = getattr(node, "kind", None)
    what = type(node).__name__ + (f" {kind}" if kind else "")
    return OperatorError(f"node {name!r}: {consumer} doesn't handle {what}; say --precision fp32, or report it")


def output_shape(node: Node, inputs: Sequence[Shape]) -> Shape:
    """The node's output shape; raises GraphError where its inputs' shapes don't fit it or each other."""
    return operator_of(node).shape(node, inputs)


def tensor_shapes(graph: Graph) -> dict[str, Shape]:
    """Tensor name → its shape, the input's included; raises GraphError where two don't fit."""
    shapes: dict[str, Shape] = {graph.input_name: graph.input_shape}
    for node in graph.nodes:
        shapes[node.name] = output_shape(node, [shapes[name] for name in node.inputs])
    return shapes


def run_node(node: Node, inputs: Sequence[Array]) -> Array:
    """One node's output from its inputs, in their dtype."""
    return operator_of(node).evaluate(node, inputs)


def input_gradients(node: Node, inputs: Sequence[Array], output: Array, gradient: Array) -> list[Array]:
    """The gradient of each input, from that of the output; a fused activation's slope is taken first."""
    low, high = FUSED_LIMITS[fused_activation(node)]
    if math.isfinite(low):
        gradient = gradient * ((output > low) & (output < high))
    return operator_of(node).gradient(node, inputs, output, gradient)


def fused_activation(node: Node) -> Fused:
    """What the node clips its result to; "none" for operators that can't."""
    found: Fused = getattr(node, "activation", "none")
    return found


def multiplications(node: Node, shape: Shape) -> int:
    """Multiply-accumulates of a node whose output has this shape."""
    return operator_of(node).macs(node, shape)


def _clipped(node: Node, values: Array) -> Array:
    low, high = FUSED_LIMITS[fused_activation(node)]
    return np.clip(values, low, high, out=values) if math.isfinite(low) else values


def _refuse(node: Node, inputs: Sequence[Shape], expected: str) -> GraphError:
    shapes = " and ".join(str(list(shape)) for shape in inputs)
    return GraphError(f"node {node.name!r} ({operator_of(node).name}) reads {shapes}; expected {expected}")


def _image(node: Node, inputs: Sequence[Shape]) -> Shape:
    if len(inputs[0]) != 4:
        raise _refuse(node, inputs, "[N, H, W, C]")
    return inputs[0]


def _window_shape(node: Convolution, inputs: Sequence[Shape]) -> Shape:
    batch, height, width, _ = _image(node, inputs)
    pad, (kernel_h, kernel_w) = node.padding, node.kernel
    out_h = conv_size(height, reach(kernel_h, node.dilation), node.stride, pad.top, pad.bottom)
    out_w = conv_size(width, reach(kernel_w, node.dilation), node.stride, pad.left, pad.right)
    if min(out_h, out_w) < 1:
        raise _refuse(node, inputs, f"an image that a window of {kernel_h}×{kernel_w} fits into")
    return batch, out_h, out_w, len(node.bias)


def _conv_shape(node: Conv2D, inputs: Sequence[Shape]) -> Shape:
    channels = node.weight.shape[3] * node.groups
    if _image(node, inputs)[3] != channels or len(node.bias) % node.groups:
        raise _refuse(node, inputs, f"[N, H, W, {channels}] and outputs in {node.groups} equal groups")
    return _window_shape(node, inputs)


def _depthwise_shape(node: DepthwiseConv2D, inputs: Sequence[Shape]) -> Shape:
    if _image(node, inputs)[3] != node.weight.shape[2]:
        raise _refuse(node, inputs, f"[N, H, W, {node.weight.shape[2]}]")
    return _window_shape(node, inputs)


def _dense_shape(node: Dense, inputs: Sequence[Shape]) -> Shape:
    if len(inputs[0]) != 2 or inputs[0][1] != node.weight.shape[1]:
        raise _refuse(node, inputs, f"[N, {node.weight.shape[1]}]")
    return inputs[0][0], len(node.bias)


def _equal_shape(node: Add, inputs: Sequence[Shape]) -> Shape:
    if inputs[0] != inputs[1]:
        raise _refuse(node, inputs, "two of one shape")
    return inputs[0]


def _product_shape(node: Mul, inputs: Sequence[Shape]) -> Shape:
    first, second = inputs
    if second != first and (len(first) != 4 or second != (first[0], 1, 1, first[3])):
        raise _refuse(node, inputs, "two of one shape, or [N, H, W, C] and its gate [N, 1, 1, C]")
    return first


def _mean_shape(node: GlobalMean, inputs: Sequence[Shape]) -> Shape:
    batch, _, _, channels = _image(node, inputs)
    return (batch, 1, 1, channels) if node.keep_dims else (batch, channels)


def _border_shape(node: Border, inputs: Sequence[Shape]) -> Shape:
    batch, height, width, channels = _image(node, inputs)
    if len(node.values) != channels:
        raise _refuse(node, inputs, f"[N, H, W, {len(node.values)}]")
    pad = node.padding
    return batch, height + pad.top + pad.bottom, width + pad.left + pad.right, channels


def _flat_shape(node: Flatten, inputs: Sequence[Shape]) -> Shape:
    batch, *sides = _image(node, inputs)
    return batch, math.prod(sides)


def _row_shape(node: Softmax, inputs: Sequence[Shape]) -> Shape:
    if len(inputs[0]) != 2:
        raise _refuse(node, inputs, "[N, C]")
    return inputs[0]


def _dense(node: Dense, inputs: Sequence[Array]) -> Array:
    dtype = inputs[0].dtype
    return _clipped(node, inputs[0] @ node.weight.T.astype(dtype) + node.bias.astype(dtype))


OPERATORS: Mapping[type, Operator] = MappingProxyType(
    {
        Conv2D: Operator(
            "convolution",
            _conv_shape,
            lambda node, inputs: _clipped(node, convolution(node, inputs[0])),
            lambda node, inputs, _, gradient: [convolution_gradient(node, inputs[0], gradient)],
            channels="mixed",
            macs=lambda node, shape: math.prod(shape) * math.prod(node.weight.shape[1:]),
        ),
        DepthwiseConv2D: Operator(
            "depthwise convolution",
            _depthwise_shape,
            lambda node, inputs: _clipped(node, depthwise(node, inputs[0])),
            lambda node, inputs, _, gradient: [depthwise_gradient(node, inputs[0], gradient)],
            macs=lambda node, shape: math.prod(shape) * math.prod(node.kernel),
        ),
        Dense: Operator(
            "dense",
            _dense_shape,
            _dense,
            lambda node, _inputs, _output, gradient: [gradient @ node.weight.astype(gradient.dtype)],
            channels="mixed",
            macs=lambda node, _shape: node.weight.size,
        ),
        Activation: Operator(
            "activation",
            lambda _node, inputs: inputs[0],
            lambda node, inputs: np.asarray(RESPONSES[node.kind].value(inputs[0])),
            lambda node, inputs, _, gradient: [gradient * RESPONSES[node.kind].slope(inputs[0])],
        ),
        Add: Operator(
            "sum",
            _equal_shape,
            lambda node, inputs: _clipped(node, inputs[0] + inputs[1]),
            lambda _node, _inputs, _output, gradient: [gradient, gradient],
        ),
        Mul: Operator("product", _product_shape, lambda _node, inputs: inputs[0] * inputs[1], product_gradient),
        GlobalMean: Operator("global mean", _mean_shape, mean, mean_gradient),
        Flatten: Operator(
            "flatten",
            _flat_shape,
            lambda _node, inputs: inputs[0].reshape(len(inputs[0]), -1),
            lambda _node, inputs, _, gradient: [gradient.reshape(inputs[0].shape)],
            channels="mixed",
        ),
        Border: Operator(
            "border",
            _border_shape,
            border,
            lambda node, _inputs, _output, gradient: [inside(gradient, node.padding)],
            int8="of the input",
        ),
        Softmax: Operator("softmax", _row_shape, softmax, softmax_gradient, channels="mixed"),
    }
)
