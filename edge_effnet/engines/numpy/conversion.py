"""QUANTIZE, DEQUANTIZE and SOFTMAX: where real numbers and integers meet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_effnet.engines.numpy.operands import INTEGERS, Array, Kernel, Node, Operand, Workspace
from edge_effnet.engines.numpy.rounding import integer_range, requantize
from edge_effnet.engines.numpy.tables import requantize_table, table_kernel

_EVERYTHING = (-np.inf, np.inf)


def quantize(node: Node, _workspace: Workspace) -> Kernel:
    """float32 → 8 bits: round(x · (1/s)) + z in float32, half to even; 8 → 8 bits: see requantize_table."""
    node.expect_shape(node.input(0).shape)
    if node.output.dtype not in INTEGERS:
        raise node.unsupported()
    if node.input(0).dtype != "float32":
        return table_kernel(node, requantize_table(node))
    target = node.affine(node.output)
    inverse = np.float32(1) / target.scale
    limits = integer_range(_EVERYTHING, target, node.output.dtype)

    def run(inputs: Sequence[Array], out: Array) -> None:
        requantize(inputs[0].astype(np.float32), inverse, target.zero_point, limits, out)

    return run


def dequantize(node: Node, _workspace: Workspace) -> Kernel:
    """float16 widened, or (x − z) · s in float32 with one scale or one for each index of an axis."""
    node.expect_shape(node.input(0).shape)
    source = node.input(0)
    if node.output.dtype != "float32" or source.dtype not in (*INTEGERS, "float16"):
        raise node.unsupported()
    if source.dtype == "float16":
        return lambda inputs, out: np.copyto(out, inputs[0])
    if len(source.scales) == 0:
        raise node.unsupported()
    scales, zero_points = _along(source, source.scales), _along(source, source.zero_points.astype(np.float32))

    def run(inputs: Sequence[Array], out: Array) -> None:
        np.subtract(inputs[0], zero_points, out=out, dtype=np.float32)
        np.multiply(out, scales, out=out)

    return run


def _along(operand: Operand, values: Array) -> Array:
    """One value, or one for each index of the operand's axis, ready to broadcast."""
    shape = [1] * len(operand.shape)
    if len(values) > 1:
        shape[operand.axis] = -1
    return values.reshape(shape)


def softmax(node: Node, _workspace: Workspace) -> Kernel:
    """exp(β·x) / Σ exp(β·x) over the last axis; 8 bits: computed on the real numbers, round(y / s_out) + z_out, half to
    even.
    """
    node.expect_shape(node.input(0).shape)
    source, output = node.input(0), node.output
    if source.dtype != output.dtype or source.dtype not in ("float32", *INTEGERS) or not source.shape:
        raise node.unsupported()
    beta = float(node.options["beta"])
    integer = source.dtype in INTEGERS
    scale = beta * float(node.affine(source).scale) if integer else beta
    limits = integer_range(_EVERYTHING, node.affine(output), output.dtype) if integer else (0, 0)

    def run(inputs: Sequence[Array], out: Array) -> None:
        values = inputs[0].astype(np.float64)
        shares = np.exp(scale * (values - values.max(axis=-1, keepdims=True)))
        shares /= shares.sum(axis=-1, keepdims=True)
        if integer:
            target = node.affine(output)
            requantize(shares, 1 / np.float64(target.scale), target.zero_point, limits, out)
        else:
            np.copyto(out, shares, casting="unsafe")

    return run
