"""One row an activation: its value, its slope, and how int8 treats it.

Sources: swish Ramachandran et al. (arXiv 1710.05941); hard swish and hard sigmoid Howard et al. (arXiv 1905.02244);
gelu Hendrycks & Gimpel (arXiv 1606.08415), in its tanh form, which ONNX and TFLite both know.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Kind: TypeAlias = Literal[
    "swish", "sigmoid", "relu", "relu6", "hard_swish", "hard_sigmoid", "leaky_relu", "gelu", "tanh"
]
#: Activations that a convolution, a sum or a dense layer clips to by itself: (lowest, highest).
Fused: TypeAlias = Literal["none", "relu", "relu6"]
FUSED_LIMITS: Mapping[Fused, tuple[float, float]] = MappingProxyType(
    {"none": (-math.inf, math.inf), "relu": (0.0, math.inf), "relu6": (0.0, 6.0)}
)
#: What --head-activation takes, PyTorch's names → the kind; None computes nothing.
HEAD_ACTIVATIONS: Mapping[str, Kind | None] = MappingProxyType(
    {
        "relu": "relu",
        "silu": "swish",
        "gelu": "gelu",
        "tanh": "tanh",
        "sigmoid": "sigmoid",
        "leaky_relu": "leaky_relu",
        "relu6": "relu6",
        "hardswish": "hard_swish",
        "none": None,
    }
)
#: Slope of leaky_relu below zero, PyTorch's default.
LEAK = 0.01
_GELU = math.sqrt(2 / math.pi)


@dataclass(frozen=True)
class Response:
    """`value(x)`, and `slope(x)`, how strongly a small change of x is passed on; elementwise, in the dtype of x."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def sigmoid(values: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow: exp of at most 88, whose reciprocal float32 still holds."""
    result = np.clip(values, -88.0, 88.0)
    np.negative(result, out=result)
    np.exp(result, out=result)
    result += 1
    return np.reciprocal(result, out=result)


def _sigmoid_slope(x: Array) -> Array:
    gate = sigmoid(x)
    return gate * (1 - gate)


def _swish_slope(x: Array) -> Array:
    gate = sigmoid(x)
    return gate * (1 + x * (1 - gate))


def _between(x: Array, low: float, high: float) -> Array:
    return ((x > low) & (x < high)).astype(x.dtype)


def _hard_sigmoid(x: Array) -> Array:
    return np.clip(x + 3, 0, 6) / x.dtype.type(6)


def _gelu_gate(x: Array) -> Array:
    return np.tanh(x.dtype.type(_GELU) * (x + x.dtype.type(0.044715) * x * x * x))


def _gelu(x: Array) -> Array:
    return x * (1 + _gelu_gate(x)) / 2


def _gelu_slope(x: Array) -> Array:
    gate = _gelu_gate(x)
    inner = x.dtype.type(_GELU) * (1 + x.dtype.type(3 * 0.044715) * x * x)
    return (1 + gate + x * (1 - gate * gate) * inner) / 2


IDENTITY = Response(lambda x: x, np.ones_like)
RESPONSES: Mapping[Kind, Response] = MappingProxyType(
    {
        "swish": Response(lambda x: x * sigmoid(x), _swish_slope),
        "sigmoid": Response(sigmoid, _sigmoid_slope),
        "relu": Response(lambda x: np.maximum(x, 0), lambda x: _between(x, 0, math.inf)),
        "relu6": Response(lambda x: np.clip(x, 0, 6), lambda x: _between(x, 0, 6)),
        "hard_swish": Response(
            lambda x: x * _hard_sigmoid(x), lambda x: _hard_sigmoid(x) + x * _between(x, -3, 3) / x.dtype.type(6)
        ),
        "hard_sigmoid": Response(_hard_sigmoid, lambda x: _between(x, -3, 3) / x.dtype.type(6)),
        "leaky_relu": Response(
            lambda x: np.where(x > 0, x, x * x.dtype.type(LEAK)),
            lambda x: np.where(x > 0, x.dtype.type(1), x.dtype.type(LEAK)),
        ),
        "gelu": Response(_gelu, _gelu_slope),
        "tanh": Response(np.tanh, lambda x: 1 - np.square(np.tanh(x))),
    }
)
