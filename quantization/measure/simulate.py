"""Quantization simulated in floating point: what a quantized graph computes, and what each rounding does by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.network.activations import sigmoid
from edge_effnet.network.execute import execute
from edge_effnet.network.graph import WEIGHTED, Graph, Node, is_activation, weighted, with_nodes
from edge_effnet.network.operators import run_node
from edge_effnet.numerics import QuantParams
from edge_effnet.quantization.records import QuantizedGraph

Array = npt.NDArray[Any]


def fake_quantize(values: Array, params: QuantParams) -> Array:
    """The values as int8 would hold them, still float32; a new array."""
    result = np.multiply(values, np.float32(1.0 / params.scale), dtype=np.float32)
    np.rint(result, out=result)
    np.clip(result, -128 - params.zero_point, 127 - params.zero_point, out=result)
    result *= np.float32(params.scale)
    return result


def rounded_swish(values: Array) -> Array:
    """x · σ(x) as LiteRT computes the int8 pair: σ rounded to 1/256 and at most 255/256 before the product."""
    gate = np.rint(sigmoid(values) * np.float32(256.0))
    np.minimum(gate, np.float32(255.0), out=gate)
    gate *= values
    gate *= np.float32(1.0 / 256.0)
    return gate


def run_rounded(node: Node, inputs: list[Array], activations: Mapping[str, QuantParams]) -> Array:
    """One node's output, rounded to its int8 parameters if it has any."""
    integer = all(name in activations for name in (node.name, *node.inputs))
    result = rounded_swish(inputs[0]) if integer and is_activation(node, "swish") else run_node(node, inputs)
    return fake_quantize(result, activations[node.name]) if node.name in activations else result


def with_rounded_weights(quantized: QuantizedGraph) -> Graph:
    """The graph with each weight as its int8 value stands for."""
    nodes = {
        node.name: replace(node, weight=quantized.weights[node.name].dequantized())
        for node in weighted(quantized.graph.nodes)
        if node.name in quantized.weights
    }
    return with_nodes(quantized.graph, nodes)


def simulate(quantized: QuantizedGraph, images: Array) -> Array:
    """The logits a quantized graph gives, to within the engines' rounding of ties."""
    graph, params = with_rounded_weights(quantized), quantized.activations
    image = params.get(graph.input_name)
    start = images if image is None else fake_quantize(images, image)
    return execute(graph, start, run=lambda node, inputs: run_rounded(node, inputs, params))


def local_mean_errors(
    graph: Graph, activations: Mapping[str, QuantParams], inputs: Iterable[Array]
) -> Mapping[str, npt.NDArray[np.float64]]:
    """Tensor name → float64[C]: by how much activation rounding since the last convolution moves each channel's mean.

    Every convolution is fed the float network's tensors, so what is measured is the rounding between two convolutions
    alone, in pairs, value by value: a hundred photos pin it down to a hundredth of a step. Estimated through all
    layers at once it would be lost in the noise of the photos drawn.
    """
    totals: dict[str, Any] = {}
    images = 0
    for image in inputs:
        exact: dict[str, Array] = {graph.input_name: image}
        rounded: dict[str, Array] = {graph.input_name: image}
        for node in graph.nodes:
            exact[node.name] = run_node(node, [exact[name] for name in node.inputs])
            source = exact if isinstance(node, WEIGHTED) else rounded
            rounded[node.name] = run_rounded(node, [source[name] for name in node.inputs], activations)
            difference = (rounded[node.name] - exact[node.name]).reshape(-1, exact[node.name].shape[-1])
            totals[node.name] = totals.get(node.name, 0.0) + difference.mean(axis=0, dtype=np.float64)
        images += 1
    return {name: total / images for name, total in totals.items()}
