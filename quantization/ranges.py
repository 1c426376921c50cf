"""From a tensor's statistics to the int8 range that represents it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.graph import Border, Dense, GlobalMean, Graph, Sigmoid, Swish
from edge_effnet.numerics import SIGMOID_PARAMS, QuantParams, params_for_range
from edge_effnet.quantization.sensitivity import Sensitivity
from edge_effnet.quantization.statistics import TensorStatistics

RangeMethod: TypeAlias = Literal["mean-min-max", "percentile", "mse"]
Array: TypeAlias = npt.NDArray[np.float64]

#: Share of values that the percentile method leaves outside on each side.
_PERCENTILE = 1e-4
#: Shares of the observed range that the search for the least error tries on each side.
_SHARES = np.geomspace(0.03, 1.0, 64)


@dataclass(frozen=True)
class Response:
    """What becomes of a value further on: `value(x)`, and `slope(x)`, how strongly a small change is passed on."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def _gate(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -60, 60))), np.float64)


IDENTITY = Response(lambda x: x, np.ones_like)
SWISH = Response(lambda x: x * _gate(x), lambda x: _gate(x) * (1 + x * (1 - _gate(x))))


def activation_params(
    graph: Graph,
    statistics: Mapping[str, TensorStatistics],
    image: QuantParams,
    *,
    method: RangeMethod = "mse",
    sensitivity: Sensitivity | None = None,
) -> dict[str, QuantParams]:
    """Tensor name → parameters, for all tensors but the pooled features and the logits, which stay float32.

    sensitivity: weights each channel's errors by what they do to the logits (method "mse"); all alike by default.
    Fixed by the kernels: a sigmoid's 1/256; kept cheap: a border or mean has its input's parameters.
    """
    swishes = {node.inputs[0]: node.name for node in graph.nodes if isinstance(node, Swish)}
    params = {graph.input_name: image}
    for node in graph.nodes:
        match node:
            case Dense() | GlobalMean(keep_dims=False):
                continue
            case Sigmoid():
                params[node.name] = SIGMOID_PARAMS
            case GlobalMean() | Border():
                params[node.name] = params[node.inputs[0]]
            case _:
                swish = swishes.get(node.name)
                weights = None if sensitivity is None else sensitivity[swish or node.name]
                params[node.name] = tensor_params(statistics[node.name], method, response=SWISH if swish else IDENTITY, channel_weights=weights)
    return params


def tensor_params(statistics: TensorStatistics, method: RangeMethod, *, response: Response = IDENTITY, channel_weights: Array | None = None) -> QuantParams:
    """The parameters of one tensor. response, channel_weights: how errors count (method "mse")."""
    if method == "mean-min-max":
        return params_for_range(statistics.mean_low, statistics.mean_high)
    if method == "percentile":
        return params_for_range(*percentile_range(statistics))
    low, high, _ = least_error_range(statistics, response, channel_weights)
    return params_for_range(low, high)


def percentile_range(statistics: TensorStatistics) -> tuple[float, float]:
    """Where all but a share of 1e-4 of the values on each side lie."""
    x, counts = _points(statistics, None)
    cumulated = np.cumsum(counts)
    low, high = np.searchsorted(cumulated, [_PERCENTILE * cumulated[-1], (1 - _PERCENTILE) * cumulated[-1]])
    return float(x[low]), float(x[min(int(high), len(x) - 1)])


def least_error_range(statistics: TensorStatistics, response: Response, channel_weights: Array | None) -> tuple[float, float, float]:
    """(low, high, error): the range with the least weighted square error, and that error per position.

    Rounding counts as step²/12 times slope², clipping as the square of what it changes in `response.value`.
    """
    lows, highs = _candidates(min(statistics.low, 0.0)), _candidates(max(statistics.high, 0.0))
    error = _range_errors(statistics, response, channel_weights, lows, highs)
    row, column = np.unravel_index(int(np.argmin(error)), error.shape)
    return float(lows[row]), float(highs[column]), float(error[row, column])


def range_error(statistics: TensorStatistics, response: Response, channel_weights: Array | None, params: QuantParams) -> float:
    """The weighted square error per position that given parameters cause."""
    return float(_range_errors(statistics, response, channel_weights, np.array([params.low]), np.array([params.high]))[0, 0])


def _range_errors(statistics: TensorStatistics, response: Response, channel_weights: Array | None, lows: Array, highs: Array) -> Array:
    """float64[lows, highs]."""
    x, weight = _points(statistics, channel_weights)
    target = response.value(x)
    gain = _cumulated(weight * np.square(response.slope(x)))
    first, last = np.searchsorted(x, lows, side="left"), np.searchsorted(x, highs, side="right")
    sums = [_cumulated(weight * target**power) for power in range(3)]
    below = _clipped([total[first] for total in sums], response.value(lows))
    above = _clipped([total[-1] - total[last] for total in sums], response.value(highs))
    step = (highs[None, :] - lows[:, None]) / 255.0
    return np.asarray(np.square(step) / 12.0 * (gain[last][None, :] - gain[first][:, None]) + below[:, None] + above[None, :], np.float64)


def _points(statistics: TensorStatistics, channel_weights: Array | None) -> tuple[Array, Array]:
    """Values in rising order and what each counts; a channel's counts sum to its weight."""
    histogram = statistics.histogram
    share = histogram.counts / np.maximum(histogram.counts.sum(axis=1, keepdims=True), 1)
    weight = share if channel_weights is None else share * channel_weights[:, None]
    x = np.clip(histogram.centers, statistics.channel_low[:, None], statistics.channel_high[:, None])
    used = histogram.counts > 0
    x, weight = x[used], weight[used]
    order = np.argsort(x)
    return x[order], weight[order].astype(np.float64)


def _cumulated(values: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(values)])


def _clipped(sums: list[Array], value: Array) -> Array:
    """Σ weight · (value − target)² from Σ weight, Σ weight · target, Σ weight · target²."""
    return np.maximum(sums[0] * value**2 - 2 * value * sums[1] + sums[2], 0.0)


def _candidates(extreme: float) -> Array:
    return np.asarray(extreme * _SHARES if extreme else np.zeros(1), np.float64)
