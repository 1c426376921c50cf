"""TFLite operators on constants: the shape computations that converters leave in a file, and fp16 weights.

Source of what each computes: TensorFlow's API of the same names, and LiteRT's kernels (strided_slice.cc, pack.cc).
"""

from __future__ import annotations

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

Array: TypeAlias = npt.NDArray[Any]
Options: TypeAlias = Mapping[str, Any]


def folded(code: str, arguments: Sequence[Array], options: Options, allowance: Allowance) -> Array:
    """The value of an operator on constants; raises OperatorError for one that isn't known, or makes too much."""
    if code not in FOLDS:
        refuse(f"{code} on constants", f"one of {', '.join(sorted(FOLDS))}")
    try:
        allowance.spend(_COUNTS.get(code, broadcast_count)(arguments), code)
        with np.errstate(all="ignore"):
            return np.asarray(FOLDS[code](arguments, options))
    except OperatorError:
        raise
    except (ValueError, IndexError, TypeError, KeyError, OverflowError, MemoryError) as error:
        refuse(f"{code}, which can't be worked out: {error}", "operands that fit")


#: What is made by others than operators on each element.
_COUNTS: Mapping[str, Callable[[Sequence[Array]], int]] = {
    **dict.fromkeys(("STRIDED_SLICE", "CAST", "EXPAND_DIMS", "SQUEEZE", "TRANSPOSE"), no_count),
    **dict.fromkeys(("PACK", "CONCATENATION"), joined_count),
    "RESHAPE": copied_count,
    "GATHER": lambda arguments: arguments[1].size,
}


def strided_slice(arguments: Sequence[Array], options: Options) -> Array:
    """A part of a tensor of shapes: begins, ends and strides with the masks that switch them off."""
    source, begin, end, step = arguments
    parts: list[Any] = []
    for index in range(len(begin)):
        bit = 1 << index
        if options["shrink_axis_mask"] & bit:
            parts.append(int(begin[index]))
            continue
        first = None if options["begin_mask"] & bit else int(begin[index])
        last = None if options["end_mask"] & bit else int(end[index])
        parts.append(slice(first, last, int(step[index])))
    if options["ellipsis_mask"] or options["new_axis_mask"]:
        raise ValueError("an ellipsis or a new axis")
    return np.asarray(source[tuple(parts)])


def _dequantized(arguments: Sequence[Array], _: Options) -> Array:
    if arguments[0].dtype.kind != "f":
        raise ValueError("integers behind DEQUANTIZE: the file's weights are quantized already")
    return arguments[0].astype(np.float32)


FOLDS: Mapping[str, Callable[[Sequence[Array], Options], Any]] = {
    "DEQUANTIZE": _dequantized,
    "STRIDED_SLICE": strided_slice,
    "PACK": lambda arguments, options: np.stack(arguments, axis=options["axis"]),
    "CONCATENATION": lambda arguments, options: np.concatenate(arguments, axis=options["axis"]),
    "RESHAPE": lambda arguments, options: arguments[0].reshape(
        arguments[1].reshape(-1) if len(arguments) > 1 else options["new_shape"]
    ),
    "GATHER": lambda arguments, _: np.take(arguments[0], arguments[1]),
    "CAST": lambda arguments, _: arguments[0],
    "EXPAND_DIMS": lambda arguments, _: np.expand_dims(arguments[0], int(arguments[1].reshape(-1)[0])),
    "SQUEEZE": lambda arguments, _: np.squeeze(arguments[0]),
    "TRANSPOSE": lambda arguments, _: np.transpose(arguments[0], arguments[1]),
    "ADD": lambda arguments, _: np.add(*arguments),
    "SUB": lambda arguments, _: np.subtract(*arguments),
    "MUL": lambda arguments, _: np.multiply(*arguments),
    "SQRT": lambda arguments, _: np.sqrt(arguments[0]),
    "RSQRT": lambda arguments, _: 1 / np.sqrt(arguments[0]),
}
