"""Our operators in torch, one row each: NCHW tensors whose channels lie last in memory, gradients by autograd."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from edge_effnet.network.activations import FUSED_LIMITS, LEAK, Kind
from edge_effnet.network.geometry import NO_PADDING, conv_size, reach
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
    Mul,
    Node,
    Softmax,
    Weighted,
)
from edge_effnet.network.operators import fused_activation, unsupported

#: A weighted node's weight and bias in torch's layouts.
Parameters: TypeAlias = tuple[Tensor, Tensor]


def torch_layout(node: Weighted, values: npt.NDArray[Any]) -> Tensor:
    """[out, in / groups, kh, kw], or [out, in] of a dense layer; a copy."""
    match node:
        case Conv2D():
            values = values.transpose(0, 3, 1, 2)
        case DepthwiseConv2D():
            values = values.transpose(2, 0, 1)[:, None]
    return torch.from_numpy(np.ascontiguousarray(values, np.float32).copy())


def our_layout(node: Weighted, tensor: Tensor) -> npt.NDArray[Any]:
    """The node's own layout, from torch's."""
    values = tensor.numpy()
    match node:
        case Conv2D():
            values = values.transpose(0, 2, 3, 1)
        case DepthwiseConv2D():
            values = values[:, 0].transpose(1, 2, 0)
    return np.ascontiguousarray(values)


def per_output(values: Tensor, like: Tensor) -> Tensor:
    """float32[out] shaped to multiply weights in torch's layout."""
    return values.view(-1, *[1] * (like.dim() - 1))


def run(node: Node, inputs: Sequence[Tensor], parameters: Parameters | None = None) -> Tensor:
    """One node's output. parameters: of weighted nodes. Raises OperatorError for what there is no row for."""
    if type(node) not in _OPERATORS:
        raise unsupported(node, "refinement")
    low, high = FUSED_LIMITS[fused_activation(node)]
    found = _OPERATORS[type(node)](node, inputs, parameters)
    return found.clamp(low, high) if math.isfinite(low) else found


def _convolution(node: Convolution, inputs: Sequence[Tensor], parameters: Any) -> Tensor:
    weight, bias = parameters
    groups = len(bias) if isinstance(node, DepthwiseConv2D) else node.groups
    whole = isinstance(node, DepthwiseConv2D) or groups == 1
    if node.kernel == (1, 1) and node.stride == 1 and node.padding == NO_PADDING and whole:
        return _pixel_by_pixel(inputs[0], weight.flatten(1), bias)
    tensor, sides = _padded(node, inputs[0])
    return functional.conv2d(tensor, weight, bias, node.stride, sides, node.dilation, groups)


def _pixel_by_pixel(tensor: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution of one pixel, as a product of matrices or of numbers: torch's own copies for some of them."""
    pixels = tensor.permute(0, 2, 3, 1)
    depthwise = weight.shape[1] == 1 and len(bias) == pixels.shape[3]
    found = torch.addcmul(bias, pixels, weight[:, 0]) if depthwise else functional.linear(pixels, weight, bias)
    return found.permute(0, 3, 1, 2)


def _padded(node: Convolution, tensor: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """The tensor, and what the convolution is to add on both sides: a copy only where they differ.

    Pixels after the last window are trimmed off a graph's paddings; as long as no further window fits, torch may add
    them again.
    """
    pad, sizes = node.padding, tensor.shape[2:]
    for size, kernel, before, after in zip(
        sizes, node.kernel, (pad.top, pad.left), (pad.bottom, pad.right), strict=True
    ):
        window = reach(kernel, node.dilation)
        wanted, found = (conv_size(size, window, node.stride, before, end) for end in (after, before))
        if before < after or wanted != found:
            return functional.pad(tensor, (pad.left, pad.right, pad.top, pad.bottom)), (0, 0)
    return tensor, (pad.top, pad.left)


def _border(node: Border, inputs: Sequence[Tensor], _parameters: Any) -> Tensor:
    pad, values = node.padding, torch.tensor(node.values).view(1, -1, 1, 1)
    return functional.pad(inputs[0] - values, (pad.left, pad.right, pad.top, pad.bottom)) + values


_ACTIVATIONS: Mapping[Kind, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "swish": functional.silu,
        "sigmoid": torch.sigmoid,
        "relu": functional.relu,
        "relu6": functional.relu6,
        "hard_swish": functional.hardswish,
        "hard_sigmoid": functional.hardsigmoid,
        "leaky_relu": lambda values: functional.leaky_relu(values, LEAK),
        "gelu": lambda values: functional.gelu(values, approximate="tanh"),
        "tanh": torch.tanh,
    }
)
_OPERATORS: Mapping[type, Callable[[Any, Sequence[Tensor], Any], Tensor]] = MappingProxyType(
    {
        Conv2D: _convolution,
        DepthwiseConv2D: _convolution,
        Dense: lambda _node, inputs, parameters: functional.linear(inputs[0], *parameters),
        Activation: lambda node, inputs, _: _ACTIVATIONS[node.kind](inputs[0]),
        Add: lambda _node, inputs, _: inputs[0] + inputs[1],
        Mul: lambda _node, inputs, _: inputs[0] * inputs[1],
        GlobalMean: lambda node, inputs, _: inputs[0].mean((2, 3), keepdim=node.keep_dims),
        Flatten: lambda _node, inputs, _: inputs[0].permute(0, 2, 3, 1).flatten(1),
        Border: _border,
        Softmax: lambda _node, inputs, _: inputs[0].softmax(-1),
    }
)
