"""Gradients against finite differences, and the estimate against the whole Jacobian."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.networks import float_graph, graph_of, inputs_of, narrow_state, pointwise

from edge_effnet.network.execute import execute
from edge_effnet.network.geometry import Padding
from edge_effnet.network.graph import Activation, Add, Border, Conv2D, Dense, DepthwiseConv2D, GlobalMean, Graph, Mul
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.quantization.measure.passes import Wanted, measure


def tiny(stride: int) -> Graph:
    """One of every kind of node, with a gate and a residual sum."""
    random = np.random.default_rng(0)

    def draw(*shape: int) -> Any:
        return (random.standard_normal(shape) * 0.6).astype(np.float32)

    nodes = (
        Border("border", ("image",), Padding(1, 1, 1, 1), (0.1, 0.2)),
        Conv2D("stem", ("border",), draw(4, 3, 3, 2), draw(4)),
        Activation("act", ("stem",), "swish"),
        pointwise("wide", "act", random, 4, 6, activation="relu6"),
        DepthwiseConv2D("depthwise", ("wide",), draw(3, 3, 6), draw(6), stride, Padding(1, 1, 0, 1)),
        GlobalMean("squeeze", ("depthwise",), keep_dims=True),
        pointwise("excite", "squeeze", random, 6, 6),
        Activation("gate", ("excite",), "sigmoid"),
        Mul("scaled", ("depthwise", "gate")),
        pointwise("left", "scaled", random, 6, 3),
        pointwise("right", "scaled", random, 6, 3),
        Add("sum", ("left", "right"), "relu6"),
        Add("twice", ("sum", "sum")),
        Mul("square", ("twice", "left")),
        GlobalMean("pooled", ("square",), keep_dims=False),
        Dense("logits", ("pooled",), draw(1, 3), draw(1)),
    )
    return graph_of(nodes, channels=2)


@pytest.mark.parametrize("stride", [1, 2])
def test_one_logit_is_the_squared_gradient(stride: int) -> None:
    """With one logit the random sign falls out of the square, so the estimate is exact."""
    graph = tiny(stride)
    image = inputs_of(graph, 1)[0].astype(np.float64)
    found = measure(graph, [image], Wanted(sensitivity=10_000), seed=0).sensitivity
    assert set(found) == {node.name for node in graph.nodes}
    shapes = tensor_shapes(graph)
    step = 1e-6
    for node in graph.nodes:
        if node.name == "border":
            continue  # the image's own noise isn't asked for
        shape = shapes[node.name]
        gradient = np.zeros(shape)
        for index in np.ndindex(*shape):

            def moved(name: str, tensor: Any, sign: int, index: Any = index, wanted: str = node.name) -> Any:
                if name == wanted:
                    tensor = tensor.copy()
                    tensor[index] += sign * step
                return tensor

            high, low = (
                execute(graph, image, hook=lambda name, tensor, sign=sign: moved(name, tensor, sign))
                for sign in (1, -1)
            )  # type: ignore[misc]
            gradient[index] = (high - low)[0, 0] / (2 * step)
        expected = np.square(gradient).reshape(-1, shape[-1]).sum(axis=0)
        np.testing.assert_allclose(found[node.name], expected, rtol=1e-4, atol=1e-10, err_msg=node.name)


def test_random_signs_average_to_the_whole_jacobian() -> None:
    random = np.random.default_rng(1)
    nodes = [pointwise("first", "image", random, 3, 4), GlobalMean("pooled", ("first",), keep_dims=False)]
    dense = Dense("logits", ("pooled",), random.standard_normal((7, 4)).astype(np.float32), np.zeros(7, np.float32))
    graph = graph_of([*nodes, dense], channels=3)
    found = measure(graph, list(inputs_of(graph, 1) * 3000), Wanted(sensitivity=10_000), seed=2).sensitivity
    exact = np.square(dense.weight.astype(np.float64)).sum(axis=0)
    np.testing.assert_allclose(found["pooled"], exact, rtol=0.05)
    np.testing.assert_allclose(found["first"], exact / 30, rtol=0.05)  # 6 · 5 positions of a 30th each
    np.testing.assert_allclose(found["logits"], np.ones(7), rtol=1e-12)


def test_averaged_over_photos_and_deterministic_by_seed() -> None:
    graph = float_graph(narrow_state("b0"), "b0")
    images = inputs_of(graph, 3)
    first, again, other = (
        measure(graph, list(images), Wanted(sensitivity=10_000), seed=seed).sensitivity for seed in (0, 0, 1)
    )
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert (first[name] >= 0).all()
        assert np.isfinite(first[name]).all()
    assert any(not np.array_equal(first[name], other[name]) for name in first)
    alone = tiny(1)
    each = [
        measure(alone, [image], Wanted(sensitivity=10_000), seed=0).sensitivity["left"] for image in inputs_of(alone, 3)
    ]
    np.testing.assert_allclose(
        measure(alone, list(inputs_of(alone, 3)), Wanted(sensitivity=10_000), seed=0).sensitivity["left"],
        np.mean(each, axis=0),
        rtol=1e-5,
    )
