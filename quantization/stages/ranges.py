"""From a tensor's statistics to the int8 range that represents it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.network.activations import IDENTITY, RESPONSES, Response
from edge_effnet.network.graph import Graph
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.network.structure import responses
from edge_effnet.numerics import QuantParams, params_for_range
from edge_effnet.quantization.measure.sensitivity import Sensitivity
from edge_effnet.quantization.measure.statistics import TensorStatistics
from edge_effnet.quantization.recipe import RangeMethod
from edge_effnet.quantization.records import is_fixed, with_fixed
from edge_effnet.quantization.state import Stage, State, Work, known

Array: TypeAlias = npt.NDArray[np.float64]

#: Share of values that the percentile method leaves outside on each side.
_PERCENTILE = 1e-4
#: Shares of the observed range that the search for the least error tries on each side.
_SHARES = np.geomspace(0.03, 1.0, 64)
#: A tensor that never reaches farther is nothing but zeros, behind weights that are all zero. It gets a scale like any
#: other tensor's: XNNPACK refuses a file, or crashes, where input · weight / output scale is 256 or more.
_NOTHING = 1e-7
_PARAMS_OF_NOTHING = params_for_range(0.0, 1.0)


def find_responses(graph: Graph) -> dict[str, tuple[Response, str]]:
    """Tensor name → what becomes of it, and in which tensor, for those that one activation alone reads."""
    return {name: (RESPONSES[reader.kind], reader.name) for name, reader in responses(graph)}


def activation_params(
    graph: Graph,
    statistics: Mapping[str, TensorStatistics],
    image: QuantParams,
    *,
    method: RangeMethod = "mse",
    sensitivity: Sensitivity | None = None,
) -> dict[str, QuantParams]:
    """Tensor name → parameters, for all tensors but vectors (pooled features, logits), which stay float32.

    sensitivity: weights each channel's errors by what they do to the logits (method "mse"); all alike by default.
    """
    found, shapes = find_responses(graph), tensor_shapes(graph)
    params = {graph.input_name: image}
    for node in graph.nodes:
        if len(shapes[node.name]) != 4:
            continue
        if is_fixed(node):
            params[node.name] = image  # until it is known whose
            continue
        response, reader = found.get(node.name, (IDENTITY, node.name))
        weights = None if sensitivity is None else sensitivity[reader]
        params[node.name] = tensor_params(statistics[node.name], method, response=response, channel_weights=weights)
    return with_fixed(graph, params)


def tensor_params(
    statistics: TensorStatistics,
    method: RangeMethod,
    *,
    response: Response = IDENTITY,
    channel_weights: Array | None = None,
) -> QuantParams:
    """The parameters of one tensor. response, channel_weights: how errors count (method "mse")."""
    if is_nothing(statistics):
        return _PARAMS_OF_NOTHING
    if method == "mean-min-max":
        return params_for_range(statistics.mean_low, statistics.mean_high)
    if method == "percentile":
        return params_for_range(*percentile_range(statistics))
    low, high, _ = least_error_range(statistics, response, channel_weights)
    return params_for_range(low, high)


def is_nothing(statistics: TensorStatistics) -> bool:
    """Whether the tensor is nothing but zeros."""
    return max(-statistics.low, statistics.high) < _NOTHING


def percentile_range(statistics: TensorStatistics) -> tuple[float, float]:
    """Where all but a share of 1e-4 of the values on each side lie."""
    points = weighted_points(statistics, IDENTITY, None)
    x, cumulated = points.x, np.cumsum(points.weight)
    low, high = np.searchsorted(cumulated, [_PERCENTILE * cumulated[-1], (1 - _PERCENTILE) * cumulated[-1]])
    return float(x[low]), float(x[min(int(high), len(x) - 1)])


@dataclass(frozen=True, eq=False)
class Points:
    """A tensor's values in rising order, each with its channel, what it counts, and what becomes of it further on."""

    x: Array
    channel: npt.NDArray[np.int64]
    weight: Array
    target: Array
    gain: Array

    def of_channels(self, chosen: npt.NDArray[np.bool_]) -> Points:
        """The values of the channels that a mask, bool[C], lets through."""
        return self.chosen(chosen[self.channel])

    def chosen(self, kept: npt.NDArray[Any]) -> Points:
        """Some of the values, by mask or by index; their order stays a rising one."""
        return Points(self.x[kept], self.channel[kept], self.weight[kept], self.target[kept], self.gain[kept])


def weighted_points(statistics: TensorStatistics, response: Response, channel_weights: Array | None) -> Points:
    """The histograms' bins as points; a channel's points count its weight in all."""
    histogram = statistics.histogram
    share = histogram.counts / np.maximum(histogram.counts.sum(axis=1, keepdims=True), 1)
    weights = share if channel_weights is None else share * channel_weights[:, None]
    x = np.clip(histogram.centers, statistics.channel_low[:, None], statistics.channel_high[:, None])
    used = histogram.counts > 0
    channel = np.broadcast_to(np.arange(len(x))[:, None], x.shape)[used]
    x, weight = x[used], weights[used].astype(np.float64)
    order = np.argsort(x, kind="stable")
    x, weight, channel = x[order], weight[order], channel[order]
    return Points(x, channel, weight, response.value(x), weight * np.square(response.slope(x)))


def least_error_range(
    statistics: TensorStatistics, response: Response, channel_weights: Array | None
) -> tuple[float, float, float]:
    """(low, high, error): the range with the least weighted square error, and that error per position.

    Rounding counts as step²/12 times slope², clipping as the square of what it changes in `response.value`.
    """
    return least_error(
        weighted_points(statistics, response, channel_weights), response, statistics.low, statistics.high
    )


def least_error(points: Points, response: Response, lowest: float, highest: float) -> tuple[float, float, float]:
    """`least_error_range` of points whose extremes are `lowest` and `highest`."""
    lows, highs, error = candidate_errors(points, response, lowest, highest)
    row, column = np.unravel_index(int(np.argmin(error)), error.shape)
    return float(lows[row]), float(highs[column]), float(error[row, column])


def candidate_errors(points: Points, response: Response, lowest: float, highest: float) -> tuple[Array, Array, Array]:
    """(lows float64[A], highs float64[B], errors float64[A, B]): the ranges tried, each with its error per position."""
    lows, highs = _candidates(min(lowest, 0.0)), _candidates(max(highest, 0.0))
    return lows, highs, _range_errors(points, response, lows, highs)


def channel_ranges(
    statistics: TensorStatistics, response: Response, channel_weights: Array
) -> tuple[Array, Array, Array]:
    """float64[C] each, (lows, highs, errors): `least_error_range` of each channel by itself; 0 for one that doesn't
    count.
    """
    points = weighted_points(statistics, response, channel_weights)
    order = np.argsort(points.channel, kind="stable")
    bounds = np.searchsorted(points.channel[order], np.arange(len(channel_weights) + 1))
    found = np.zeros((3, len(channel_weights)))
    for channel in np.flatnonzero((channel_weights > 0) & (bounds[1:] > bounds[:-1])):
        own = points.chosen(order[bounds[channel] : bounds[channel + 1]])
        found[:, channel] = least_error(
            own, response, float(statistics.channel_low[channel]), float(statistics.channel_high[channel])
        )
    return found[0], found[1], found[2]


def range_error(
    statistics: TensorStatistics, response: Response, channel_weights: Array | None, params: QuantParams
) -> float:
    """The weighted square error per position that given parameters cause."""
    points = weighted_points(statistics, response, channel_weights)
    return float(_range_errors(points, response, np.array([params.low]), np.array([params.high]))[0, 0])


def _range_errors(points: Points, response: Response, lows: Array, highs: Array) -> Array:
    """float64[lows, highs]."""
    gain = _cumulated(points.gain)
    first, last = np.searchsorted(points.x, lows, side="left"), np.searchsorted(points.x, highs, side="right")
    once = points.weight * points.target
    sums = [_cumulated(values) for values in (points.weight, once, once * points.target)]
    below = _clipped([total[first] for total in sums], response.value(lows))
    above = _clipped([total[-1] - total[last] for total in sums], response.value(highs))
    step = (highs[None, :] - lows[:, None]) / 255.0
    return np.asarray(
        np.square(step) / 12.0 * (gain[last][None, :] - gain[first][:, None]) + below[:, None] + above[None, :],
        np.float64,
    )


def _cumulated(values: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(values)])


def _clipped(sums: list[Array], value: Array) -> Array:
    """Σ weight · (value − target)² from Σ weight, Σ weight · target, Σ weight · target²."""
    return np.maximum(sums[0] * value**2 - 2 * value * sums[1] + sums[2], 0.0)


def _candidates(extreme: float) -> Array:
    return np.asarray(extreme * _SHARES if extreme else np.zeros(1), np.float64)


def _run(state: State, work: Work) -> State:
    found, recipe = known(state.measured), work.recipe
    weights = found.sensitivity if recipe.weigh_channels else None
    image = known(state.image)
    params = activation_params(state.graph, found.statistics, image, method=recipe.ranges, sensitivity=weights)
    return replace(state, activations={name: one for name, one in params.items() if name not in state.floats})


STAGE = Stage("ranges", lambda _recipe: True, frozenset({"image", "measured"}), frozenset({"activations"}), _run)
