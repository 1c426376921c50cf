"""ADD, SUB and MUL with numpy's broadcasting, float32 or 8-bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from edge_effnet.engines.numpy.operands import Affine, Array, Kernel, Node, Workspace, is_float, is_integer, strip_rows
from edge_effnet.engines.numpy.rounding import clamp_float, float_range, integer_range, requantize
from edge_effnet.errors import EngineError

#: Computes one strip: left, right (or all of it where it's broadcast), output.
_Strip: TypeAlias = Callable[[Array, Array, Array], None]
#: Fraction bits that XNNPACK keeps of the larger of ADD's two factors.
_ADD_BITS = 20
#: The larger factor must lie in this range (XNNPACK's own limits; outside, 32 bits don't hold the sums).
_ADD_FACTORS = (2.0**-10, 2.0**8)
_ADD_LIMITS = (-(1 << 15), (1 << 15) - 1)


def add(node: Node, workspace: Workspace) -> Kernel:
    """left + right, then the fused activation."""
    return _in_strips(node, _float_strip(node, np.add) if is_float(node) else _integer_sum(node, 1, workspace))


def sub(node: Node, workspace: Workspace) -> Kernel:
    """left − right, then the fused activation."""
    return _in_strips(node, _float_strip(node, np.subtract) if is_float(node) else _integer_sum(node, -1, workspace))


def mul(node: Node, workspace: Workspace) -> Kernel:
    """left · right, then the fused activation."""
    return _in_strips(node, _float_strip(node, np.multiply) if is_float(node) else _integer_product(node, workspace))


def _float_strip(node: Node, operation: np.ufunc) -> _Strip:
    limits = float_range(node)

    def strip(left: Array, right: Array, out: Array) -> None:
        operation(left, right, out=out)
        clamp_float(out, limits)

    return strip


def _integer_product(node: Node, workspace: Workspace) -> _Strip:
    """out = clamp(round((a − z_a)(b − z_b) · s_a·s_b/s_out) + z_out): the product is exact, factor and scaling are
    float32.
    """
    left_affine, right_affine, target = _affines(node)
    factor = left_affine.scale * right_affine.scale / target.scale
    limits = integer_range(float_range(node), target, node.output.dtype)

    def strip(left: Array, right: Array, out: Array) -> None:
        product = workspace.array("sums", out.shape, np.float32)
        other = np.subtract(right, np.float32(right_affine.zero_point), dtype=np.float32)
        np.subtract(left, np.float32(left_affine.zero_point), out=product, dtype=np.float32)
        np.multiply(product, other, out=product)
        requantize(product, factor, target.zero_point, limits, out)

    return strip


def _integer_sum(node: Node, sign: int, workspace: Workspace) -> _Strip:
    """out = clamp((((a − z_a)·m_a ± (b − z_b)·m_b + half) >> shift) + z_out) in 32-bit integers: half up.

    m = round(s / s_out · 2^shift) with the shift that leaves the larger factor between 2^20 and 2^21; the shifted sum
    saturates to 16 bits before the zero point is added (XNNPACK, qs8-vadd).
    """
    left_affine, right_affine, target = _affines(node)
    factors = left_affine.scale / target.scale, right_affine.scale / target.scale
    if not _ADD_FACTORS[0] <= max(factors) < _ADD_FACTORS[1]:
        raise EngineError(
            f"{node.where} scales its inputs by {float(max(factors)):.3g}; expected {_ADD_FACTORS[0]:.3g} to "
            f"{_ADD_FACTORS[1]:.0f}"
        )
    shift = _ADD_BITS + 1 - int(np.frexp(max(factors))[1])
    left_factor, right_factor = (np.int32(np.rint(np.ldexp(np.float64(factor), shift))) for factor in factors)
    right_factor = np.int32(sign) * right_factor
    start = (1 << shift >> 1) - int(left_factor) * left_affine.zero_point - int(right_factor) * right_affine.zero_point
    low, high = integer_range(float_range(node), target, node.output.dtype)

    def strip(left: Array, right: Array, out: Array) -> None:
        total = workspace.array("sums", out.shape, np.int32)
        np.multiply(left, left_factor, out=total, dtype=np.int32)
        np.add(total, np.multiply(right, right_factor, dtype=np.int32), out=total)
        np.add(total, np.int32(start), out=total)
        np.right_shift(total, shift, out=total)
        np.clip(total, *_ADD_LIMITS, out=total)
        np.add(total, np.int32(target.zero_point), out=total)
        np.copyto(out, np.clip(total, low, high, out=total), casting="unsafe")

    return strip


def _affines(node: Node) -> tuple[Affine, Affine, Affine]:
    if not (is_integer(node) and node.input(1).dtype == node.output.dtype):
        raise node.unsupported()
    return node.affine(node.input(0)), node.affine(node.input(1)), node.affine(node.output)


def _in_strips(node: Node, strip: _Strip) -> Kernel:
    """Runs over the output's first axis that isn't 1, a strip at a time."""
    if node.input(1).dtype != node.input(0).dtype:
        raise node.unsupported()
    shape = node.output.shape
    node.expect_shape(np.broadcast_shapes(node.input(0).shape, node.input(1).shape))
    axis = next((index for index, size in enumerate(shape) if size > 1), None)
    if axis is None:
        return lambda inputs, out: strip(inputs[0], inputs[1], out)
    from_end = axis - len(shape)
    rows = strip_rows(int(np.prod(shape[axis + 1 :])) * np.dtype(np.float32).itemsize)

    def run(inputs: Sequence[Array], out: Array) -> None:
        for start in range(0, shape[axis], rows):
            left, right = (_cut(tensor, from_end, start, rows) for tensor in inputs[:2])
            strip(left, right, _cut(out, from_end, start, rows))

    return run


def _cut(tensor: Array, axis_from_end: int, start: int, rows: int) -> Array:
    """The rows of one axis, or the whole tensor where that axis is broadcast."""
    axis = tensor.ndim + axis_from_end
    if axis < 0 or tensor.shape[axis] == 1:
        return tensor
    return tensor[(slice(None),) * axis + (slice(start, start + rows),)]
