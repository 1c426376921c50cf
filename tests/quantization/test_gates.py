"""Rescaled gates: exactly the same function, and a product whose channels share one range."""

from __future__ import annotations

import numpy as np
import pytest
from support.networks import both, float_graph, inputs_of, narrow_state, relative_difference

from edge_effnet.network.execute import execute
from edge_effnet.network.graph import DepthwiseConv2D, Graph
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.quantization.measure.noise import tensor_noise
from edge_effnet.quantization.measure.passes import Measurement, Wanted, measure
from edge_effnet.quantization.stages.gates import choose_gates, gate_factors, rescale_gate


@pytest.fixture(scope="module")
def graph() -> Graph:
    return float_graph(narrow_state("b0"), "b0")


def test_every_gate_is_rescaled_exactly(graph: Graph) -> None:
    shapes = tensor_shapes(graph)
    products = [name for name in shapes if name.endswith(".se.scale")]
    assert len(products) == sum(isinstance(node, DepthwiseConv2D) for node in graph.nodes)
    for number, product in enumerate(products):
        factors = np.random.default_rng(number).uniform(0.05, 1, shapes[product][3])
        changed = rescale_gate(graph, product, factors)
        (added,) = set(changed.by_name()) - set(graph.by_name())
        assert isinstance(changed.by_name()[added], DepthwiseConv2D)
        for image in inputs_of(graph, 1, seed=3):
            assert relative_difference(execute(graph, image), execute(changed, image)) < 1e-5


def test_the_noise_falls_as_predicted(graph: Graph) -> None:
    images = inputs_of(graph, 3)
    found = both(graph, images)
    before = tensor_noise(graph, found.statistics, found.sensitivity)
    changed = graph
    for choice in choose_gates(graph, found, least_gain=0.0):
        changed = rescale_gate(changed, choice.product, choice.factors)
    measured = both(changed, images)
    after = tensor_noise(changed, measured.statistics, measured.sensitivity)
    products = [name for name in before if name.endswith(".se.scale")]
    assert sum(after[name] for name in products) < 0.8 * sum(before[name] for name in products)
    assert sum(after.values()) < sum(before.values())


def test_one_far_reaching_channel_is_brought_down(graph: Graph) -> None:
    images = inputs_of(graph, 2)
    found = measure(graph, list(images), Wanted(statistics=10_000)).statistics["blocks.3.se.scale"]
    weights = np.ones_like(found.channel_high)
    widest = int(np.argmax(found.channel_high - found.channel_low))
    factors, gain = gate_factors(found, weights, 1e-6 * weights)
    assert gain > 0
    assert factors.min() == factors[widest] < factors.max() <= 1
    kept, _ = gate_factors(found, 1e-9 * weights, weights)  # the gate's own precision counts for more
    assert (kept == 1).all()


def test_little_gain_and_products_that_are_done(graph: Graph) -> None:
    images = inputs_of(graph, 2)
    found = both(graph, images)
    assert choose_gates(graph, found, least_gain=np.inf) == ()
    everything = frozenset(name for name in found.statistics if name.endswith(".se.scale"))
    assert choose_gates(graph, found, least_gain=0.0, done=everything) == ()


def test_a_network_without_gates() -> None:
    graph = float_graph(narrow_state("lite0"), "lite0", size=32)
    assert choose_gates(graph, Measurement({}, {}, {}), least_gain=0.0) == ()
