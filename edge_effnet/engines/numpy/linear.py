"""What convolutions and fully-connected operators share: exact sums of products in floating point, and their finish.

BLAS multiplies floats only. Sums of 8-bit products are exact in float32 as long as no partial sum can reach 2^24; that
is decided when the file is opened, from its weights, and the few operators that could go above take float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.engines.numpy.operands import Array, Node, Workspace, is_float, is_integer
from edge_effnet.engines.numpy.rounding import clamp_float, float_range, integer_range, requantize
from edge_effnet.errors import EngineError

#: Turns sums [..., channels] (overwritten) into the operator's output of the same shape.
Finish: TypeAlias = Callable[[Array, Array], None]
_EXACT_IN_FLOAT32 = 1 << 24
_WIDEST_INPUT = {"int8": 128, "uint8": 255}


@dataclass(frozen=True, eq=False)
class Linear:
    """weight: float32 or float64 in the file's layout, integers for integer operators; sums are made in its dtype.

    padding: the value that stands for a real 0 among the inputs.
    """

    weight: Array
    padding: int
    finish: Finish


def linear(node: Node, *, channel_axis: int) -> Linear:
    """The weights and the finish of CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED; `channel_axis`: the outputs' in the
    weights.
    """
    if is_float(node) and node.input(1).dtype == "float32":
        return _float_linear(node, channel_axis)
    if is_integer(node) and node.input(1).dtype == node.output.dtype:
        return _integer_linear(node, channel_axis)
    raise node.unsupported()


def matrix_product(left: Array, right: Array, rule: Linear, out: Array, workspace: Workspace) -> None:
    """out[rows, channels] = finish(left[rows, k] @ right[k, channels])."""
    direct = out.dtype == rule.weight.dtype and out.flags.c_contiguous
    sums = out if direct else workspace.array("sums", out.shape, rule.weight.dtype)
    np.matmul(left, right, out=sums)
    rule.finish(sums, out)


def _float_linear(node: Node, axis: int) -> Linear:
    """float32: the sum, the bias, the activation."""
    weight = node.constant(1)
    bias = _bias(node, weight.shape[axis], "float32")
    limits = float_range(node)

    def finish(sums: Array, out: Array) -> None:
        np.add(sums, bias, out=out)
        clamp_float(out, limits)

    return Linear(weight, 0, finish)


def _integer_linear(node: Node, axis: int) -> Linear:
    """8 bits: out = clamp(round(acc · s_in · s_weight / s_out) + zero_point) with acc = Σ (x − z_in) · (w − z_weight) +
    bias.

    acc is an exact integer; it is converted to float32 (half to even) before the scaling, and the factor is made in
    float32 as well: XNNPACK's rule for qs8 and qu8. Σ −z_in · w is added to the bias once, so the inputs stay as they
    are.
    """
    source, target = node.affine(node.input(0)), node.affine(node.output)
    weight, scales = _integer_weight(node, axis)
    others = tuple(index for index in range(weight.ndim) if index != axis)
    bias = _bias(node, weight.shape[axis], "int32").astype(np.int64) - source.zero_point * weight.sum(axis=others)
    products = _WIDEST_INPUT[node.output.dtype] * np.abs(weight).sum(axis=others)
    finish = _integer_finish(
        bias.astype(_exact_type(products + np.abs(bias))), source.scale * scales / target.scale, node
    )
    return Linear(weight.astype(_exact_type(products)), source.zero_point, finish)


def _exact_type(largest: npt.NDArray[np.int64]) -> type[np.floating[Any]]:
    """float32 where it holds every integer up to these magnitudes, otherwise float64."""
    return np.float32 if largest.max(initial=0) < _EXACT_IN_FLOAT32 else np.float64


def _integer_finish(bias: Array, factor: npt.NDArray[np.float32], node: Node) -> Finish:
    """bias: float64 where the sum with it needs that; dead channels have tiny weight scales and so huge integer
    biases.
    """
    target = node.affine(node.output)
    limits = integer_range(float_range(node), target, node.output.dtype)

    def finish(sums: Array, out: Array) -> None:
        total = np.add(sums, bias, out=sums if sums.dtype == bias.dtype else None)
        requantize(total.astype(np.float32, copy=False), factor, target.zero_point, limits, out)

    return finish


def _integer_weight(node: Node, axis: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """(int64 weights without their zero point, float32[1] or [channels] scales)."""
    operand = node.input(1)
    if (
        len(operand.scales) not in (1, operand.shape[axis])
        or (len(operand.scales) > 1 and operand.axis != axis)
        or not (operand.scales >= 0).all()
    ):
        raise EngineError(
            f"{node.where} has {len(operand.scales)} weight scales along axis {operand.axis}; expected 1, or one a "
            f"channel along axis {axis}"
        )
    shape = [1] * len(operand.shape)
    shape[axis] = -1
    return node.constant(1).astype(np.int64) - operand.zero_points.reshape(shape), operand.scales.astype(np.float32)


def _bias(node: Node, channels: int, dtype: str) -> Array:
    """The bias, zeros where the file has none."""
    operand = node.optional(2)
    if operand is None:
        return np.zeros(channels, dtype)
    values = node.constant(2)
    if operand.dtype != dtype or operand.shape != (channels,):
        raise EngineError(
            f"{node.where} has the bias {operand.dtype}{list(operand.shape)}; expected {dtype}[{channels}]"
        )
    return values
