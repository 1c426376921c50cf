"""Rescaling what squeeze-excitation gates, so that no channel sets the scale of the product.

The gate multiplies each channel by a number between 0 and 1. Here each channel's gate is multiplied by a factor first,
which makes the widest channels of the product narrower; the weights of the projection, the product's only reader, are
divided by the same factors, so the function stays the same. This costs one multiplication a channel. A small factor
makes the gate itself less precise, since its step is 1/256 for all channels.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_effnet.network.activations import IDENTITY
from edge_effnet.network.graph import Conv2D, DepthwiseConv2D, Graph, Mul, Node, with_nodes
from edge_effnet.network.rewrite import inserted_before, scale_inputs
from edge_effnet.network.structure import find_gates, only_reader
from edge_effnet.numerics import SIGMOID_PARAMS
from edge_effnet.quantization.measure.noise import tensor_noise
from edge_effnet.quantization.measure.passes import Measurement
from edge_effnet.quantization.measure.statistics import TensorStatistics
from edge_effnet.quantization.stages.ranges import channel_ranges
from edge_effnet.quantization.state import Change, Stage, State, Work, known

Factors = npt.NDArray[np.float64]

#: Share of the expected noise that rescaling a gate must save: it costs an operator on one pixel, 30 bytes a channel.
_LEAST_GAIN = 0.003
#: Shares of the farthest channel's range that the others may be brought down to.
_SHARES = np.geomspace(1.0, 1.0 / 64.0, 25)


@dataclass(frozen=True, eq=False)
class GateChoice:
    """A product worth rescaling: its gate's factors, float64[C] in (0, 1], and the logit noise power they save."""

    product: str
    factors: Factors
    gain: float


def choose_gates(
    graph: Graph, found: Measurement, *, least_gain: float, done: Container[str] = ()
) -> tuple[GateChoice, ...]:
    """The products whose gates are worth rescaling: those that save at least `least_gain`.

    done: products that are left alone, their channels having one range already.
    """
    choices = []
    for product in [node for node in _gated(graph) if node.name not in done]:
        weights = found.sensitivity
        factors, gain = gate_factors(found.statistics[product.name], weights[product.name], weights[product.inputs[1]])
        if gain > 0 and gain >= least_gain:
            choices.append(GateChoice(product.name, factors, gain))
    return tuple(choices)


def _gated(graph: Graph) -> Iterator[Mul]:
    """Products with a gate of their own that one convolution alone reads."""
    readers = graph.consumers()
    for product, _gate in find_gates(graph):
        reader = only_reader(readers, product.name, Conv2D)
        if isinstance(reader, Conv2D) and reader.groups == 1 and product.name not in graph.outputs:
            yield product


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
    *_, gate = graph.by_name()[product].inputs
    (reader,) = graph.consumers()[product]

    def rescaling(name: str) -> Node:
        return DepthwiseConv2D(name, (gate,), weight[None, None], np.zeros_like(weight))

    graph = inserted_before(graph, product, gate, rescaling, name=f"{gate}.rescale")
    return with_nodes(graph, {reader.name: scale_inputs(reader, 1 / weight.astype(np.float64))})


def _run(state: State, _work: Work) -> State:
    """Leaves products alone whose channels have one range already, behind an equalised swish."""
    preview, graph = known(state.preview), state.graph
    done = {name for change in state.log if change.stage == "swishes" for name in change.details["products"]}
    least = _LEAST_GAIN * sum(tensor_noise(graph, preview.statistics, preview.sensitivity).values())
    choices = choose_gates(graph, preview, least_gain=least, done=done)
    for choice in choices:
        graph = rescale_gate(graph, choice.product, choice.factors)
    return state.rewritten(graph, None, *(Change("gates", choice.product, choice.gain) for choice in choices))


STAGE = Stage("gates", lambda recipe: recipe.gates, frozenset({"preview"}), frozenset(), _run)
