"""What the operator rules share: types, scales, shapes. Each check returns what is wrong, or None."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from edge_effnet.formats.records import SHOWN
from edge_effnet.formats.tflite_tensors import TfliteTensor

Operands: TypeAlias = Sequence["TfliteTensor | None"]
#: inputs (None where one is left out), output, options → what is wrong.
Rule: TypeAlias = Callable[[Operands, TfliteTensor, Mapping[str, Any]], "str | None"]

FLOAT = "float32"
QUANTIZED = ("int8", "uint8", "int16")
#: A factor between scales: from here on XNNPACK refuses it, and the kernels' fixed point ends in abort().
LARGEST_FACTOR = 256.0
#: Below it the kernels' fixed point has no bit left, or ends in abort().
SMALLEST_FACTOR = 2.0**-31
HIGHEST_RANK = 5
_SMALLEST_SCALE = 2.0**-126  # float32's smallest normal number
_MAX_NUMBERS_BYTES = 1 << 10


def two(inputs: Operands) -> tuple[TfliteTensor, TfliteTensor]:
    """The first two inputs; `_check_one` has seen that they're there."""
    return inputs[0], inputs[1]  # type: ignore[return-value]


def one(inputs: Operands) -> TfliteTensor:
    """The first input; `_check_one` has seen that it's there."""
    return inputs[0]  # type: ignore[return-value]


def numbers(tensor: TfliteTensor | None) -> list[int] | None:
    """A small constant vector of integers; None for anything else."""
    if (
        tensor is None
        or tensor.data is None
        or tensor.dtype not in ("int32", "int64")
        or len(tensor.data) > _MAX_NUMBERS_BYTES
    ):
        return None
    return [int(value) for value in tensor.values().reshape(-1)]


def scaled(*tensors: TfliteTensor) -> str | None:
    """Integers of 8 and 16 bits need one scale above 0, and no subnormal one, on which LiteRT crashes; other types
    none.
    """
    for tensor in tensors:
        if tensor.dtype in QUANTIZED and (len(tensor.scales) != 1 or not tensor.scales[0] >= _SMALLEST_SCALE):
            found = [float(value) for value in tensor.scales[:2]]
            return (
                f"has the {tensor.dtype} tensor {tensor.name!r:.{SHOWN}} with the scales {found}; "
                f"expected one of at least {_SMALLEST_SCALE:.3g}"
            )
    return None


def factor(value: float) -> str | None:
    """A factor between scales is from SMALLEST_FACTOR to below LARGEST_FACTOR (not NaN either)."""
    if SMALLEST_FACTOR <= value < LARGEST_FACTOR:
        return None
    return f"scales by {value:.3g}; expected {SMALLEST_FACTOR:.3g} to less than {LARGEST_FACTOR:g}"


def ratio(sources: Sequence[TfliteTensor], output: TfliteTensor) -> str | None:
    """Scales of inputs against the output's, where both are integers."""
    if output.dtype not in QUANTIZED:
        return None
    factors = [float(source.scales[0]) / float(output.scales[0]) for source in sources if len(source.scales)]
    return next(filter(None, map(factor, factors)), None)


def is_shape(output: TfliteTensor, shape: Sequence[int]) -> str | None:
    """The output declares the shape that its inputs give."""
    if output.shape == tuple(shape):
        return None
    return f"declares the output {list(output.shape)}; its inputs give {list(shape)}"


def alike(source: TfliteTensor, output: TfliteTensor) -> str | None:
    """One type at both ends, scales where they're needed and not too far apart."""
    if source.dtype != output.dtype:
        return f"takes {source.dtype} and gives {output.dtype}; expected one type"
    return scaled(source, output) or ratio([source], output)
