"""The noise expected of a tensor against the noise that rounding it makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.networks import float_graph, graph_of, inputs_of, narrow_state, pointwise

from edge_effnet.network.execute import execute
from edge_effnet.network.graph import Activation, Dense, GlobalMean, Graph
from edge_effnet.numerics import params_for_range
from edge_effnet.quantization.measure.noise import tensor_noise
from edge_effnet.quantization.measure.passes import Wanted, measure
from edge_effnet.quantization.measure.simulate import fake_quantize
from edge_effnet.quantization.stages.ranges import activation_params


def smooth_network() -> Graph:
    random = np.random.default_rng(0)
    nodes = (
        pointwise("first", "image", random, 3, 12),
        Activation("first.swish", ("first",), "swish"),
        pointwise("second", "first.swish", random, 12, 16),
        Activation("second.swish", ("second",), "swish"),
        pointwise("third", "second.swish", random, 16, 8),
        GlobalMean("pooled", ("third",), keep_dims=False),
        Dense("logits", ("pooled",), random.standard_normal((10, 8)).astype(np.float32), np.zeros(10, np.float32)),
    )
    return graph_of(nodes, channels=3, height=5, width=4)


@pytest.mark.parametrize("name", ["first", "first.swish", "second", "second.swish", "third"])
def test_within_one_and_a_half_decibels_of_a_simulation(name: str) -> None:
    graph = smooth_network()
    images = inputs_of(graph, 300)
    statistics, sensitivity = (
        measure(graph, list(images), Wanted(statistics=10_000)).statistics,
        measure(graph, list(images), Wanted(sensitivity=10_000), seed=0).sensitivity,
    )
    params = params_for_range(statistics[name].low, statistics[name].high)
    expected = tensor_noise(graph, statistics, sensitivity, {name: params})
    assert list(expected) == [name]

    def rounded(tensor_name: str, tensor: Any) -> Any:
        return fake_quantize(tensor, params) if tensor_name == name else tensor

    measured = np.mean(
        [np.square(execute(graph, image, hook=rounded) - execute(graph, image)).sum() for image in images]
    )
    assert abs(10 * np.log10(expected[name] / measured)) < 1.5


def test_the_best_ranges_expect_least() -> None:
    graph = float_graph(narrow_state("b0"), "b0", size=32)
    images = inputs_of(graph, 4)
    statistics, sensitivity = (
        measure(graph, list(images), Wanted(statistics=10_000)).statistics,
        measure(graph, list(images), Wanted(sensitivity=10_000), seed=0).sensitivity,
    )
    best = tensor_noise(graph, statistics, sensitivity)
    image = params_for_range(-1, 1)
    chosen = tensor_noise(
        graph, statistics, sensitivity, activation_params(graph, statistics, image, sensitivity=sensitivity)
    )
    plain = tensor_noise(
        graph, statistics, sensitivity, activation_params(graph, statistics, image, method="mean-min-max")
    )
    assert "pooled" not in chosen
    for name in set(chosen) - {name for name in chosen if name.endswith((".se.mean", ".gate"))}:
        assert best[name] <= chosen[name] * 1.6
        assert best[name] <= plain[name] * 1.6
    assert sum(best[name] for name in chosen if name in best) <= sum(chosen.values()) * 1.01
    assert sum(chosen.values()) < sum(plain.values())
