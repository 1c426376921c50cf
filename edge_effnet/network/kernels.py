"""Convolutions in numpy, forward and backward: any kernel, stride, padding, dilation and groups, any batch size."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.network.geometry import NO_PADDING, Padding, conv_size, reach
from edge_effnet.network.graph import Conv2D, Convolution, DepthwiseConv2D

Array: TypeAlias = npt.NDArray[Any]
#: Bytes of one strip of a depthwise convolution: small enough for a core's second-level cache.
_STRIP_BYTES = 1 << 18


def padded(tensor: Array, padding: Padding) -> Array:
    """[N, H, W, C] with zeros around it; the tensor itself when there is nothing to add."""
    if padding == NO_PADDING:
        return tensor
    batch, height, width, channels = tensor.shape
    size = (batch, height + padding.top + padding.bottom, width + padding.left + padding.right, channels)
    result = np.zeros(size, tensor.dtype)
    inside(result, padding)[:] = tensor
    return result


def inside(tensor: Array, padding: Padding) -> Array:
    """The view of [N, H, W, C] without what `padded` added."""
    _, height, width, _ = tensor.shape
    return tensor[:, padding.top : height - padding.bottom, padding.left : width - padding.right]


def is_pointwise(node: Convolution) -> bool:
    """Whether every output pixel reads the one input pixel under it."""
    return (*node.kernel, node.stride) == (1, 1, 1) and node.padding == NO_PADDING


def window_taps(node: Convolution, source: Array) -> list[list[Array]]:
    """[kh][kw] views [N, H', W', C] of the padded input: what tap (y, x) multiplies."""
    kernel_h, kernel_w = node.kernel
    stride, step = node.stride, node.dilation
    out_h = conv_size(source.shape[1], reach(kernel_h, step), stride, 0, 0)
    out_w = conv_size(source.shape[2], reach(kernel_w, step), stride, 0, 0)

    def tap(y: int, x: int) -> Array:
        rows = slice(y * step, y * step + (out_h - 1) * stride + 1, stride)
        return source[:, rows, x * step : x * step + (out_w - 1) * stride + 1 : stride]

    return [[tap(y, x) for x in range(kernel_w)] for y in range(kernel_h)]


def depthwise_taps(node: Convolution, tensor: Array) -> list[list[Array]]:
    """`window_taps` of the unpadded input."""
    return window_taps(node, padded(tensor, node.padding))


def conv_patches(node: Conv2D, tensor: Array) -> Array:
    """[N, H', W', groups, kh·kw·in/groups]: what each output pixel sees, in the order of `weight`."""
    if is_pointwise(node):
        return tensor.reshape(*tensor.shape[:3], node.groups, -1)
    taps = [tap for line in depthwise_taps(node, tensor) for tap in line]
    grouped = [tap.reshape(*tap.shape[:3], node.groups, 1, -1) for tap in taps]
    return np.concatenate(grouped, axis=4).reshape(*taps[0].shape[:3], node.groups, -1)


def _grouped_weight(node: Conv2D, dtype: Any) -> Array:
    """[groups, kh·kw·in/groups, out/groups]."""
    return node.weight.reshape(node.groups, len(node.bias) // node.groups, -1).transpose(0, 2, 1).astype(dtype)


def convolution(node: Conv2D, tensor: Array) -> Array:
    """The sum and bias, before the activation."""
    patches = conv_patches(node, tensor)
    rows = patches.reshape(-1, *patches.shape[3:])
    weight = _grouped_weight(node, tensor.dtype)
    if node.groups == 1:
        flat = rows[:, 0] @ weight[0]
    else:
        flat = np.matmul(rows.transpose(1, 0, 2), weight).transpose(1, 0, 2).reshape(len(rows), -1)
    flat += node.bias.astype(tensor.dtype)
    return flat.reshape(*patches.shape[:3], -1)


def convolution_gradient(node: Conv2D, tensor: Array, gradient: Array) -> Array:
    """[N, H, W, in] from the gradient [N, H', W', out] of the sum."""
    grouped = gradient.reshape(-1, node.groups, len(node.bias) // node.groups).transpose(1, 0, 2)
    back = np.matmul(grouped, _grouped_weight(node, tensor.dtype).transpose(0, 2, 1))
    if is_pointwise(node):
        return back.transpose(1, 0, 2).reshape(tensor.shape)
    kernel_h, kernel_w = node.kernel
    per_tap = back.reshape(node.groups, *gradient.shape[:3], kernel_h, kernel_w, -1)
    result = np.zeros(padded(tensor[..., :1], node.padding).shape[:3] + tensor.shape[3:], tensor.dtype)
    for y, line in enumerate(window_taps(node, result)):
        for x, window in enumerate(line):
            window += per_tap[:, :, :, :, y, x].transpose(1, 2, 3, 0, 4).reshape(window.shape)
    return inside(result, node.padding)


def depthwise(node: DepthwiseConv2D, tensor: Array) -> Array:
    """The sum and bias, before the activation."""
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


def depthwise_gradient(node: DepthwiseConv2D, tensor: Array, gradient: Array) -> Array:
    """[N, H, W, C] from the gradient [N, H', W', C] of the sum."""
    result = np.zeros_like(padded(tensor, node.padding))
    for y, line in enumerate(window_taps(node, result)):
        for x, window in enumerate(line):
            window += gradient * node.weight[y, x].astype(gradient.dtype)
    return inside(result, node.padding)
