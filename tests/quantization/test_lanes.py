"""Lanes: exactly the same function, and outliers among themselves."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.networks import both, float_graph, inputs_of, narrow_state, relative_difference

from edge_effnet.network.execute import execute
from edge_effnet.network.graph import Add, Conv2D, DepthwiseConv2D, GlobalMean, Graph, with_nodes
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.network.structure import find_blocks
from edge_effnet.quantization.measure.noise import tensor_noise
from edge_effnet.quantization.measure.passes import Wanted, measure
from edge_effnet.quantization.stages.gates import rescale_gate
from edge_effnet.quantization.stages.lanes import LaneChoice, _swapped, choose_lanes, split_lanes, split_statistics

VARIANTS = ("b0", "lite0")


@pytest.fixture(scope="module", params=VARIANTS)
def graph(request: pytest.FixtureRequest) -> Graph:
    return float_graph(narrow_state(request.param), request.param)


def choice_of(graph: Graph, block: str, *widths: int, seed: int = 0) -> LaneChoice:
    """Lanes of these widths and one of what is left, of channels drawn by seed."""
    channels = next(found.channels for found in find_blocks(graph) if found.name == block)
    order = np.random.default_rng(seed).permutation(channels)
    return LaneChoice(block, tuple(np.sort(part) for part in np.split(order, np.cumsum(widths))), 1.0)


def assert_same(graph: Graph, split: Graph) -> None:
    for image in inputs_of(graph, 2, seed=3):
        assert (
            relative_difference(execute(graph, image.astype(np.float64)), execute(split, image.astype(np.float64)))
            < 1e-12
        )
        assert relative_difference(execute(graph, image), execute(split, image)) < 1e-5


@pytest.mark.parametrize("wide", [1, 3, 7])
def test_every_block_splits_exactly(graph: Graph, wide: int) -> None:
    """The first has no expand convolution and takes the stem; odd widths on both sides."""
    for block in find_blocks(graph):
        split = split_lanes(graph, choice_of(graph, block.name, wide))
        names = {node.name for node in split.nodes}
        assert {
            f"{block.depthwise.name}.lane0",
            f"{block.depthwise.name}.lane1",
            f"{block.project.name}.lane1",
        } <= names
        assert block.depthwise.name not in names
        assert len(split.nodes) > len(graph.nodes)
        assert sum(isinstance(node, Add) for node in split.nodes) - sum(
            isinstance(node, Add) for node in graph.nodes
        ) == (2 if block.gates else 1)
        assert_same(graph, split)


def test_three_lanes(graph: Graph) -> None:
    for block in find_blocks(graph):
        split = split_lanes(graph, choice_of(graph, block.name, 2, 5))
        names = {node.name for node in split.nodes}
        assert {f"{block.project.name}.lane2", f"{block.project.name}.sum1", block.project.name} <= names
        assert sum(isinstance(node, Add) for node in split.nodes) - sum(
            isinstance(node, Add) for node in graph.nodes
        ) == (4 if block.gates else 2)
        assert_same(graph, split)


def test_a_rescaled_gate_is_split_too() -> None:
    graph = float_graph(narrow_state("b0"), "b0")
    channels = tensor_shapes(graph)["blocks.2.se.scale"][3]
    rescaled = rescale_gate(graph, "blocks.2.se.scale", np.linspace(0.2, 1, channels))
    assert_same(rescaled, split_lanes(rescaled, choice_of(graph, "blocks.2", 4)))


def test_no_arithmetic_is_added(graph: Graph) -> None:
    block = find_blocks(graph)[1].name
    split = split_lanes(graph, choice_of(graph, block, 8))

    def products(graph: Graph) -> int:
        shapes = tensor_shapes(graph)
        return sum(
            node.weight.size * shapes[node.name][1] * shapes[node.name][2]
            for node in graph.nodes
            if isinstance(node, Conv2D | DepthwiseConv2D)
        )

    assert products(split) == products(graph)


def test_all_blocks_split_one_after_the_other(graph: Graph) -> None:
    split = graph
    for block in find_blocks(graph):
        split = split_lanes(split, choice_of(graph, block.name, 4))
    assert sum(node.name.endswith(".lane1") and isinstance(node, DepthwiseConv2D) for node in split.nodes) == len(
        find_blocks(graph)
    )
    assert_same(graph, split)


def test_the_graph_given_stays_as_it_was(graph: Graph) -> None:
    before = [node.name for node in graph.nodes]
    split_lanes(graph, choice_of(graph, "blocks.1", 4))
    assert [node.name for node in graph.nodes] == before


def test_a_block_that_is_not_there_or_split_already(graph: Graph) -> None:
    choice = choice_of(graph, "blocks.1", 4)
    with pytest.raises(KeyError):
        split_lanes(graph, replace(choice, block="blocks.99"))
    with pytest.raises(KeyError):
        split_lanes(split_lanes(graph, choice), choice)


def with_outliers(graph: Graph, block: str, outliers: Any) -> Graph:
    """A few channels of the block's inside sixteen times as wide as the median before the activation, read as much
    less.
    """
    found = next(item for item in find_blocks(graph) if item.name == block)
    statistics = measure(graph, list(inputs_of(graph, 3)), Wanted(statistics=10_000)).statistics[found.depthwise.name]
    reach = statistics.channel_high  # far below zero nothing passes a swish
    factors = (16 * np.median(reach) / np.maximum(reach[outliers], 0.1)).astype(np.float32)
    weight, bias = found.depthwise.weight.copy(), found.depthwise.bias.copy()
    weight[:, :, outliers] *= factors
    bias[outliers] *= factors
    project = found.project.weight.copy()
    project[..., outliers] /= factors
    return with_nodes(
        graph,
        {
            found.depthwise.name: replace(found.depthwise, weight=weight, bias=bias),
            found.project.name: replace(found.project, weight=project),
        },
    )


def test_the_choice_puts_outliers_together() -> None:
    outliers = np.array([1, 5, 11])
    graph = with_outliers(float_graph(narrow_state("b0"), "b0", size=32), "blocks.2", outliers)
    images = inputs_of(graph, 3)
    measured = both(graph, images)
    statistics, sensitivity = measured.statistics, measured.sensitivity
    choices = choose_lanes(graph, statistics, sensitivity, least_gain=0.0)
    assert [choice.gain for choice in choices] == sorted((choice.gain for choice in choices), reverse=True)
    found = next(choice for choice in choices if choice.block == "blocks.2")
    assert set(outliers) <= set(found.lanes[0])
    assert all(np.array_equal(lane, np.sort(lane)) for lane in found.lanes)
    assert sorted(np.concatenate(found.lanes)) == list(range(sum(found.widths)))
    split = split_lanes(graph, found)
    before = sum(tensor_noise(graph, statistics, sensitivity).values())
    after = sum(
        tensor_noise(
            split,
            measure(split, list(images), Wanted(statistics=10_000)).statistics,
            measure(split, list(images), Wanted(sensitivity=10_000), seed=0).sensitivity,
        ).values()
    )
    assert after < before - found.gain / 2
    assert_same(graph, split)


def test_channels_change_places_between_lanes() -> None:
    """Channel 15 reaches far behind the depthwise convolution alone, channel 7 nowhere: neither is where it belongs."""
    before, behind = np.ones(16), np.ones(16)
    before[:7], behind[[*range(7), 15]] = 9.0, 8.0
    costs = [
        SimpleNamespace(reach=reach, of=lambda lane, reach=reach: float(reach[list(lane)].max()) ** 2 * len(lane))
        for reach in (before, behind)
    ]

    def total(lanes: Any) -> float:
        return float(sum(cost.of(lane) for cost in costs for lane in lanes))

    found = _swapped((frozenset(range(8)), frozenset(range(8, 16))), costs, total)  # type: ignore[arg-type]
    assert found == (frozenset([*range(7), 15]), frozenset(range(7, 15)))


def test_statistics_of_lanes_are_those_of_their_channels() -> None:
    graph = float_graph(narrow_state("b0"), "b0", size=32)
    images = inputs_of(graph, 2)
    measured = both(graph, images)
    statistics = measured.statistics
    choice = choice_of(graph, "blocks.2", 4)
    split = split_lanes(graph, choice)
    parts = split_statistics(graph, choice, measured)
    found, weights = parts.statistics, parts.sensitivity
    again = measure(split, images, Wanted(statistics=10_000)).statistics
    for name in ("blocks.2.expand.lane0", "blocks.2.depthwise.swish.lane1", "blocks.2.se.gate.lane0"):
        np.testing.assert_allclose(found[name].channel_high, again[name].channel_high, rtol=1e-4, atol=1e-5)
        assert len(weights[name]) == again[name].channel_high.size
    assert found["blocks.1.expand"] is statistics["blocks.1.expand"]


def test_only_what_gains_enough_is_split() -> None:
    graph = float_graph(narrow_state("b0"), "b0")
    for block in ("blocks.1", "blocks.3"):
        graph = with_outliers(graph, block, np.array([1, 5, 11]))
    images = inputs_of(graph, 2)
    measured = both(graph, images)
    statistics, sensitivity = measured.statistics, measured.sensitivity
    everything = choose_lanes(graph, statistics, sensitivity, least_gain=0.0)
    assert len(everything) >= 2
    least = everything[1].gain * (1 + 1e-9)
    assert [choice.block for choice in choose_lanes(graph, statistics, sensitivity, least_gain=least)] == [
        everything[0].block
    ]


def test_lanes_of_a_mean_are_those_of_its_source() -> None:
    graph = float_graph(narrow_state("b0"), "b0")
    split = split_lanes(graph, choice_of(graph, "blocks.3", 5))
    shapes = tensor_shapes(split)
    means = [
        shapes[node.name][3]
        for node in split.nodes
        if isinstance(node, GlobalMean) and node.name.startswith("blocks.3.")
    ]
    assert means[0] == 5
    assert sum(means) == tensor_shapes(graph)["blocks.3.se.mean"][3]
