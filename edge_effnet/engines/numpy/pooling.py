"""MEAN, AVERAGE_POOL_2D and MAX_POOL_2D, float32 or 8-bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from edge_effnet.engines.numpy.operands import Array, Kernel, Node, Workspace, is_float, is_integer
from edge_effnet.engines.numpy.rounding import clamp_float, float_range, integer_range, requantize
from edge_effnet.engines.numpy.windows import Windows, taps, windows
from edge_effnet.errors import EngineError


def mean(node: Node, _workspace: Workspace) -> Kernel:
    """The mean over the axes that the second input names; a reduced side becomes 1 or, without keep_dims, goes.

    8 bits: round(Σx · f + (z_out − z_in · n · f)) with f = (s_in / s_out) · (1 / n), all in float32, half to even; the
    zero points meet before the rounding. A factor one float32 step away tips one sum in a thousand that lies near a
    half, and so a B0's scores by up to 0.02.
    """
    axes = _axes(node)
    shape = node.input(0).shape
    kept = tuple(1 if index in axes else side for index, side in enumerate(shape))
    node.expect_shape(
        kept if node.options["keep_dims"] else [side for index, side in enumerate(shape) if index not in axes]
    )
    count = math.prod(shape[axis] for axis in axes)
    if is_float(node):
        return _float_mean(axes, kept)
    if not is_integer(node):
        raise node.unsupported()
    source, target = node.affine(node.input(0)), node.affine(node.output)
    factor = source.scale / target.scale * (np.float32(1) / np.float32(count))
    offset = np.float32(target.zero_point) - np.float32(source.zero_point) * np.float32(count) * factor
    limits = integer_range((-np.inf, np.inf), target, node.output.dtype)

    def run(inputs: Sequence[Array], out: Array) -> None:
        total = np.add.reduce(inputs[0], axis=axes, dtype=np.int32, keepdims=True).astype(np.float32)
        np.multiply(total, factor, out=total)
        np.add(total, offset, out=total)
        requantize(total, np.float32(1), 0, limits, out.reshape(kept))

    return run


def _float_mean(axes: tuple[int, ...], kept: tuple[int, ...]) -> Kernel:
    """Summed in float64: a float32 sum over 12,544 pixels would lose three digits."""

    def run(inputs: Sequence[Array], out: Array) -> None:
        np.copyto(out.reshape(kept), np.mean(inputs[0], axis=axes, dtype=np.float64, keepdims=True), casting="unsafe")

    return run


def _axes(node: Node) -> tuple[int, ...]:
    rank = len(node.input(0).shape)
    given = [int(axis) for axis in node.constant(1).reshape(-1)]
    if any(not -rank <= axis < rank for axis in given) or 0 in node.input(0).shape:
        raise EngineError(
            f"{node.where} reduces axes {given} of {list(node.input(0).shape)}; expected {-rank} to {rank - 1}, and "
            "no empty side"
        )
    return tuple(sorted({axis % rank for axis in given}))


def max_pool_2d(node: Node, workspace: Workspace) -> Kernel:
    """The largest value in each window; padding never counts. 8 bits: the input's integers, scale and zero point
    unchanged.
    """
    shape = _windows(node)
    limits = _limits(node)

    def strip(image: Array, out: Array) -> None:
        lowest = -np.inf if out.dtype == np.float32 else np.iinfo(out.dtype).min
        source = _framed(image, shape, lowest, workspace)
        views = [tap for line in taps(source, shape, 0, shape.out_height) for tap in line]
        np.copyto(out, views[0])
        for tap in views[1:]:
            np.maximum(out, tap, out=out)
        _clamp(out, limits)

    return _per_image(strip)


def average_pool_2d(node: Node, workspace: Workspace) -> Kernel:
    """The mean of each window's pixels inside the image. 8 bits: Σ / n in integers, half away from 0, scales
    unchanged.
    """
    shape = _windows(node)
    limits = _limits(node)
    _, height, width, _ = node.input(0).shape
    sums_type = np.dtype(np.float32 if is_float(node) else np.int32)
    counts = np.zeros((shape.out_height, shape.out_width, 1), sums_type)
    inside = _framed(np.ones((height, width, 1), sums_type), shape, 0, workspace)
    for line in taps(inside, shape, 0, shape.out_height):
        for tap in line:
            counts += tap

    def strip(image: Array, out: Array) -> None:
        source = _framed(image, shape, 0, workspace)
        sums = workspace.array("sums", out.shape, sums_type)
        sums[:] = 0
        for line in taps(source, shape, 0, shape.out_height):
            for tap in line:
                np.add(sums, tap, out=sums)
        np.copyto(out, sums / counts if sums_type.kind == "f" else _rounded_quotient(sums, counts), casting="unsafe")
        _clamp(out, limits)

    return _per_image(strip)


def _rounded_quotient(sums: Array, counts: Array) -> Array:
    return np.sign(sums) * ((np.abs(sums) + counts // 2) // counts)


def _windows(node: Node) -> Windows:
    if not (is_float(node) or is_integer(node)) or len(node.input(0).shape) != 4:
        raise node.unsupported()
    batch, height, width, channels = node.input(0).shape
    shape = windows(node, height, width, (node.options["filter_height"], node.options["filter_width"]))
    node.expect_shape((batch, shape.out_height, shape.out_width, channels))
    return shape


def _limits(node: Node) -> tuple[float, float]:
    if is_float(node):
        return float_range(node)
    source, target = node.affine(node.input(0)), node.affine(node.output)
    if source != target:
        raise EngineError(f"{node.where} changes scale or zero point; poolings keep them")
    return integer_range(float_range(node), target, node.output.dtype)


def _clamp(out: Array, limits: tuple[float, float]) -> None:
    if out.dtype == np.float32:
        clamp_float(out, limits)
    else:
        np.clip(out, limits[0], limits[1], out=out)


def _framed(image: Array, shape: Windows, value: float, workspace: Workspace) -> Array:
    """[H, W, C] with `value` around it."""
    top, bottom, left, right = shape.pads
    if not any(shape.pads):
        return image
    height, width, channels = image.shape
    result = workspace.array("padded", (height + top + bottom, width + left + right, channels), image.dtype)
    result[:] = value
    result[top : top + height, left : left + width] = image
    return result


def _per_image(strip: Callable[[Array, Array], None]) -> Kernel:
    def run(inputs: Sequence[Array], out: Array) -> None:
        for image, target in zip(inputs[0], out, strict=True):
            strip(image, target)

    return run
