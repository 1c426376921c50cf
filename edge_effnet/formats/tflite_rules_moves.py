"""The rules of operators that combine, convert, reduce or move values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edge_effnet.formats.tflite_rules_common import (
    FLOAT,
    HIGHEST_RANK,
    LARGEST_FACTOR,
    QUANTIZED,
    Operands,
    alike,
    is_shape,
    numbers,
    one,
    ratio,
    scaled,
    two,
)
from edge_effnet.formats.tflite_tensors import TfliteTensor

_WIDENED = ("int8", "uint8", "int16", "float16", "int4")
#: SOFTMAX's kernel takes beta · scale as a fixed-point number with so many steps, and aborts below one of them.
_SOFTMAX_STEPS = 1 << 26


def elementwise(inputs: Operands, output: TfliteTensor, _options: Mapping[str, Any]) -> str | None:
    """Two inputs of one type, broadcast against each other from the last side on."""
    left, right = two(inputs)
    if left.dtype != right.dtype:
        return f"takes {left.dtype} and {right.dtype}; expected one type"
    return _broadcast(left, right, output) or alike(left, output) or alike(right, output)


def _broadcast(left: TfliteTensor, right: TfliteTensor, output: TfliteTensor) -> str | None:
    if left.shape == right.shape == output.shape and len(output.shape) <= HIGHEST_RANK:
        return None
    rank = max(len(left.shape), len(right.shape))
    sides = [(1,) * (rank - len(tensor.shape)) + tensor.shape for tensor in (left, right)]
    if rank > HIGHEST_RANK or any(one != other and 1 not in (one, other) for one, other in zip(*sides, strict=True)):
        return f"takes {list(left.shape)} and {list(right.shape)}, which can't be combined"
    return is_shape(output, [one if other == 1 else other for one, other in zip(*sides, strict=True)])


def unary(inputs: Operands, output: TfliteTensor, _options: Mapping[str, Any]) -> str | None:
    """Every element for itself: the output has the input's type and shape."""
    source = one(inputs)
    return alike(source, output) or is_shape(output, source.shape)


def logistic(inputs: Operands, output: TfliteTensor, _options: Mapping[str, Any]) -> str | None:
    """A table of answers in 8 bits: any two scales will do."""
    source = one(inputs)
    if source.dtype != output.dtype:
        return f"takes {source.dtype} and gives {output.dtype}; expected one type"
    return scaled(source, output) or is_shape(output, source.shape)


def softmax(inputs: Operands, output: TfliteTensor, options: Mapping[str, Any]) -> str | None:
    """Over the last side; beta and scale fit the kernel's fixed point."""
    source, beta = one(inputs), options["beta"]
    if not source.shape or not math.isfinite(beta) or not 0 < beta < LARGEST_FACTOR:
        return f"has beta {beta} on {list(source.shape)}; expected a number above 0 and a tensor of at least one side"
    problem = scaled(source, output) or is_shape(output, source.shape)
    if (
        problem is None
        and source.dtype in QUANTIZED
        and not 1 < beta * float(source.scales[0]) * _SOFTMAX_STEPS < math.inf
    ):
        return f"has the scale {float(source.scales[0]):.3g}, too small for its fixed point"
    return problem


def mean(inputs: Operands, output: TfliteTensor, options: Mapping[str, Any]) -> str | None:
    """Over constant axes."""
    source = one(inputs)
    axes, rank = numbers(inputs[1]), len(source.shape)
    if axes is None or any(not -rank <= axis < rank for axis in axes) or 0 in source.shape:
        return (
            f"reduces axes {axes} of {list(source.shape)}; "
            f"expected constant ones from {-rank} to {rank - 1}, and no empty side"
        )
    reduced = {axis % rank for axis in axes}
    shape = [
        1 if index in reduced else side
        for index, side in enumerate(source.shape)
        if options["keep_dims"] or index not in reduced
    ]
    return alike(source, output) or is_shape(output, shape)


def reshape(inputs: Operands, output: TfliteTensor, options: Mapping[str, Any]) -> str | None:
    """The shape is said by the second input or by the options, with at most one -1; LiteRT goes by that, not by the
    output's. A shape that the model computes itself, as TensorFlow's converter leaves it for a free batch, is judged by
    the operators that compute it and by a trial run.
    """
    source = one(inputs)
    second = inputs[1] if len(inputs) > 1 else None
    if second is not None and second.data is None:
        return _same_elements(source, output)
    wanted = options.get("new_shape", ()) if second is None else numbers(second)
    if wanted is None or (
        wanted
        and (
            len(wanted) != len(output.shape)
            or any(one not in (-1, side) for one, side in zip(wanted, output.shape, strict=True))
        )
    ):
        return f"is told the shape {wanted} and declares the output {list(output.shape)}"
    return _same_elements(source, output)


def squeeze(inputs: Operands, output: TfliteTensor, options: Mapping[str, Any]) -> str | None:
    """Drops the named sides, or all of length 1."""
    source = one(inputs)
    rank = len(source.shape)
    if any(not -rank <= axis < rank for axis in options["squeeze_dims"]):
        return f"drops the sides {list(options['squeeze_dims'])} of {list(source.shape)}; it has {rank}"
    dropped = {axis % rank for axis in options["squeeze_dims"]} or {
        index for index, side in enumerate(source.shape) if side == 1
    }
    return _same_elements(source, output) or is_shape(
        output, [side for index, side in enumerate(source.shape) if index not in dropped]
    )


def _same_elements(source: TfliteTensor, output: TfliteTensor) -> str | None:
    if math.prod(source.shape) != math.prod(output.shape):
        return f"turns {list(source.shape)} into {list(output.shape)}; the number of elements differs"
    return None if source.dtype == output.dtype else f"takes {source.dtype} and gives {output.dtype}; expected one type"


def concatenation(inputs: Operands, output: TfliteTensor, options: Mapping[str, Any]) -> str | None:
    """Tensors alike but for one axis."""
    axis, rank = options["axis"], len(output.shape)
    shapes = [source.shape for source in inputs if source is not None]
    if (
        len(shapes) != len(inputs)
        or not shapes
        or not -rank <= axis < rank
        or any(len(shape) != rank for shape in shapes)
    ):
        return (
            f"joins {[list(shape) for shape in shapes]} along axis {axis} to {list(output.shape)}; "
            f"expected tensors of {rank} sides and one of their axes"
        )
    axis %= rank
    problem = next(filter(None, (alike(source, output) for source in inputs if source is not None)), None)
    if problem is not None:
        return problem
    if any(
        (*shape[:axis], 0, *shape[axis + 1 :]) != (*output.shape[:axis], 0, *output.shape[axis + 1 :])
        for shape in shapes
    ):
        return f"joins {[list(shape) for shape in shapes]} along axis {axis}; their other sides differ"
    return is_shape(output, (*output.shape[:axis], sum(shape[axis] for shape in shapes), *output.shape[axis + 1 :]))


def pad(inputs: Operands, output: TfliteTensor, _options: Mapping[str, Any]) -> str | None:
    """By constant amounts, with a number of the same type."""
    source, amounts = two(inputs)
    found, rank = numbers(amounts), len(source.shape)
    if found is None or amounts.shape != (rank, 2) or min(found, default=0) < 0 or rank > HIGHEST_RANK:
        return f"pads by {found}; expected two constant numbers of at least 0 for each of {rank} sides"
    value = inputs[2] if len(inputs) > 2 else None
    if value is not None and (value.dtype != source.dtype or math.prod(value.shape) != 1):
        return f"pads {source.dtype} with {value.dtype}{list(value.shape)}; expected one number of that type"
    shape = [side + found[2 * index] + found[2 * index + 1] for index, side in enumerate(source.shape)]
    return alike(source, output) or is_shape(output, shape)


def transpose(inputs: Operands, output: TfliteTensor, _options: Mapping[str, Any]) -> str | None:
    """By a constant order in which each side stands once."""
    source, order = one(inputs), numbers(inputs[1])
    if order is None or sorted(order) != list(range(len(source.shape))) or len(order) > HIGHEST_RANK:
        return f"puts the sides of {list(source.shape)} in the order {order}; expected each of them once"
    return alike(source, output) or is_shape(output, [source.shape[side] for side in order])


def quantize(inputs: Operands, output: TfliteTensor, _options: Mapping[str, Any]) -> str | None:
    """float32 or integers to integers."""
    source = one(inputs)
    if output.dtype not in QUANTIZED or source.dtype not in (FLOAT, *QUANTIZED):
        return f"takes {source.dtype} and gives {output.dtype}; expected float32 or integers to integers"
    return scaled(source, output) or is_shape(output, source.shape) or ratio([source], output)


def dequantize(inputs: Operands, output: TfliteTensor, _options: Mapping[str, Any]) -> str | None:
    """Integers with scales, or float16, to float32."""
    source = one(inputs)
    if output.dtype != FLOAT or source.dtype not in _WIDENED:
        return f"takes {source.dtype} and gives {output.dtype}; expected {', '.join(_WIDENED)} to float32"
    if source.dtype != "float16" and not len(source.scales):
        return f"takes {source.dtype} without a scale"
    return is_shape(output, source.shape)
