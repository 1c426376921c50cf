"""Rescaling what squeeze-excitation gates, so that no channel sets the scale of the product.

The gate multiplies each channel by a number between 0 and 1. Multiplied by a factor of its own first, on one pixel, it
shrinks the channels that reach farthest, and the projection, which alone reads the product, undoes it: the same
function, for next to no arithmetic. What a small factor costs is the gate's own precision, one step of 1/256 for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edge_effnet.graph import Conv2D, DepthwiseConv2D, Graph, Mul, Node, Sigmoid
from edge_effnet.numerics import SIGMOID_PARAMS
from edge_effnet.quantization.ranges import IDENTITY, channel_ranges
from edge_effnet.quantization.sensitivity import Sensitivity
from edge_effnet.quantization.statistics import TensorStatistics

Factors = npt.NDArray[np.float64]

#: Shares of the farthest channel's range that the others may be brought down to.
_SHARES = np.geomspace(1.0, 1.0 / 64.0, 25)


def equalise_gates(
    graph: Graph,
    statistics: Mapping[str, TensorStatistics],
    sensitivity: Sensitivity,
    *,
    least_gain: float,
    done: frozenset[str] = frozenset(),
) -> Graph:
    """The same function with rescaled gates where that saves at least `least_gain` (logit noise power).

    done: products that are left alone, their channels having one range already.
    """
    for product in [found for found in _gated(graph) if found.name not in done]:
        gate = product.inputs[1]
        factors, gain = gate_factors(statistics[product.name], sensitivity[product.name], sensitivity[gate])
        if gain > 0 and gain >= least_gain:
            graph = rescale_gate(graph, product.name, factors)
    return graph


def _gated(graph: Graph) -> Iterator[Mul]:
    """Products with a gate of one pixel that read nothing else's sigmoid, and that one convolution alone reads."""
    nodes, readers, shapes = graph.by_name(), graph.consumers(), graph.shapes()
    for node in graph.nodes:
        if not isinstance(node, Mul) or [type(reader) for reader in readers[node.name]] != [Conv2D]:
            continue
        gate = node.inputs[1]
        if isinstance(nodes.get(gate), Sigmoid) and shapes[gate][1:3] == (1, 1) and len(readers[gate]) == 1:
            yield node


def gate_factors(product: TensorStatistics, product_weights: Factors, gate_weights: Factors) -> tuple[Factors, float]:
    """float64[C] in (0, 1], and the logit noise power they save: what the product's one scale costs against the gate's.

    product_weights, gate_weights: float64[C], what a unit of error in each channel does to the logits.
    """
    lows, highs, _ = channel_ranges(product, IDENTITY, product_weights)
    reach = highs - lows
    best = np.ones_like(reach)
    if reach.max() <= 0:
        return best, 0.0
    least = whole = _noise(best, reach.max(), product_weights, gate_weights)
    for width in _SHARES * reach.max():
        factors = np.minimum(1.0, width / np.maximum(reach, width))
        noise = _noise(factors, width, product_weights, gate_weights)
        if noise < least:
            best, least = factors, noise
    return best, whole - least


def _noise(factors: Factors, width: float, product_weights: Factors, gate_weights: Factors) -> float:
    """Logit noise power of the product's rounding, over a range of `width`, and of the gate's."""
    steps = product_weights * (width / 255) ** 2 + gate_weights * SIGMOID_PARAMS.scale**2
    return float(np.sum(steps / np.square(factors)) / 12)


def rescale_gate(graph: Graph, product: str, factors: Factors) -> Graph:
    """The same function with the product's gate multiplied by `factors` (float[C], above 0) and its reader divided by
    them.

    The multiplication is a depthwise convolution of one pixel: its weights, one a channel, are exact in int8.
    """
    weight = factors.astype(np.float32)
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name == product and isinstance(node, Mul):
            name = node.inputs[1].replace(".gate", ".rescale")
            nodes += [
                DepthwiseConv2D(name, (node.inputs[1],), weight[None, None], np.zeros_like(weight)),
                replace(node, inputs=(node.inputs[0], name)),
            ]
        elif product in node.inputs and isinstance(node, Conv2D):
            nodes.append(replace(node, weight=(node.weight / weight).astype(np.float32)))
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes))
