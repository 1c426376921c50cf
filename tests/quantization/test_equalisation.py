"""Rescaled channels: the same function, and the same quantization whatever the scales were before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.networks import float_graph, graph_of, inputs_of, narrow_state, pointwise, relative_difference

from edge_effnet.network.execute import execute
from edge_effnet.network.graph import Activation, Add, Conv2D, DepthwiseConv2D, Graph, weighted
from edge_effnet.network.rewrite import rescale_chain
from edge_effnet.network.structure import find_chains
from edge_effnet.quantization.measure.passes import Wanted, measure
from edge_effnet.quantization.stages.equalisation import equalise

VARIANTS = ("b0", "lite0")


@pytest.fixture(scope="module", params=VARIANTS)
def graph(request: pytest.FixtureRequest) -> Graph:
    return float_graph(narrow_state(request.param), request.param)


def shaken(graph: Graph, seed: int) -> Graph:
    """Every chain's channels multiplied by powers of two between 1/32 and 32."""
    random = np.random.default_rng(seed)
    for chain in find_chains(graph):
        width = len(graph.by_name()[chain.makers[0]].bias)  # type: ignore[union-attr]
        graph = rescale_chain(graph, chain, 2.0 ** random.integers(-5, 6, width))
    return graph


def equalised(graph: Graph) -> Graph:
    return equalise(graph, measure(graph, inputs_of(graph, 2), Wanted(statistics=10_000)))[0]


@pytest.fixture(scope="module")
def from_shaken(graph: Graph) -> Graph:
    return equalised(shaken(graph, 3))


def test_chains_follow_residual_additions(graph: Graph) -> None:
    chains = find_chains(graph)
    tensors = [name for chain in chains for name in chain.tensors]
    assert len(tensors) == len(set(tensors))
    projects = {node.name for node in graph.nodes if node.name.endswith(".project")}
    adds = {node.name for node in graph.nodes if isinstance(node, Add)}
    onto_the_stem = (
        {"blocks.0.project", "blocks.0.add"} if "blocks.0.add" in adds else set()
    )  # the stem's swish can't be rescaled
    assert set(tensors) == (projects | adds) - onto_the_stem
    assert sorted(len(chain.makers) for chain in chains) == [1, 1, 1, 1, 2, 2, 2][bool(onto_the_stem) :]
    nodes = graph.by_name()
    for chain in chains:
        for reader in chain.readers:
            assert set(nodes[reader].inputs) <= set(chain.tensors)


def test_rescaling_keeps_the_function_to_the_bit_for_powers_of_two(graph: Graph) -> None:
    for image in inputs_of(graph, 2, seed=9):
        np.testing.assert_array_equal(execute(shaken(graph, 1), image), execute(graph, image))


def test_equalising_keeps_the_function(graph: Graph, from_shaken: Graph) -> None:
    changed = from_shaken
    assert any(
        not np.array_equal(new.weight, old.weight)
        for new, old in zip(weighted(changed.nodes), weighted(graph.nodes), strict=True)
    )
    for image in inputs_of(graph, 3, seed=5):
        assert (
            relative_difference(execute(graph, image.astype(np.float64)), execute(changed, image.astype(np.float64)))
            < 1e-5
        )
        assert relative_difference(execute(graph, image), execute(changed, image)) < 3e-5


def test_equalising_forgets_the_scales_before_and_leaves_its_argument(graph: Graph, from_shaken: Graph) -> None:
    weights = [node.weight.copy() for node in weighted(graph.nodes)]
    first = equalised(graph)
    for kept, node in zip(weights, weighted(graph.nodes), strict=True):
        np.testing.assert_array_equal(kept, node.weight)
    for one, other in zip(weighted(first.nodes), weighted(from_shaken.nodes), strict=True):
        np.testing.assert_allclose(one.weight, other.weight, rtol=1e-5, atol=1e-30)
        np.testing.assert_allclose(one.bias, other.bias, rtol=1e-5, atol=1e-30)


def test_equalised_channels_reach_alike(graph: Graph, from_shaken: Graph) -> None:
    images = inputs_of(graph, 2)
    statistics = [
        measure(found, list(images), Wanted(statistics=10_000)).statistics for found in (shaken(graph, 3), from_shaken)
    ]
    for chain in find_chains(graph):
        if len(chain.tensors) > 1:
            continue
        name = chain.tensors[0]
        spread = [np.ptp(np.log2(np.maximum(-s[name].channel_low, s[name].channel_high))) for s in statistics]
        assert spread[0] > 4
        assert spread[1] < 2.5


def test_dead_channels_stay_finite(graph: Graph) -> None:
    changed = {}
    for chain in find_chains(graph):
        for name in chain.makers:
            node = graph.by_name()[name]
            assert isinstance(node, Conv2D)
            weight, bias = node.weight.copy(), node.bias.copy()
            weight[:2], bias[:2] = 0, 0
            changed[name] = replace(node, weight=weight, bias=bias)
    dead = replace(graph, nodes=tuple(changed.get(node.name, node) for node in graph.nodes))
    result = equalised(dead)
    assert all(np.isfinite(node.weight).all() and np.isfinite(node.bias).all() for node in weighted(result.nodes))
    image = inputs_of(graph, 1, seed=5)[0]
    assert relative_difference(execute(dead, image), execute(result, image)) < 1e-5
    largest = max(float(np.abs(node.weight).max()) for node in weighted(result.nodes))
    assert largest < 1e3 * max(float(np.abs(node.weight).max()) for node in weighted(dead.nodes))


def test_a_chain_of_nothing_but_zeros() -> None:
    random = np.random.default_rng(0)
    maker = replace(
        pointwise("make", "image", random, 3, 4),
        weight=np.zeros((4, 1, 1, 3), np.float32),
        bias=np.zeros(4, np.float32),
    )
    graph = graph_of(
        [maker, pointwise("read", "make", random, 4, 2), Activation("out", ("read",), "swish")], channels=3
    )
    result = equalised(graph)
    assert all(np.isfinite(node.weight).all() for node in weighted(result.nodes))
    image = inputs_of(graph, 1)[0]
    np.testing.assert_array_equal(execute(result, image), execute(graph, image))


@pytest.mark.parametrize("kind", ["activated", "output", "read by a depthwise", "added to the image"])
def test_what_is_no_chain(kind: str) -> None:
    random = np.random.default_rng(0)
    make = pointwise("make", "image", random, 3, 3, activation="relu6" if kind == "activated" else "none")
    depthwise = DepthwiseConv2D(
        "read", ("make",), np.ones((1, 1, 3), np.float32), np.zeros(3, np.float32), activation="relu6"
    )
    nodes = {
        "activated": [make, pointwise("read", "make", random, 3, 3, activation="relu6")],
        "output": [make],
        "read by a depthwise": [make, depthwise],
        "added to the image": [
            make,
            Add("sum", ("make", "image")),
            pointwise("read", "sum", random, 3, 3, activation="relu6"),
        ],
    }[kind]
    assert find_chains(graph_of(nodes, channels=3)) == ()
