"""A swish whose channels are brought to one range, where one int8 scale for all of them costs too much.

x · σ(x) becomes x′ · σ(s · x′) with x′ = x / s: the convolution gives x′, a multiplication by s, one a channel, feeds
the sigmoid, and whoever reads the product takes s into its weights. The same function; but the engine no longer runs
the swish as one table look-up, so much noise must speak for it. The sigmoid's input needs no wide range: far from zero
the sigmoid no longer changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edge_effnet.graph import Conv2D, DepthwiseConv2D, GlobalMean, Graph, Mul, Node, Sigmoid, Swish
from edge_effnet.quantization.prices import noise_per_tile, pixels, tiles
from edge_effnet.quantization.ranges import IDENTITY, SWISH, channel_ranges, least_error_range
from edge_effnet.quantization.sensitivity import Sensitivity
from edge_effnet.quantization.statistics import TensorStatistics

Factors = npt.NDArray[np.float64]

#: What an equalised swish costs more for each tile of its tensor, in a convolution's tiles; measured on x86.
_TILES_PER_TILE = 0.65
#: A channel's range counts as at least this share of the widest one's.
_NARROWEST = 1.0 / 64.0


def equalise_swishes(
    graph: Graph, statistics: Mapping[str, TensorStatistics], sensitivity: Sensitivity, *, noise: float
) -> tuple[Graph, frozenset[str]]:
    """The same function with those swishes equalised that save more of the network's logit noise power than they cost.

    Also the products of gates behind them, whose channels have one range by that.
    """
    products: set[str] = set()
    shapes = graph.shapes()
    per_tile = noise_per_tile(graph, noise)
    for swish in list(_candidates(graph)):
        source, weights = swish.inputs[0], (sensitivity[swish.name], sensitivity[swish.name])
        shape = shapes[swish.name]
        factors, gain = swish_factors(statistics[source], statistics[swish.name], *weights)
        if gain > _TILES_PER_TILE * pixels(shape) * tiles(shape[3]) * per_tile:
            products |= {reader.name for reader in graph.consumers()[swish.name] if isinstance(reader, Mul)}
            graph = rescale_swish(graph, swish.name, factors)
    return graph, frozenset(products)


def _candidates(graph: Graph) -> Iterator[Swish]:
    """Swishes behind a convolution of their own whose readers can take factors into their weights."""
    nodes, readers = graph.by_name(), graph.consumers()
    for node in graph.nodes:
        if not isinstance(node, Swish) or graph.shapes()[node.name][1:3] == (1, 1):
            continue
        alone = len(readers[node.inputs[0]]) == 1 and isinstance(nodes.get(node.inputs[0]), Conv2D | DepthwiseConv2D)
        if alone and _weights_behind(graph, node.name) is not None:
            yield node


def _weights_behind(graph: Graph, tensor: str) -> list[str] | None:
    """The convolutions that read a tensor, by way of gates and means; None where something else does."""
    found: list[str] = []
    for reader in graph.consumers()[tensor]:
        if isinstance(reader, Conv2D | DepthwiseConv2D):
            found.append(reader.name)
            continue
        gated = isinstance(reader, Mul) and reader.inputs[0] == tensor
        behind = _weights_behind(graph, reader.name) if gated or isinstance(reader, GlobalMean) else None
        if not behind:
            return None
        found += behind
    return found or None


def swish_factors(
    source: TensorStatistics, product: TensorStatistics, source_weights: Factors, product_weights: Factors
) -> tuple[Factors, float]:
    """float64[C] above 0, and the logit noise power they save: two tensors at one scale against one range for all
    channels.

    source, product: before and after the swish. *_weights: float64[C], what a unit of error behind the swish does to
    the logits.
    """
    now = least_error_range(source, SWISH, source_weights)[2] + least_error_range(product, IDENTITY, product_weights)[2]
    lows, highs, errors = channel_ranges(source, SWISH, source_weights)
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
    """The same function with the swish's input and output divided by `factors` (float[C], above 0)."""
    nodes = graph.by_name()
    behind = _weights_behind(graph, swish)
    if behind is None:
        raise KeyError(f"{swish} is read by more than convolutions")
    weight = factors.astype(np.float32)
    source = nodes[swish].inputs[0]
    changed: list[Node] = []
    for node in graph.nodes:
        if node.name == source and isinstance(node, Conv2D):
            changed.append(replace(node, weight=node.weight / weight[:, None, None, None], bias=node.bias / weight))
        elif node.name == source and isinstance(node, DepthwiseConv2D):
            changed.append(replace(node, weight=node.weight / weight, bias=node.bias / weight))
        elif node.name == swish:
            spread = DepthwiseConv2D(f"{swish}.spread", (source,), weight[None, None], np.zeros_like(weight))
            changed += [spread, Sigmoid(f"{swish}.sigmoid", (spread.name,)), Mul(swish, (source, f"{swish}.sigmoid"))]
        elif node.name in behind and isinstance(node, Conv2D | DepthwiseConv2D):
            changed.append(replace(node, weight=node.weight * weight))
        else:
            changed.append(node)
    return replace(graph, nodes=tuple(changed))
