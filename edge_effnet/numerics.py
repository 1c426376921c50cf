"""The one home of rounding: real numbers to integers and back, and the softmax.

The order is fixed: divide, round half to even, add the zero point, clip, cast (TFLite's quantization specification,
https://www.tensorflow.org/lite/performance/quantization_spec; XNNPACK rounds half to even as well). Adding an integer
after rounding equals adding it before, but doesn't lose half steps in float32. How LiteRT's kernels round sums and
products between integers, which the numpy engine repeats to the bit, stands in engines/numpy/rounding.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import UsageError


@dataclass(frozen=True)
class QuantParams:
    """real = scale · (integer − zero_point), for a whole tensor. `scale` finite and above 0, `zero_point` in int8."""

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise UsageError(f"scale {self.scale} is not a finite number above 0")
        if not -128 <= self.zero_point <= 127:
            raise UsageError(f"zero_point {self.zero_point} is not in -128..127")

    @property
    def low(self) -> float:
        """The smallest real number int8 reaches."""
        return self.scale * (-128 - self.zero_point)

    @property
    def high(self) -> float:
        """The largest real number int8 reaches."""
        return self.scale * (127 - self.zero_point)


#: What TFLite's kernels demand of LOGISTIC's int8 output.
SIGMOID_PARAMS = QuantParams(1.0 / 256.0, -128)
#: Scales below this would make requantization factors the kernels refuse.
SMALLEST_SCALE = 1e-9


def params_for_range(low: float, high: float) -> QuantParams:
    """Asymmetric int8 parameters that cover [low, high] and hold 0 exactly; a constant tensor gets a usable scale."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max((high - low) / 255.0, SMALLEST_SCALE)))
    zero_point = int(np.clip(np.rint(-128 - low / scale), -128, 127))
    return QuantParams(scale, zero_point)


def quantize(
    values: npt.ArrayLike, scale: npt.ArrayLike, zero_point: int = 0, *, dtype: Any = np.int8, low: int | None = None
) -> npt.NDArray[Any]:
    """Integers of `dtype` nearest to values / scale + zero_point, saturating; `low` narrows the range (weights: -127).

    scale broadcasts against values (per-channel scales).
    """
    limits = np.iinfo(dtype)
    rounded = np.rint(np.asarray(values, np.float64) / np.asarray(scale, np.float64)) + zero_point
    return np.clip(rounded, limits.min if low is None else low, limits.max).astype(dtype)


def dequantize(integers: npt.NDArray[Any], scale: npt.ArrayLike, zero_point: int = 0) -> npt.NDArray[np.float32]:
    """float32 numbers that the integers stand for; widened before the zero point is taken off."""
    return ((integers.astype(np.int32) - zero_point) * np.asarray(scale, np.float64)).astype(np.float32)


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32[C], sums to 1, from float32[C]; the maximum is taken off first, so nothing overflows."""
    shifted = np.exp(logits.astype(np.float64) - float(logits.max()))
    return (shifted / shifted.sum()).astype(np.float32)
