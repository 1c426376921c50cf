"""CONV_2D and DEPTHWISE_CONV_2D on NHWC tensors, float32 or 8-bit (the arithmetic stands in linear.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_effnet.engines.numpy.linear import Linear, linear, matrix_product
from edge_effnet.engines.numpy.operands import Array, Kernel, Node, Workspace, strip_rows
from edge_effnet.engines.numpy.windows import Windows, padded, taps, windows
from edge_effnet.errors import EngineError


def conv_2d(node: Node, workspace: Workspace) -> Kernel:
    """out[n, y, x, o] = finish(Σ in[n, y·s + i·d − top, x·s + j·d − left, c] · weight[o, i, j, c]); weight [out, kh,
    kw, in].
    """
    rule = linear(node, channel_axis=0)
    batch, height, width, channels = _nhwc(node)
    out_channels, kernel_h, kernel_w, depth = _four(rule.weight.shape, node, "weights")
    if depth != channels:
        raise EngineError(
            f"{node.where} has weights for {depth} channels on an input of {channels}; grouped convolutions are not "
            "computed by the numpy engine"
        )
    shape = windows(node, height, width, (kernel_h, kernel_w))
    node.expect_shape((batch, shape.out_height, shape.out_width, out_channels))
    matrix = _matrix(rule, out_channels)
    if shape.pointwise:
        return _pointwise(matrix, rule, workspace)
    return _patchwise(matrix, rule, shape, workspace)


def _matrix(rule: Linear, out_channels: int) -> Array:
    """[kh·kw·in, out]: the file's float weights as they lie, integers (copied anyway) in the order BLAS likes best."""
    matrix = rule.weight.reshape(out_channels, -1).T
    return matrix if rule.padding == 0 and not rule.weight.flags.owndata else np.ascontiguousarray(matrix)


def _pointwise(matrix: Array, rule: Linear, workspace: Workspace) -> Kernel:
    """1×1, stride 1: every pixel is a row of one matrix product, made strip by strip."""
    rows = strip_rows(matrix.shape[1] * matrix.itemsize)

    def run(inputs: Sequence[Array], out: Array) -> None:
        source, target = inputs[0].reshape(-1, matrix.shape[0]), out.reshape(-1, matrix.shape[1])
        for start in range(0, len(source), rows):
            strip = source[start : start + rows]
            matrix_product(_widened(strip, matrix, workspace), matrix, rule, target[start : start + rows], workspace)

    return run


def _patchwise(matrix: Array, rule: Linear, shape: Windows, workspace: Workspace) -> Kernel:
    """Any other kernel: what each output pixel sees is laid out as a row, strip by strip."""
    row_bytes = shape.out_width * max(matrix.shape) * matrix.itemsize
    rows = strip_rows(row_bytes)

    def run(inputs: Sequence[Array], out: Array) -> None:
        source = padded(inputs[0], shape, rule.padding, matrix.dtype, workspace)
        for image, target in zip(source, out, strict=True):
            for start in range(0, shape.out_height, rows):
                count = min(rows, shape.out_height - start)
                patches = workspace.array(
                    "patches", (count, shape.out_width, *shape.kernel, image.shape[-1]), matrix.dtype
                )
                for i, line in enumerate(taps(image, shape, start, count)):
                    for j, tap in enumerate(line):
                        patches[:, :, i, j] = tap
                flat = target[start : start + count].reshape(-1, matrix.shape[1])
                matrix_product(patches.reshape(len(flat), -1), matrix, rule, flat, workspace)

    return run


def _widened(strip: Array, matrix: Array, workspace: Workspace) -> Array:
    if strip.dtype == matrix.dtype:
        return strip
    wide = workspace.array("widened", strip.shape, matrix.dtype)
    np.copyto(wide, strip)
    return wide


@dataclass(frozen=True, eq=False)
class _Depthwise:
    """weight: [kh, kw, channels · multiplier] in the dtype of the sums."""

    weight: Array
    multiplier: int
    rule: Linear
    shape: Windows


def depthwise_conv_2d(node: Node, workspace: Workspace) -> Kernel:
    """out[n, y, x, c·m + k] = finish(Σ in[n, y·s + i·d − top, x·s + j·d − left, c] · weight[0, i, j, c·m + k]).

    weight [1, kh, kw, channels · m], m the depth multiplier. One multiplication and one addition of whole strips a tap.
    """
    rule = linear(node, channel_axis=3)
    batch, height, width, channels = _nhwc(node)
    one, kernel_h, kernel_w, out_channels = _four(rule.weight.shape, node, "weights")
    if one != 1 or channels == 0 or out_channels % channels:
        raise EngineError(
            f"{node.where} has weights {list(rule.weight.shape)} on an input of {channels} channels; expected [1, kh, "
            "kw, a multiple of it]"
        )
    shape = windows(node, height, width, (kernel_h, kernel_w))
    node.expect_shape((batch, shape.out_height, shape.out_width, out_channels))
    return _depthwise_kernel(_Depthwise(rule.weight[0], out_channels // channels, rule, shape), workspace)


def _depthwise_kernel(plan: _Depthwise, workspace: Workspace) -> Kernel:
    shape, weight = plan.shape, plan.weight
    rows = min(strip_rows(shape.out_width * weight.shape[-1] * weight.itemsize), shape.out_height)

    def run(inputs: Sequence[Array], out: Array) -> None:
        source = padded(inputs[0], shape, plan.rule.padding, weight.dtype, workspace, repeats=plan.multiplier)
        for image, target in zip(source, out, strict=True):
            for start in range(0, shape.out_height, rows):
                strip = target[start : start + rows]
                sums = workspace.array("sums", strip.shape, weight.dtype)
                _sum_of_taps(taps(image, shape, start, len(strip)), weight, sums, workspace)
                plan.rule.finish(sums, strip)

    return run


def _sum_of_taps(lines: list[list[Array]], weight: Array, sums: Array, workspace: Workspace) -> None:
    """sums[y, x, c] = Σ tap[i][j][y, x, c] · weight[i, j, c]."""
    product = workspace.array("product", sums.shape, sums.dtype)
    np.multiply(lines[0][0], weight[0, 0], out=sums)
    for i, line in enumerate(lines):
        for j, tap in enumerate(line):
            if i or j:
                np.multiply(tap, weight[i, j], out=product)
                np.add(sums, product, out=sums)


def _nhwc(node: Node) -> tuple[int, int, int, int]:
    return _four(node.input(0).shape, node, "input")


def _four(shape: tuple[int, ...], node: Node, what: str) -> tuple[int, int, int, int]:
    if len(shape) != 4:
        raise EngineError(f"{node.where} has the {what} {list(shape)}; expected four sides")
    return shape[0], shape[1], shape[2], shape[3]
