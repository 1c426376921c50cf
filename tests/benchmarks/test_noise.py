"""Where an int8 network's error comes from: the figures, and one tensor alone."""

from __future__ import annotations

import numpy as np
from support.networks import float_graph, inputs_of, narrow_state

from edge_effnet.benchmarks.noise import alone, errors_of
from edge_effnet.network.execute import execute
from edge_effnet.numerics import params_for_range


def test_a_constant_error_is_all_mean() -> None:
    exact = np.random.default_rng(0).standard_normal((50, 10))
    found = errors_of(exact, exact + 0.1)
    assert abs(found.db - 20) < 0.5
    assert found.without_mean_db > 200
    assert found.agreement == 1.0


def test_one_bad_photo_is_most_of_the_error_and_not_the_median() -> None:
    exact = np.random.default_rng(0).standard_normal((50, 10))
    moved = exact + 0.01 * np.random.default_rng(1).standard_normal((50, 10))
    moved[7] += 5
    found = errors_of(exact, moved)
    assert found.worst > 0.9
    assert found.median_db > found.db + 10


def test_rounds_one_tensor_and_nothing_else() -> None:
    graph = float_graph(narrow_state("lite0"), "lite0", size=32)
    images = list(inputs_of(graph, 2))
    exact = np.concatenate([execute(graph, image) for image in images])
    name = graph.nodes[0].name
    fine, coarse = (alone(graph, images, {name: params_for_range(0.0, high)}, name) for high in (6.0, 600.0))
    assert 0 < np.abs(fine - exact).max() < np.abs(coarse - exact).max()
