"""ONNX operators on constants: the shape computations that exporters leave in a file, worked out.

Source of what each computes: https://onnx.ai/onnx/operators/ (opset 22, with the older forms' attributes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import OperatorError
from edge_effnet.exporters.inputs.assembly.allowance import (
    Allowance,
    broadcast_count,
    copied_count,
    joined_count,
    no_count,
)
from edge_effnet.exporters.inputs.assembly.value import refuse
from edge_effnet.exporters.inputs.onnx.reading import Step

Array: TypeAlias = npt.NDArray[Any]
Arguments: TypeAlias = Sequence[Array | None]
_CASTS: Mapping[int, Any] = {
    1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64
}  # fmt: skip


def folded(step: Step, arguments: Arguments, allowance: Allowance) -> Array:
    """The value of an operator on constants; raises OperatorError for one that isn't known, or makes too much."""
    if step.op not in FOLDS:
        refuse(f"{step.op} ({step.name!r}) on constants", f"one of {', '.join(sorted(FOLDS))}")
    try:
        allowance.spend(_count(step, arguments), f"{step.op} ({step.name!r:.80})")
        with np.errstate(all="ignore"):
            result = np.asarray(FOLDS[step.op](step, arguments))
    except OperatorError:
        raise
    except (ValueError, IndexError, TypeError, KeyError, OverflowError, MemoryError) as error:
        refuse(f"{step.op} ({step.name!r}), which can't be worked out: {error}", "operands that fit")
    return result


#: What is made by others than operators on each element.
_COUNTS: Mapping[str, Callable[[Sequence[Array]], int]] = {
    **dict.fromkeys(("Identity", "Dropout", "Constant", "Transpose", "Squeeze", "Unsqueeze"), no_count),
    **dict.fromkeys(("Shape", "Size", "Slice", "ConstantOfShape", "Expand", "Range"), no_count),
    **dict.fromkeys(("Reshape", "Flatten"), copied_count),
    "Concat": joined_count,
}


def _count(step: Step, arguments: Arguments) -> int:
    """Values that the operator makes, or goes through, at most."""
    given = [np.asarray(item) for item in arguments if item is not None]
    if step.op in ("ConstantOfShape", "Expand"):
        target = tuple(numbers(arguments[-1]))
        return math.prod(np.broadcast_shapes(given[0].shape, target) if step.op == "Expand" else target)
    if step.op == "Gather":
        sides = list(given[0].shape)
        del sides[step.attributes.get("axis", 0)]
        return given[1].size * math.prod(sides)
    if step.op == "Range":
        start, limit, delta = (float(item.reshape(-1)[0]) for item in given)
        return math.ceil(abs((limit - start) / delta)) if delta else 0
    return _COUNTS.get(step.op, broadcast_count)(given)


def numbers(array: Any) -> list[int]:
    """A small constant as ints; None gives []."""
    return [] if array is None else [int(item) for item in np.asarray(array).reshape(-1)[:64]]


def axes_of(step: Step, arguments: Arguments, place: int = 1) -> list[int] | None:
    """The axes from the attribute (older opsets) or from an input; None where neither is there."""
    if "axes" in step.attributes:
        return list(step.attributes["axes"])
    given = arguments[place] if len(arguments) > place else None
    return None if given is None else numbers(given)


def _constant(step: Step, _: Arguments) -> Array:
    for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if step.attributes.get(key) is not None:
            given = step.attributes[key]
            return given if isinstance(given, np.ndarray) else np.asarray(given)
    raise ValueError("it holds no number")


def _filled(shape: Sequence[int], value: Any) -> Array:
    if min(shape, default=0) < 0:
        raise ValueError(f"a constant of the shape {list(shape)}")
    return np.full(shape, value)


def _constant_of_shape(step: Step, arguments: Arguments) -> Array:
    value = step.attributes.get("value")
    return _filled(numbers(arguments[0]), np.float32(0) if value is None else value.reshape(-1)[0])


def _expand(_: Step, arguments: Arguments) -> Array:
    source = np.asarray(arguments[0])
    shape = np.broadcast_shapes(source.shape, tuple(numbers(arguments[1])))
    return np.array(np.broadcast_to(source, shape))


def _range(_: Step, arguments: Arguments) -> Array:
    start, limit, delta = (np.asarray(item).reshape(-1)[0] for item in arguments)
    if not delta:
        raise ValueError("a range without an end")
    return np.arange(start, limit, delta)


def sliced(step: Step, arguments: Arguments, rank: int) -> tuple[slice, ...]:
    """A Slice as Python slices, one for each axis."""
    older = "starts" in step.attributes
    given = [step.attributes.get(key) for key in ("starts", "ends", "axes")] if older else list(arguments[1:5])
    starts, ends, axes, steps = ([numbers(item) for item in given] + [[], [], []])[:4]
    axes = axes or list(range(len(starts)))
    result = [slice(None)] * rank
    for index, axis in enumerate(axes):
        stride = steps[index] if steps else 1
        stop: int | None = ends[index]
        if stride < 0 and ends[index] < -(1 << 31):
            stop = None
        result[axis] = slice(starts[index], stop, stride)
    return tuple(result)


def _slice(step: Step, arguments: Arguments) -> Array:
    source = np.asarray(arguments[0])
    parts: Any = sliced(step, arguments, source.ndim)
    return np.asarray(source[parts])


def _unsqueeze(step: Step, arguments: Arguments) -> Array:
    source, axes = np.asarray(arguments[0]), axes_of(step, arguments) or []
    return np.expand_dims(source, tuple(axes))


def _squeeze(step: Step, arguments: Arguments) -> Array:
    axes = axes_of(step, arguments)
    return np.squeeze(np.asarray(arguments[0]), None if axes is None else tuple(axes))


def shape_wanted(step: Step, given: Sequence[int], current: Sequence[int]) -> list[int]:
    """A Reshape's target with its zeros, which copy a side, replaced."""
    if step.attributes.get("allowzero"):
        return list(given)
    return [current[index] if side == 0 and index < len(current) else side for index, side in enumerate(given)]


def _reshape(step: Step, arguments: Arguments) -> Array:
    source = np.asarray(arguments[0])
    return source.reshape(shape_wanted(step, numbers(arguments[1]), source.shape))


def _reduced(function: Callable[..., Any]) -> Callable[[Step, Arguments], Array]:
    def run(step: Step, arguments: Arguments) -> Array:
        axes = axes_of(step, arguments)
        keep = bool(step.attributes.get("keepdims", 1))
        return np.asarray(function(np.asarray(arguments[0]), axis=None if axes is None else tuple(axes), keepdims=keep))

    return run


def _of_one(function: Callable[[Array], Any]) -> Callable[[Step, Arguments], Array]:
    return lambda _, arguments: np.asarray(function(np.asarray(arguments[0])))


def _of_two(function: Callable[[Array, Array], Any]) -> Callable[[Step, Arguments], Array]:
    return lambda _, arguments: np.asarray(function(np.asarray(arguments[0]), np.asarray(arguments[1])))


def _divided(left: Array, right: Array) -> Array:
    return left // right if left.dtype.kind in "iu" else left / right


def _clip(step: Step, arguments: Arguments) -> Array:
    low, high = clip_limits(step, arguments)
    return np.clip(np.asarray(arguments[0]), low, high)


def clip_limits(step: Step, arguments: Arguments) -> tuple[float, float]:
    """(lowest, highest) of a Clip: attributes up to opset 10, inputs since."""
    given = [*arguments[1:3], None, None]
    low, high = given[0], given[1]
    if low is None:
        low = step.attributes.get("min", -math.inf)
    if high is None:
        high = step.attributes.get("max", math.inf)
    return float(np.asarray(low).reshape(-1)[0]), float(np.asarray(high).reshape(-1)[0])


FOLDS: Mapping[str, Callable[[Step, Arguments], Any]] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Range": _range,
    "Identity": lambda _, arguments: arguments[0],
    "Dropout": lambda _, arguments: arguments[0],
    "Cast": lambda step, arguments: np.asarray(arguments[0]).astype(_CASTS[step.attributes.get("to", 1)]),
    "Shape": lambda _, arguments: np.asarray(np.asarray(arguments[0]).shape, np.int64),
    "Size": lambda _, arguments: np.asarray(np.asarray(arguments[0]).size, np.int64),
    "Gather": lambda step, arguments: np.take(
        np.asarray(arguments[0]), np.asarray(arguments[1]), axis=step.attributes.get("axis", 0)
    ),
    "Slice": _slice,
    "Concat": lambda step, arguments: np.concatenate(
        [np.asarray(item) for item in arguments], axis=step.attributes.get("axis", 0)
    ),
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Flatten": lambda step, arguments: np.asarray(arguments[0]).reshape(
        math.prod(np.asarray(arguments[0]).shape[: step.attributes.get("axis", 1)]), -1
    ),
    "Transpose": lambda step, arguments: np.transpose(np.asarray(arguments[0]), step.attributes.get("perm")),
    "Add": _of_two(np.add),
    "Sub": _of_two(np.subtract),
    "Mul": _of_two(np.multiply),
    "Div": _of_two(_divided),
    "Mod": _of_two(np.mod),
    "Pow": _of_two(np.power),
    "Equal": _of_two(np.equal),
    "Greater": _of_two(np.greater),
    "Less": _of_two(np.less),
    "And": _of_two(np.logical_and),
    "Or": _of_two(np.logical_or),
    "Min": lambda _, arguments: np.minimum.reduce([np.asarray(item) for item in arguments]),
    "Max": lambda _, arguments: np.maximum.reduce([np.asarray(item) for item in arguments]),
    "Not": _of_one(np.logical_not),
    "Neg": _of_one(np.negative),
    "Abs": _of_one(np.abs),
    "Ceil": _of_one(np.ceil),
    "Floor": _of_one(np.floor),
    "Round": _of_one(np.round),
    "Sqrt": _of_one(np.sqrt),
    "Reciprocal": _of_one(lambda item: 1 / item),
    "Exp": _of_one(np.exp),
    "Clip": _clip,
    "Relu": _of_one(lambda item: np.maximum(item, 0)),
    "Where": lambda _, arguments: np.where(*(np.asarray(item) for item in arguments)),
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
}
