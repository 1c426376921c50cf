"""How LiteRT turns sums into 8-bit integers. Each rule was found by comparing with ai-edge-litert 2.3.0 on random
inputs.

Two families. XNNPACK, which runs most operators, multiplies by a float32 factor, rounds half to even and adds the zero
point (`requantize`). TFLite's own kernels, which run what XNNPACK leaves (RELU between scales, HARD_SWISH, QUANTIZE
from uint8 to int8), multiply by a 32-bit fixed-point factor (`multiply_fixed_point`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_effnet.engines.numpy.operands import Affine, Array, Node
from edge_effnet.errors import EngineError

_INT32_BITS = 31
_FLOAT_RANGES = {"NONE": (-np.inf, np.inf), "RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}


def float_range(node: Node) -> tuple[float, float]:
    """(lowest, highest) real value that the fused activation lets through."""
    name = node.options.get("fused_activation_function", "NONE")
    if name not in _FLOAT_RANGES:
        raise EngineError(
            f"{node.where} has the fused activation {name}; the numpy engine knows {', '.join(_FLOAT_RANGES)}"
        )
    return _FLOAT_RANGES[name]


def clamp_float(values: Array, limits: tuple[float, float]) -> None:
    """Clamps in place; nothing to do for an infinite range."""
    low, high = limits
    if np.isfinite(low):
        np.maximum(values, np.float32(low), out=values)
    if np.isfinite(high):
        np.minimum(values, np.float32(high), out=values)


def integer_range(limits: tuple[float, float], affine: Affine, dtype: str) -> tuple[int, int]:
    """(lowest, highest) integer: the type's range cut by the real range, whose ends are rounded half to even."""
    kind = np.iinfo(dtype)
    low, high = limits
    least = (
        kind.min if np.isinf(low) else max(kind.min, affine.zero_point + int(np.rint(np.float32(low) / affine.scale)))
    )
    most = (
        kind.max if np.isinf(high) else min(kind.max, affine.zero_point + int(np.rint(np.float32(high) / affine.scale)))
    )
    return min(least, kind.max), max(most, kind.min)


def requantize(values: Array, factor: npt.ArrayLike, zero_point: int, limits: tuple[int, int], out: Array) -> None:
    """out = clamp(round(values · factor) + zero_point), in float32, half to even: XNNPACK's rule. `values` is
    overwritten.

    values: float32 holding exact integer sums; factor: float32, one or one per channel (the last axis).
    """
    np.multiply(values, factor, out=values)
    np.rint(values, out=values)
    np.add(values, np.float32(zero_point), out=values)
    np.clip(values, np.float32(limits[0]), np.float32(limits[1]), out=values)
    np.copyto(out, values, casting="unsafe")


def fixed_point(factor: float) -> tuple[int, int]:
    """(mantissa, exponent) with factor ≈ mantissa · 2^(exponent − 31), 2^30 ≤ mantissa < 2^31 (TFLite's
    QuantizeMultiplier).
    """
    fraction, exponent = np.frexp(np.float64(factor))
    mantissa = int(np.floor(fraction * (1 << _INT32_BITS) + 0.5))
    if mantissa == 1 << _INT32_BITS:
        return mantissa >> 1, int(exponent) + 1
    return mantissa, int(exponent)


def multiply_fixed_point(values: npt.NDArray[np.int64], factor: float) -> npt.NDArray[np.int64]:
    """values · factor as TFLite's kernels round it, twice: to the product's high word, half away from 0, then the
    shift, half up.

    values: int64 of at most 32 bits.
    """
    mantissa, exponent = fixed_point(factor)
    high = high_product(values << max(exponent, 0), mantissa, bits=_INT32_BITS)
    shift = max(-exponent, 0)
    return (high + ((1 << shift) >> 1)) >> shift


def high_product(left: npt.NDArray[np.int64], right: int, *, bits: int) -> npt.NDArray[np.int64]:
    """round(left · right / 2^bits), half away from 0 (gemmlowp's SaturatingRoundingDoublingHighMul for bits + 1 wide
    words).
    """
    product = left * right
    half = 1 << (bits - 1)
    return np.where(product >= 0, (product + half) >> bits, -((half - product) >> bits))
