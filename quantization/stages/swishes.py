"""A swish whose channels are brought to one range, where one int8 scale for all of them costs too much.

x · σ(x) becomes x′ · σ(s · x′) with x′ = x / s: the convolution gives x′, a multiplication by s, one a channel, feeds
the sigmoid, and whoever reads the product takes s into its weights. The same function; but the engine no longer runs
the swish as one table look-up, so much noise must speak for it. The sigmoid's input needs no wide range: far from zero
the sigmoid no longer changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_effnet.network.activations import IDENTITY, RESPONSES
from edge_effnet.network.graph import CONVOLUTIONS, Activation, DepthwiseConv2D, GlobalMean, Graph, Mul, Node
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.network.rewrite import fresh_name, replaced, scale_inputs, scale_outputs
from edge_effnet.network.structure import linear_readers, pooled_tensors
from edge_effnet.quantization.measure.noise import tensor_noise
from edge_effnet.quantization.measure.passes import Measurement
from edge_effnet.quantization.measure.prices import noise_per_tile, pixels, tiles
from edge_effnet.quantization.measure.statistics import TensorStatistics
from edge_effnet.quantization.stages.ranges import channel_ranges, least_error_range
from edge_effnet.quantization.state import Change, Stage, State, Work, known

Factors = npt.NDArray[np.float64]

#: What an equalised swish costs more for each tile of its tensor, in a convolution's tiles; measured on x86.
_TILES_PER_TILE = 0.65
#: A channel's range counts as at least this share of the widest one's.
_NARROWEST = 1.0 / 64.0


@dataclass(frozen=True, eq=False)
class SwishChoice:
    """A swish worth rescaling: its factors, float64[C], and the logit noise power they save."""

    swish: str
    factors: Factors
    gain: float


def choose_swishes(graph: Graph, found: Measurement, *, noise: float) -> tuple[SwishChoice, ...]:
    """The swishes that save more of the network's logit noise power (`noise`) than their time is worth."""
    shapes = tensor_shapes(graph)
    per_tile = noise_per_tile(graph, noise)
    choices = []
    for node in _candidates(graph):
        if node.inputs[0] not in found.statistics:
            continue
        source, weights, shape = node.inputs[0], found.sensitivity[node.name], shapes[node.name]
        factors, gain = swish_factors(found.statistics[source], found.statistics[node.name], weights, weights)
        if gain > _TILES_PER_TILE * pixels(shape) * tiles(shape[3]) * per_tile:
            choices.append(SwishChoice(node.name, factors, gain))
    return tuple(choices)


def _candidates(graph: Graph) -> Iterator[Activation]:
    """Swishes behind an unactivated convolution of their own whose readers can take factors into their weights."""
    nodes, readers, pooled = graph.by_name(), graph.consumers(), pooled_tensors(graph)
    for node in graph.nodes:
        if not (isinstance(node, Activation) and node.kind == "swish") or node.name in pooled:
            continue
        source = nodes.get(node.inputs[0])
        alone = isinstance(source, CONVOLUTIONS) and source.activation == "none" and len(readers[source.name]) == 1
        if alone and linear_readers(graph, node.name) is not None:
            yield node


def swish_factors(
    source: TensorStatistics, product: TensorStatistics, source_weights: Factors, product_weights: Factors
) -> tuple[Factors, float]:
    """float64[C] above 0, and the logit noise power they save: two tensors at one scale against one range for all
    channels.

    source, product: before and after the swish. *_weights: float64[C], what a unit of error behind the swish does to
    the logits.
    """
    now = (
        least_error_range(source, RESPONSES["swish"], source_weights)[2]
        + least_error_range(product, IDENTITY, product_weights)[2]
    )
    lows, highs, errors = channel_ranges(source, RESPONSES["swish"], source_weights)
    factors = np.maximum(-lows, highs)
    if factors.max() <= 0:
        return np.ones_like(factors), 0.0
    factors = np.maximum(factors, factors.max() * _NARROWEST)
    wider = ((highs / factors).max() - (lows / factors).min()) * factors / np.maximum(highs - lows, factors * 1e-9)
    product_lows, product_highs, _ = channel_ranges(product, IDENTITY, product_weights)
    width = (product_highs / factors).max() - (product_lows / factors).min()
    after = (
        np.sum(errors * np.square(np.maximum(wider, 1.0)))
        + np.sum(product_weights * np.square(factors * width / 255)) / 12
    )
    return factors, now - float(after)


def rescale_swish(graph: Graph, swish: str, factors: Factors) -> Graph:
    """The same function with the swish's input and output divided by `factors` (float[C], above 0).

    Raises KeyError where more than convolutions read it.
    """
    behind = linear_readers(graph, swish)
    if behind is None:
        raise KeyError(f"{swish} is read by more than convolutions")
    nodes = graph.by_name()
    source = nodes[swish].inputs[0]
    weight = factors.astype(np.float32)
    spread = DepthwiseConv2D(fresh_name(graph, f"{swish}.spread"), (source,), weight[None, None], np.zeros_like(weight))
    gate = Activation(fresh_name(graph, f"{swish}.sigmoid"), (spread.name,), "sigmoid")
    changed: dict[str, tuple[Node, ...]] = {node.name: (scale_inputs(node, weight),) for node in behind}
    changed[source] = (scale_outputs(nodes[source], 1 / weight.astype(np.float64)),)
    changed[swish] = (spread, gate, Mul(swish, (source, gate.name)))
    return replaced(graph, changed)


def _run(state: State, _work: Work) -> State:
    preview, graph = known(state.preview), state.graph
    expected = sum(tensor_noise(graph, preview.statistics, preview.sensitivity).values())
    log = []
    for choice in choose_swishes(graph, preview, noise=expected):
        products = [node.name for node in graph.consumers()[choice.swish] if isinstance(node, Mul)]
        preview = _rescaled(graph, choice, preview)
        graph = rescale_swish(graph, choice.swish, choice.factors)
        log.append(Change("swishes", choice.swish, choice.gain, {"products": products}))
    return state.rewritten(graph, preview, *log)


def _rescaled(graph: Graph, choice: SwishChoice, before: Measurement) -> Measurement:
    """What was measured, for the swish's input and output, and for the gate's product behind it, divided by factors."""
    statistics, sensitivity = dict(before.statistics), dict(before.sensitivity)
    names = [graph.by_name()[choice.swish].inputs[0], choice.swish]
    names += [node.name for node in graph.consumers()[choice.swish] if isinstance(node, Mul | GlobalMean)]
    for name in names:
        statistics[name] = statistics[name].rescaled(choice.factors)
        if name in sensitivity:
            sensitivity[name] = sensitivity[name] * np.square(choice.factors)
    return Measurement(statistics, sensitivity, {})


STAGE = Stage("swishes", lambda recipe: recipe.swishes, frozenset({"preview"}), frozenset({"preview"}), _run)
