"""Weights to int8: symmetric, −127..127, a scale for each output channel; to the nearest step, or so that a layer's
output changes least.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_effnet.network.graph import DepthwiseConv2D, FloatArray, Weighted
from edge_effnet.numerics import quantize
from edge_effnet.quantization.measure.moments import InputMoments
from edge_effnet.quantization.records import QuantizedWeight

#: int32 biases stay below this, so that adding the products can't overflow.
_LARGEST_BIAS = 2.0**29
#: Sweeps of coordinate descent over a layer's weights; more change next to nothing.
_SWEEPS = 6
#: Columns handled together: what one changes is passed on to the others by one matrix product.
_COLUMNS = 64
#: Added to the covariance's diagonal, as a share of its mean: keeps directions that calibration never showed in check.
_DAMPING = 0.01
#: At least this share of the inputs' mean square. It only counts where inputs hardly vary, as after a single photo or a
#: constant one: there the weights would wander off for nothing, and what the mean then moves is more than a bias can
#: mend. Measured on made-up networks and one photo: the logits' error on other photos falls from 11 times the signal to
#: 0.4.
_DAMPING_OF_SQUARE = 1e-4


def weight_scales(node: Weighted, input_scale: float) -> FloatArray:
    """float32[out], never 0: the largest weight over 127, raised where the int32 bias would leave its range.

    A channel whose weights are all zero takes the tensor's largest scale: its value then doesn't matter, its bias does.
    """
    largest = np.abs(by_output(node)).max(axis=1).astype(np.float64)
    fallback = largest.max() if largest.max() > 0 else 127.0
    largest[largest <= fallback * 1e-12] = fallback
    for_bias = np.abs(node.bias.astype(np.float64)) / (_LARGEST_BIAS * input_scale)
    return np.maximum(largest / 127.0, for_bias).astype(np.float32)


def round_to_nearest(node: Weighted, scales: FloatArray) -> QuantizedWeight:
    """Each weight by itself to the nearest step."""
    values = quantize(by_output(node), scales[:, None], low=-127)
    return QuantizedWeight(_as_node(node, values), scales)


def round_for_output(node: Weighted, scales: FloatArray, moments: InputMoments) -> QuantizedWeight:
    """The steps that change the layer's output least in the mean square, its mean left to the bias correction.

    Cyclic coordinate descent on the integer least-squares problem min (W − Ŵ) Cov (W − Ŵ)ᵀ, from nearest rounding
    (Behdin et al., "QuantEase", arXiv 2309.01885). Deterministic.
    """
    covariance = _damped(moments)
    groups = len(covariance)
    weight = by_output(node).astype(np.float64).reshape(groups, -1, covariance.shape[-1])
    steps = scales.astype(np.float64).reshape(groups, -1, 1)
    values = np.clip(np.rint(weight / steps), -127, 127)
    error = weight - values * steps
    for _ in range(_SWEEPS):
        if not _sweep(weight, steps, error, covariance):
            break
    rounded = np.rint((weight - error) / steps).reshape(len(node.bias), -1)
    return QuantizedWeight(_as_node(node, rounded.astype(np.int8)), scales)


def _damped(moments: InputMoments) -> npt.NDArray[np.float64]:
    covariance, size = moments.covariance, moments.covariance.shape[-1]
    variance = np.trace(covariance, axis1=1, axis2=2)[:, None] / size
    square = np.square(moments.mean).mean(axis=1)[:, None]
    diagonal = np.maximum(_DAMPING * variance, _DAMPING_OF_SQUARE * square)
    return covariance + np.where(diagonal > 0, diagonal, 1.0)[:, :, None] * np.eye(size)


def _sweep(
    weight: npt.NDArray[np.float64],
    steps: npt.NDArray[np.float64],
    error: npt.NDArray[np.float64],
    covariance: npt.NDArray[np.float64],
) -> bool:
    """One pass over all columns, changing `error` in place; whether anything changed."""
    size, changed = covariance.shape[-1], False
    for start in range(0, size, _COLUMNS):
        block = slice(start, min(start + _COLUMNS, size))
        gradient = np.matmul(error, covariance[:, :, block])
        inner = covariance[:, block, block]
        for column in range(inner.shape[-1]):
            position = start + column
            best = error[..., position] - gradient[..., column] / inner[:, None, column, column]
            values = np.clip(np.rint((weight[..., position] - best) / steps[..., 0]), -127, 127)
            moved = weight[..., position] - values * steps[..., 0] - error[..., position]
            moved[np.abs(moved) < steps[..., 0] / 2] = 0.0
            if moved.any():
                changed = True
                error[..., position] += moved
                gradient += moved[..., None] * inner[:, None, column]
    return changed


def by_output(node: Weighted) -> FloatArray:
    """float32[out, everything else]."""
    weight = node.weight.transpose(2, 0, 1) if isinstance(node, DepthwiseConv2D) else node.weight
    return np.ascontiguousarray(weight).reshape(len(node.bias), -1)


def _as_node(node: Weighted, values: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Back from [out, everything else] to the node's layout."""
    if isinstance(node, DepthwiseConv2D):
        kernel_h, kernel_w, channels = node.weight.shape
        return np.ascontiguousarray(values.reshape(channels, kernel_h, kernel_w).transpose(1, 2, 0))
    return values.reshape(node.weight.shape)
