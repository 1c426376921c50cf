"""Weights to int8: symmetric, −127..127, a scale for each output channel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_effnet.graph import DepthwiseConv2D, FloatArray, Weighted
from edge_effnet.numerics import quantize
from edge_effnet.quantization.records import QuantizedWeight

#: int32 biases stay below this, so that adding the products can't overflow.
_LARGEST_BIAS = 2.0**29


def weight_scales(node: Weighted, input_scale: float) -> FloatArray:
    """float32[out], never 0: the largest weight over 127, raised where the int32 bias would leave its range.

    A channel whose weights are all zero takes the tensor's largest scale: its value then doesn't matter, its bias does.
    """
    largest = np.abs(_by_output(node)).max(axis=1).astype(np.float64)
    fallback = largest.max() if largest.max() > 0 else 127.0
    largest[largest <= fallback * 1e-12] = fallback
    for_bias = np.abs(node.bias.astype(np.float64)) / (_LARGEST_BIAS * input_scale)
    return np.maximum(largest / 127.0, for_bias).astype(np.float32)


def round_to_nearest(node: Weighted, scales: FloatArray) -> QuantizedWeight:
    """Each weight by itself to the nearest step."""
    values = quantize(_by_output(node), scales[:, None], low=-127)
    return QuantizedWeight(_as_node(node, values), scales)


def _by_output(node: Weighted) -> FloatArray:
    """float32[out, everything else]."""
    weight = node.weight.transpose(2, 0, 1) if isinstance(node, DepthwiseConv2D) else node.weight
    return np.ascontiguousarray(weight).reshape(len(node.bias), -1)


def _as_node(node: Weighted, values: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Back from [out, everything else] to the node's layout."""
    if isinstance(node, DepthwiseConv2D):
        kernel_h, kernel_w, channels = node.weight.shape
        return np.ascontiguousarray(values.reshape(channels, kernel_h, kernel_w).transpose(1, 2, 0))
    return values.reshape(node.weight.shape)
