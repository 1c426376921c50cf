"""Ranges against the obvious: every candidate tried, with the definition of its error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.networks import float_graph, graph_of, inputs_of, narrow_state

from edge_effnet.network.activations import IDENTITY, RESPONSES
from edge_effnet.network.graph import Activation
from edge_effnet.numerics import SIGMOID_PARAMS, QuantParams, params_for_range
from edge_effnet.quantization.measure.passes import Wanted, measure
from edge_effnet.quantization.measure.simulate import fake_quantize
from edge_effnet.quantization.measure.statistics import TensorStatistics
from edge_effnet.quantization.stages import ranges
from edge_effnet.quantization.stages.ranges import (
    activation_params,
    least_error_range,
    percentile_range,
    range_error,
    tensor_params,
)

METHODS = ("mean-min-max", "percentile", "mse")


def statistics_of(values: Any) -> TensorStatistics:
    """values: float[positions, channels]."""
    image = np.asarray(values, np.float32)[None, :, None]
    nodes = [Activation("s", ("image",), "swish")]
    graph = graph_of(nodes, channels=image.shape[3], height=image.shape[1], width=1)
    return measure(graph, [image], Wanted(statistics=1)).statistics["image"]


def draw_values(seed: int, *, positions: int = 300, channels: int = 3) -> Any:
    """Heavy-tailed, each channel with a range of its own."""
    random = np.random.default_rng(seed)
    return random.standard_t(3, (positions, channels)) * np.exp(random.normal(0, 1.5, channels)) + random.normal(
        0, 1, channels
    )


def slow_error(statistics: TensorStatistics, response: ranges.Response, weights: Any, low: float, high: float) -> float:
    """The definition, channel by channel and bin by bin."""
    total = 0.0
    for channel, counts in enumerate(statistics.histogram.counts):
        x = np.clip(
            statistics.histogram.centers[channel], statistics.channel_low[channel], statistics.channel_high[channel]
        )
        rounding = ((high - low) / 255) ** 2 / 12 * response.slope(x) ** 2
        clipping = (response.value(np.clip(x, low, high)) - response.value(x)) ** 2
        error = np.where((x < low) | (x > high), clipping, rounding)
        total += weights[channel] * float((counts * error).sum() / counts.sum())
    return total


@settings(max_examples=6, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from([IDENTITY, RESPONSES["swish"]]))
def test_the_search_finds_the_best_of_all_candidates(seed: int, response: ranges.Response) -> None:
    statistics = statistics_of(draw_values(seed))
    weights = np.random.default_rng(seed).exponential(size=3)
    shares = ranges._SHARES[::7]
    low, high, error = least_error_range(statistics, response, weights)
    best = min(
        slow_error(statistics, response, weights, a * statistics.low, b * statistics.high)
        for a in shares
        for b in shares
    )
    assert error == pytest.approx(slow_error(statistics, response, weights, low, high), rel=1e-6)
    assert error <= best * (1 + 1e-6)
    params = QuantParams((high - low) / 255, int(np.rint(-128 - low * 255 / (high - low))))
    assert range_error(statistics, response, weights, params) == pytest.approx(
        slow_error(statistics, response, weights, params.low, params.high), rel=1e-6
    )


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_the_range_is_near_the_best_for_the_values_themselves(seed: int) -> None:
    """Against rounding the values instead of a model of it, over a grid of ranges.

    A third: rounding errors of a channel narrower than a step aren't spread evenly, as the model takes them to be.
    """
    values = draw_values(seed, channels=2, positions=4000).astype(np.float32)

    def error(params: QuantParams) -> float:
        return float(np.square(fake_quantize(values, params) - values).mean())

    grid = [
        params_for_range(a * values.min(), b * values.max())
        for a in np.linspace(0.05, 1, 24)
        for b in np.linspace(0.05, 1, 24)
    ]
    assert error(tensor_params(statistics_of(values), "mse")) <= 1.33 * min(map(error, grid))


def test_before_a_swish_far_negative_values_cost_nothing() -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.uniform(-110, -20, (300, 1)), random.normal(0, 3, (2000, 1))]).astype(np.float32)
    statistics = statistics_of(values)
    aware, unaware = (
        tensor_params(statistics, "mse", response=response) for response in (RESPONSES["swish"], IDENTITY)
    )
    assert -30 < aware.low < -3
    assert unaware.low < -90

    def swish_error(params: QuantParams) -> float:
        return float(
            np.square(
                RESPONSES["swish"].value(fake_quantize(values, params).astype(np.float64))
                - RESPONSES["swish"].value(values.astype(np.float64))
            ).mean()
        )

    assert swish_error(aware) < swish_error(unaware) / 10
    assert range_error(statistics, RESPONSES["swish"], None, aware) == pytest.approx(swish_error(aware), rel=0.3)


def test_swish_and_its_slope() -> None:
    x = np.linspace(-20, 20, 401)
    np.testing.assert_allclose(RESPONSES["swish"].value(x), x / (1 + np.exp(-x)), rtol=1e-12)
    np.testing.assert_allclose(
        RESPONSES["swish"].slope(x),
        (RESPONSES["swish"].value(x + 1e-5) - RESPONSES["swish"].value(x - 1e-5)) / 2e-5,
        atol=1e-8,
    )
    np.testing.assert_array_equal(RESPONSES["swish"].value(np.array([-1e4, 1e4])).round(6), [0, 1e4])


def test_channel_weights_decide() -> None:
    values = np.random.default_rng(1).normal(0, 1, (500, 2)) * [1, 100]
    statistics = statistics_of(values)
    wide = tensor_params(statistics, "mse", channel_weights=np.array([0.0, 1.0]))
    narrow = tensor_params(statistics, "mse", channel_weights=np.array([1.0, 0.0]))
    assert wide.scale > 20 * narrow.scale
    assert narrow.high < 15


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [0.0, 3.5, -2.0, 1e-30, -1e-20, 1e30], ids=str)
def test_a_constant_tensor_is_held_to_half_a_step(method: Any, values: float) -> None:
    for response in (IDENTITY, RESPONSES["swish"]):
        params = tensor_params(statistics_of(np.full((40, 2), values)), method, response=response)
        assert params.scale > 0
        if method != "mse" or response is IDENTITY:
            found = fake_quantize(np.array([values], np.float32), params)[0]
            assert abs(found - np.float32(values)) <= params.scale * 0.51


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_one_sided_tensors_spend_the_whole_range_on_their_side(method: Any, sign: int) -> None:
    values = sign * np.random.default_rng(2).uniform(1, 6, (500, 3))
    params = tensor_params(statistics_of(values), method)
    assert params.zero_point == (127 if sign < 0 else -128)
    assert max(abs(params.low), params.high) == pytest.approx(6, rel=0.02)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30))
def test_zero_is_always_representable_and_no_scale_is_zero(first: float, second: float) -> None:
    params = params_for_range(min(first, second), max(first, second))
    assert params.scale > 0
    assert -128 <= params.zero_point <= 127
    assert fake_quantize(np.zeros(1, np.float32), params)[0] == 0
    assert params.low <= 0 <= params.high


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from(METHODS), st.floats(-30, 25))
def test_any_tensor_has_a_usable_scale(seed: int, method: Any, exponent: float) -> None:
    statistics = statistics_of(draw_values(seed, positions=50) * 10.0**exponent)
    params = tensor_params(statistics, method)
    assert 0 < params.scale < np.inf
    width = max(statistics.high, 0) - min(statistics.low, 0)
    assert params.scale * 255 <= (1.01 * width if width > 1e-6 else 1.001)


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_of_zeros_has_a_scale_that_fits_between_others(method: Any) -> None:
    """1e-9 made input · weight / output scale 10⁷, and LiteRT refuse the file or crash."""
    assert 1e-3 < tensor_params(statistics_of(np.zeros((10, 2))), method).scale < 0.1


def test_percentiles_leave_a_ten_thousandth_out() -> None:
    values = np.random.default_rng(4).normal(0, 1, (60000, 1))
    values[0], values[1] = 1000, -1000
    low, high = percentile_range(statistics_of(np.clip(values, -1000, 1000)))
    bin_width = 2 * 1024 / 256
    assert abs(low) <= bin_width
    assert abs(high) <= bin_width
    low, high = percentile_range(statistics_of(values[2:]))
    assert [low, high] == pytest.approx(np.quantile(values[2:], [1e-4, 1 - 1e-4]), abs=16 / 256)


def test_mean_of_each_photos_extremes() -> None:
    graph = graph_of([Activation("s", ("image",), "swish")], channels=1, height=2, width=1)
    images = [np.array([-1, scale], np.float32).reshape(1, 2, 1, 1) for scale in (1, 2, 6)]
    params = tensor_params(measure(graph, list(images), Wanted(statistics=10_000)).statistics["image"], "mean-min-max")
    assert (params.low, params.high) == (pytest.approx(-1, abs=params.scale), pytest.approx(3, abs=params.scale))


def test_which_tensors_of_a_network_get_parameters() -> None:
    graph = float_graph(narrow_state("b0"), "b0")
    statistics = measure(graph, list(inputs_of(graph, 2)), Wanted(statistics=10_000)).statistics
    image = QuantParams(0.02, 3)
    params = activation_params(graph, statistics, image)
    assert set(params) == set(statistics) - {"pooled", "logits"}
    assert params["image"] == image
    assert {params[name] for name in params if name.endswith(".gate")} == {SIGMOID_PARAMS}
    means = [name for name in params if name.endswith(".se.mean")]
    assert means
    for name in means:
        assert params[name] == tensor_params(statistics[name], "mse")
    assert params["head"] == tensor_params(statistics["head"], "mse", response=RESPONSES["swish"])
    assert params["head.swish"] == tensor_params(statistics["head.swish"], "mse")
