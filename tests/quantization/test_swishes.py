"""Equalised swishes: exactly the same function, chosen where the noise they save outweighs their time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.networks import both, float_graph, inputs_of, narrow_state, relative_difference

from edge_effnet.network.execute import execute
from edge_effnet.network.graph import DepthwiseConv2D, Graph, Mul, is_activation, with_nodes
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.quantization.measure.noise import tensor_noise
from edge_effnet.quantization.measure.passes import Measurement
from edge_effnet.quantization.stages.swishes import choose_swishes, rescale_swish


@pytest.fixture(scope="module")
def graph() -> Graph:
    return float_graph(narrow_state("b0"), "b0")


@pytest.mark.parametrize(
    "swish",
    ["blocks.0.depthwise.swish", "blocks.1.expand.swish", "blocks.1.depthwise.swish", "blocks.5.depthwise.swish"],
)
def test_rescaled_exactly(graph: Graph, swish: str) -> None:
    """Read by a depthwise convolution, or by a mean and a gated product."""
    factors = np.random.default_rng(5).uniform(0.1, 10, tensor_shapes(graph)[swish][3])
    changed = rescale_swish(graph, swish, factors)
    nodes = changed.by_name()
    assert isinstance(nodes[f"{swish}.spread"], DepthwiseConv2D)
    assert is_activation(nodes[f"{swish}.sigmoid"], "sigmoid")
    assert isinstance(nodes[swish], Mul)
    for image in inputs_of(graph, 2, seed=3):
        assert relative_difference(execute(graph, image), execute(changed, image)) < 1e-5
    assert is_activation(graph.by_name()[swish], "swish")  # the graph given stays as it was


@pytest.mark.parametrize("swish", ["head.swish", "stem.swish"])
def test_what_more_than_convolutions_read_stays(graph: Graph, swish: str) -> None:
    """The pooled features; a stem that a residual addition reads beside the first depthwise convolution."""
    with pytest.raises(KeyError, match=swish):
        rescale_swish(graph, swish, np.ones(tensor_shapes(graph)[swish][3]))


def uneven(graph: Graph) -> Graph:
    """Every fourth channel of a depthwise output fifty times as wide, and read as much less: one scale serves badly."""
    nodes = graph.by_name()
    depthwise, project, reduce = (nodes[f"blocks.2.{name}"] for name in ("depthwise", "project", "se.reduce"))
    factors = np.where(np.arange(len(depthwise.bias)) % 4 == 0, 50.0, 1.0).astype(np.float32)  # type: ignore[union-attr]
    wider = replace(depthwise, weight=depthwise.weight * factors, bias=depthwise.bias * factors)  # type: ignore[union-attr, type-var]
    readers = [replace(node, weight=node.weight / factors) for node in (project, reduce)]  # type: ignore[union-attr, type-var]
    return with_nodes(graph, {node.name: node for node in (wider, *readers)})


def test_equalised_where_it_pays(graph: Graph) -> None:
    graph = uneven(graph)
    images = inputs_of(graph, 3)
    found = both(graph, images)
    noise = tensor_noise(graph, found.statistics, found.sensitivity)
    changed = graph
    for choice in choose_swishes(graph, found, noise=sum(noise.values())):
        changed = rescale_swish(changed, choice.swish, choice.factors)
    measured = both(changed, images)
    assert "blocks.2.depthwise.swish.spread" in changed.by_name()
    for image in images:
        assert relative_difference(execute(graph, image), execute(changed, image)) < 1e-5
    after = tensor_noise(changed, measured.statistics, measured.sensitivity)
    names = (
        "blocks.2.depthwise",
        "blocks.2.depthwise.swish",
        "blocks.2.depthwise.swish.spread",
        "blocks.2.depthwise.swish.sigmoid",
    )
    assert sum(after.get(name, 0.0) for name in names) < 0.5 * sum(noise.get(name, 0.0) for name in names)


def test_not_where_time_is_dear(graph: Graph) -> None:
    images = inputs_of(graph, 2)
    found = both(graph, images)
    assert choose_swishes(graph, found, noise=1e9) == ()


def test_a_network_without_swishes() -> None:
    graph = float_graph(narrow_state("lite0"), "lite0", size=32)
    assert choose_swishes(graph, Measurement({}, {}, {}), noise=1.0) == ()
