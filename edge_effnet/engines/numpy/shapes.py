"""SHAPE, STRIDED_SLICE and PACK: the arithmetic on shapes that TensorFlow's converter leaves around a free batch.

One photo is run at a time, so that every shape is known before: all of it is worked out when a file is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge_effnet.engines.numpy.operands import Array, Kernel, Node, Operand, Workspace
from edge_effnet.errors import EngineError

_TYPES = ("int32", "int64")


def known_shape(node: Node) -> Operand:
    """SHAPE's output as a constant: the sides that the file declares for its input."""
    sides = np.asarray(node.input(0).shape, node.output.dtype)
    if node.output.dtype not in _TYPES or node.output.shape != sides.shape:
        raise EngineError(
            f"{node.where} gives {node.output.dtype}{list(node.output.shape)}; expected {len(sides)} sides"
        )
    return replace(node.output, values=sides)


def strided_slice(node: Node, _workspace: Workspace) -> Kernel:
    """A part of a tensor of shapes; begins, ends and strides are constants, the masks switch them off."""
    _check_type(node)
    begin, end, step = (node.constant(index).reshape(-1) for index in (1, 2, 3))
    if node.options["ellipsis_mask"] or node.options["new_axis_mask"] or not len(begin) == len(end) == len(step):
        raise EngineError(f"{node.where} has an ellipsis or a new axis; expected begins, ends and strides alone")
    parts = tuple(
        _part(node, index, int(begin[index]), int(end[index]), int(step[index])) for index in range(len(begin))
    )

    def run(inputs: Sequence[Array], out: Array) -> None:
        out[...] = inputs[0][parts]

    return run


def _part(node: Node, index: int, begin: int, end: int, step: int) -> Any:
    bit = 1 << index
    if node.options["shrink_axis_mask"] & bit:
        return begin
    return slice(
        None if node.options["begin_mask"] & bit else begin, None if node.options["end_mask"] & bit else end, step
    )


def pack(node: Node, _workspace: Workspace) -> Kernel:
    """Tensors of one shape stacked along a new axis."""
    _check_type(node)
    axis = int(node.options["axis"])

    def run(inputs: Sequence[Array], out: Array) -> None:
        np.stack(inputs, axis=axis, out=out)

    return run


def _check_type(node: Node) -> None:
    if node.output.dtype not in _TYPES or any(
        operand is not None and operand.values is None for operand in node.inputs
    ):
        raise node.unsupported()
