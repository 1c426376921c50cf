"""Tensors that stay float32: which they are, and that files of both formats hold them so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from support.networks import float_graph, graph_of, inputs_of, narrow_state, pointwise

from edge_effnet.network.graph import Activation, Dense, GlobalMean, Graph
from edge_effnet.quantization.measure.passes import Measurement, Wanted, measure
from edge_effnet.quantization.stages.floats import choose_floats


def measured(graph: Graph) -> Measurement:
    return measure(graph, list(inputs_of(graph, 4)), Wanted(statistics=4, sensitivity=4))


def test_the_last_activation_before_the_pooling_stays_float() -> None:
    graph = float_graph(narrow_state("b0"), "b0", size=32)
    assert "head.swish" in choose_floats(graph, measured(graph))


def test_a_stem_that_makes_most_of_the_noise_stays_float() -> None:
    random = np.random.default_rng(0)
    nodes = (
        pointwise("stem", "image", random, 3, 8),
        Activation("stem.swish", ("stem",), "swish"),
        pointwise("second", "stem.swish", random, 8, 512),
        GlobalMean("pooled", ("second",), keep_dims=False),
        Dense("logits", ("pooled",), random.standard_normal((10, 512)).astype(np.float32), np.zeros(10, np.float32)),
    )
    graph = graph_of(nodes, channels=3, height=6, width=6)
    found = measured(graph)
    loud = {**found.sensitivity, "stem.swish": 1e4 * found.sensitivity["stem.swish"]}
    quiet = {**found.sensitivity, "stem.swish": 1e-6 * found.sensitivity["stem.swish"]}
    assert "stem" in choose_floats(graph, replace(found, sensitivity=loud))
    assert "stem" not in choose_floats(graph, replace(found, sensitivity=quiet))


def test_an_activation_inside_the_convolution_leaves_nothing_to_choose() -> None:
    graph = float_graph(narrow_state("lite0"), "lite0", size=32)
    assert not choose_floats(graph, measured(graph))
