"""Operators that move values without computing: PAD, PADV2, CONCATENATION, RESHAPE, SQUEEZE."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge_effnet.engines.numpy.operands import INTEGERS, Array, Kernel, Node, Workspace
from edge_effnet.errors import EngineError


def pad(node: Node, _workspace: Workspace) -> Kernel:
    """PAD and PADV2: zeros (the zero point) or the third input's value around each axis; paddings int[rank, 2]."""
    same_numbers(node, node.input(0).dtype == node.output.dtype)
    shape = node.input(0).shape
    amounts = node.constant(1)
    if amounts.shape != (len(shape), 2) or (amounts < 0).any():
        raise EngineError(
            f"{node.where} pads by {amounts.tolist()}; expected two numbers ≥ 0 for each of {len(shape)} axes"
        )
    node.expect_shape([side + int(before) + int(after) for side, (before, after) in zip(shape, amounts, strict=True)])
    inner = tuple(slice(int(before), int(before) + side) for side, (before, _) in zip(shape, amounts, strict=True))
    value = (
        node.constant(2).reshape(())
        if node.code == "PADV2"
        else node.affine(node.output).zero_point
        if node.output.dtype in INTEGERS
        else 0
    )

    def run(inputs: Sequence[Array], out: Array) -> None:
        out[...] = value
        out[inner] = inputs[0]

    return run


def concatenation(node: Node, _workspace: Workspace) -> Kernel:
    """The inputs one behind the other along an axis."""
    axis = int(node.options["axis"])
    rank = len(node.output.shape)
    if node.options["fused_activation_function"] != "NONE" or not -rank <= axis < rank:
        raise EngineError(
            f"{node.where} has axis {axis} and the activation {node.options['fused_activation_function']}; expected "
            f"an axis of {rank}, and NONE"
        )
    operands = [node.input(index) for index in range(len(node.inputs))]
    for operand in operands:
        same_numbers(
            node,
            operand.dtype == node.output.dtype
            and (operand.dtype not in INTEGERS or node.affine(operand) == node.affine(node.output)),
        )
    node.expect_shape(_joined(node, [operand.shape for operand in operands], axis % rank))

    def run(inputs: Sequence[Array], out: Array) -> None:
        np.concatenate(inputs, axis=axis, out=out)

    return run


def _joined(node: Node, shapes: Sequence[tuple[int, ...]], axis: int) -> tuple[int, ...]:
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    if len(rest) != 1 or len({len(shape) for shape in shapes}) != 1:
        raise EngineError(
            f"{node.where} joins {[list(shape) for shape in shapes]} along axis {axis}; their other sides differ"
        )
    first = shapes[0]
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def reshape(node: Node, _workspace: Workspace) -> Kernel:
    """RESHAPE and SQUEEZE: the same values in the shape that the file declares for the output."""
    same_numbers(node, node.input(0).dtype == node.output.dtype)
    if math.prod(node.input(0).shape) != math.prod(node.output.shape):
        raise EngineError(
            f"{node.where} turns {list(node.input(0).shape)} into {list(node.output.shape)}; the number of elements "
            "differs"
        )

    def run(inputs: Sequence[Array], out: Array) -> None:
        np.copyto(out, inputs[0].reshape(out.shape))

    return run


def same_numbers(node: Node, condition: bool) -> None:
    """Raises EngineError when a moving operator would have to convert values."""
    if not condition:
        raise EngineError(
            f"{node.where} moves values between types or scales, which the numpy engine doesn't do; use --engine litert"
        )
