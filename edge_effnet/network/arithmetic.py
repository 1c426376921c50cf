"""What operators without weights compute in numpy, forward and backward, as their rows in operators.py call it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_effnet.network.activations import Array
from edge_effnet.network.graph import Border, GlobalMean, Mul, Softmax, frame_nhwc
from edge_effnet.network.kernels import padded


def mean(node: GlobalMean, inputs: Sequence[Array]) -> Array:
    """Over height and width, summed in float64."""
    return inputs[0].mean(axis=(1, 2), keepdims=node.keep_dims, dtype=np.float64).astype(inputs[0].dtype)


def mean_gradient(_node: GlobalMean, inputs: Sequence[Array], _output: Array, gradient: Array) -> list[Array]:
    """Spread evenly over height and width."""
    height, width = inputs[0].shape[1:3]
    spread = gradient.reshape(len(gradient), 1, 1, -1) / gradient.dtype.type(height * width)
    return [np.broadcast_to(spread, inputs[0].shape)]


def product_gradient(_node: Mul, inputs: Sequence[Array], _output: Array, gradient: Array) -> list[Array]:
    """Of both factors; a gate's is summed over its channel."""
    second = gradient * inputs[0]
    if inputs[1].shape != inputs[0].shape:
        second = second.sum(axis=(1, 2), keepdims=True)
    return [gradient * inputs[1], second]


def border(node: Border, inputs: Sequence[Array]) -> Array:
    """Zeros around the image, and the border's constants on them."""
    result = padded(inputs[0], node.padding)
    return result + frame_nhwc(node, result.shape).astype(result.dtype)


def softmax(_node: Softmax, inputs: Sequence[Array]) -> Array:
    """Over the last axis, without overflow."""
    shifted = np.exp(inputs[0] - inputs[0].max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def softmax_gradient(_node: Softmax, _inputs: Sequence[Array], output: Array, gradient: Array) -> list[Array]:
    """From the probabilities themselves."""
    return [output * (gradient - (gradient * output).sum(axis=-1, keepdims=True))]
