"""Means of each layer's output, with and without its correction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.networks import Array, float_graph, graph_of, inputs_of, narrow_state, pointwise

from edge_effnet.network.execute import execute
from edge_effnet.network.geometry import Padding
from edge_effnet.network.graph import (
    Activation,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalMean,
    Graph,
    weighted,
    with_nodes,
)
from edge_effnet.network.operators import run_node
from edge_effnet.numerics import QuantParams, params_for_range
from edge_effnet.quantization.measure.passes import Wanted, measure
from edge_effnet.quantization.measure.simulate import fake_quantize, local_mean_errors
from edge_effnet.quantization.records import QuantizedWeight
from edge_effnet.quantization.rounding import round_to_nearest, weight_scales
from edge_effnet.quantization.stages.bias_correction import correct_biases


def coarse_weights(graph: Graph, *, factor: int = 16) -> dict[str, QuantizedWeight]:
    """About 4 bits, so that rounding moves means far."""
    return {node.name: round_to_nearest(node, weight_scales(node, 1.0) * factor) for node in weighted(graph.nodes)}


def two_layers() -> Graph:
    random = np.random.default_rng(0)
    conv = Conv2D(
        "conv",
        ("image",),
        random.standard_normal((8, 3, 3, 3)).astype(np.float32),
        np.zeros(8, np.float32),
        2,
        Padding(1, 1, 1, 1),
    )
    single = DepthwiseConv2D(
        "single",
        ("swish",),
        random.standard_normal((3, 3, 8)).astype(np.float32),
        np.zeros(8, np.float32),
        1,
        Padding(1, 1, 1, 1),
    )
    dense = Dense("dense", ("mean",), random.standard_normal((4, 8)).astype(np.float32), np.ones(4, np.float32))
    return graph_of(
        [
            conv,
            Activation("swish", ("conv",), "swish"),
            single,
            GlobalMean("mean", ("single",), keep_dims=False),
            dense,
        ],
        channels=3,
        height=9,
        width=11,
    )


def tensors_of(graph: Graph, images: list[Array]) -> dict[str, list[Array]]:
    found: dict[str, list[Array]] = {}
    for image in images:
        execute(
            graph,
            image.astype(np.float64),
            hook=lambda name, tensor: found.setdefault(name, []).append(tensor) or tensor,
        )  # type: ignore[func-returns-value]
    return found


def test_the_mean_output_is_the_float_mean_for_each_layers_float_input() -> None:
    graph = two_layers()
    images = inputs_of(graph, 6)
    weights = coarse_weights(graph)
    corrected = correct_biases(graph, weights, measure(graph, list(images), Wanted(moments=10_000)).moments).by_name()
    tensors = tensors_of(graph, images)
    for node in weighted(graph.nodes):
        means = {}
        for label, bias in (("before", node.bias), ("after", corrected[node.name].bias)):  # type: ignore[union-attr]
            rounded = replace(node, weight=weights[node.name].dequantized(), bias=bias)
            outputs = [run_node(rounded, [tensor]) for tensor in tensors[node.inputs[0]]]
            means[label] = np.mean([output.reshape(-1, output.shape[-1]).mean(axis=0) for output in outputs], axis=0)
        exact = np.mean([output.reshape(-1, output.shape[-1]).mean(axis=0) for output in tensors[node.name]], axis=0)
        assert np.abs(means["before"] - exact).max() > 0.01
        np.testing.assert_allclose(means["after"], exact, atol=2e-5)


def test_weights_stay_and_other_layers_too() -> None:
    graph = two_layers()
    weights = coarse_weights(graph)
    corrected = correct_biases(
        graph, {"conv": weights["conv"]}, measure(graph, list(inputs_of(graph, 2)), Wanted(moments=10_000)).moments
    ).by_name()
    nodes = graph.by_name()
    assert corrected["single"] is nodes["single"]
    assert corrected["dense"] is nodes["dense"]
    np.testing.assert_array_equal(corrected["conv"].weight, nodes["conv"].weight)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["conv", "depthwise", "dense"])
def test_a_shift_of_the_input_is_taken_out_behind_the_weights(kind: str) -> None:
    """Without padding the correction is exact: the layer gives for x + e what it gave for x."""
    random = np.random.default_rng(1)
    nodes = {
        "conv": Conv2D(
            "n", ("image",), random.standard_normal((5, 3, 3, 4)).astype(np.float32), np.zeros(5, np.float32)
        ),
        "depthwise": DepthwiseConv2D(
            "n", ("image",), random.standard_normal((3, 3, 4)).astype(np.float32), np.zeros(4, np.float32)
        ),
        "dense": Dense("n", ("image",), random.standard_normal((5, 4)).astype(np.float32), np.zeros(5, np.float32)),
    }
    node = nodes[kind]
    graph = graph_of([node], channels=4)
    images = inputs_of(graph, 3) if kind != "dense" else [image[:, 0, 0] for image in inputs_of(graph, 3)]
    weights = {"n": round_to_nearest(node, weight_scales(node, 1.0))}
    error = random.standard_normal(4)
    corrected = correct_biases(
        graph, weights, measure(graph, list(images), Wanted(moments=10_000)).moments, {"image": error}
    ).nodes[0]
    rounded = replace(corrected, weight=weights["n"].dequantized())  # type: ignore[call-arg]
    exact = np.mean([run_node(node, [image.astype(np.float64)]) for image in images], axis=0)
    found = np.mean([run_node(rounded, [image.astype(np.float64) + error]) for image in images], axis=0)
    axes = tuple(range(exact.ndim - 1))
    np.testing.assert_allclose(found.mean(axis=axes), exact.mean(axis=axes), atol=1e-5)


def test_mean_errors_of_activations_against_rounding_each_stretch_by_hand() -> None:
    random = np.random.default_rng(3)
    graph = graph_of(
        [
            pointwise("conv", "image", random, 3, 6),
            Activation("swish", ("conv",), "swish"),
            pointwise("next", "swish", random, 6, 2),
        ],
        channels=3,
    )
    images = inputs_of(graph, 4)
    params = {
        "image": QuantParams(0.05, 0),
        "conv": params_for_range(-1, 1.5),
        "swish": params_for_range(-0.2, 1.0),
        "next": params_for_range(-0.4, 0.3),
    }
    found = local_mean_errors(graph, params, images)
    expected = {name: np.zeros(width) for name, width in (("conv", 6), ("swish", 6), ("next", 2))}
    for image in images:
        conv = run_node(graph.nodes[0], [image])
        rounded = fake_quantize(conv, params["conv"])
        exact = conv / (1 + np.exp(-conv))
        gate = np.minimum(np.rint(256 / (1 + np.exp(-rounded.astype(np.float64)))), 255) / 256
        after = run_node(graph.nodes[2], [exact])  # a weighted layer is judged for its float input
        for name, difference in (
            ("conv", rounded - conv),
            ("swish", fake_quantize((rounded * gate).astype(np.float32), params["swish"]) - exact),
            ("next", fake_quantize(after, params["next"]) - after),
        ):
            expected[name] += difference.reshape(-1, difference.shape[-1]).mean(axis=0) / len(images)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=2e-4)
        assert np.abs(values).max() > 1e-3


def test_corrected_networks_have_better_mean_logits() -> None:
    graph = float_graph(narrow_state("b0"), "b0")
    images = inputs_of(graph, 6)
    weights, moments = coarse_weights(graph, factor=4), measure(graph, list(images), Wanted(moments=10_000)).moments
    exact = np.mean([execute(graph, image) for image in images], axis=0)
    deviations = []
    for found in (graph, correct_biases(graph, weights, moments)):
        rounded = with_nodes(
            found, {node.name: replace(node, weight=weights[node.name].dequantized()) for node in weighted(found.nodes)}
        )
        deviations.append(
            float(np.square(np.mean([execute(rounded, image) for image in images], axis=0) - exact).sum())
        )
    assert deviations[1] < 0.75 * deviations[0]
