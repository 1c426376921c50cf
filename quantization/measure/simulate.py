"""Quantization simulated in floating point: what a quantized graph computes, and what each rounding does by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.network.activations import sigmoid
from edge_effnet.network.execute import execute
from edge_effnet.network.graph import WEIGHTED, Graph, Node, is_activation, weighted, with_nodes
from edge_effnet.network.operators import run_node
from edge_effnet.numerics import QuantParams
from edge_effnet.quantization.measure.passes import Images, strands
from edge_effnet.quantization.records import QuantizedGraph, is_integer

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
    integer = is_integer(node, activations)
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


class _MeanErrors:
    """Sums of each channel's mean error over photos."""

    def __init__(self) -> None:
        self.totals: dict[str, Any] = {}
        self.photos = 0

    def add(self, name: str, difference: Array) -> None:
        mean = difference.reshape(-1, difference.shape[-1]).mean(axis=0, dtype=np.float64)
        self.totals[name] = self.totals.get(name, 0.0) + mean

    def merge(self, other: _MeanErrors) -> None:
        for name, total in other.totals.items():
            self.totals[name] = self.totals.get(name, 0.0) + total
        self.photos += other.photos


def local_mean_errors(
    graph: Graph, activations: Mapping[str, QuantParams], images: Images, *, told: Callable[[], None] | None = None
) -> Mapping[str, npt.NDArray[np.float64]]:
    """Tensor name → float64[C]: by how much activation rounding since the last convolution moves each channel's mean.

    Every convolution is fed the float network's tensors, so what is measured is the rounding between two convolutions
    alone, in pairs, value by value: a hundred photos pin it down to a hundredth of a step. Estimated through all
    layers at once it would be lost in the noise of the photos drawn.
    """
    last_use = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}

    def look(sums: _MeanErrors, index: int) -> None:
        image = images[index]
        exact: dict[str, Array] = {graph.input_name: image}
        rounded: dict[str, Array] = {graph.input_name: image}
        for number, node in enumerate(graph.nodes):
            name, value = node.name, run_node(node, [exact[source] for source in node.inputs])
            exact[name] = value
            if isinstance(node, WEIGHTED):
                rounded[name] = fake_quantize(value, activations[name]) if name in activations else value
            else:
                rounded[name] = run_rounded(node, [rounded[source] for source in node.inputs], activations)
            if name in activations:
                sums.add(name, rounded[name] - value)
            for source in {source for source in node.inputs if last_use[source] == number}:
                del exact[source], rounded[source]
        sums.photos += 1

    found = strands(_MeanErrors, look, len(images), told=told)
    return {name: total / found.photos for name, total in found.totals.items()}
