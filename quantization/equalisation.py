"""Rescaling channels where the network is linear between two layers, so that no outlier channel sets a tensor's scale.

A bottleneck (a projection's output, and all that a chain of residual additions adds to it) is read by 1×1 convolutions
alone: dividing a channel by s where it is made and multiplying by s where it is read changes nothing that is computed
(Nagel et al., ICCV 2019, arXiv 1906.04721, section 4.1, for plain chains; here along whole residual chains).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_effnet.graph import Add, Conv2D, FloatArray, Graph, Node, with_nodes
from edge_effnet.quantization.statistics import TensorStatistics

#: Channels narrower than this share of the widest are treated as if they were that wide: dead ones stay as they are.
#: Well below what trained channels (2^-5) on top of a rescaling by 1/32 to 32 (2^-10) come to.
_NARROWEST = 2.0**-20
_DEVIATIONS = 4.0


@dataclass(frozen=True)
class Chain:
    """Tensors that share their channels' scales: `makers` are convolutions, `readers` 1×1 convolutions."""

    tensors: tuple[str, ...]
    makers: tuple[str, ...]
    readers: tuple[str, ...]


def find_chains(graph: Graph) -> tuple[Chain, ...]:
    """All maximal chains of tensors that can be rescaled: made by unactivated convolutions and plain additions
    alone.
    """
    nodes = graph.by_name()
    linear = {name for name, node in nodes.items() if isinstance(node, Conv2D | Add) and node.activation == "none"}
    groups: dict[str, set[str]] = {name: {name} for name in linear}
    for node in graph.nodes:
        if isinstance(node, Add):
            merged = set().union(*(groups.get(name, {name}) for name in (node.name, *node.inputs)))
            groups.update(dict.fromkeys(merged, merged))
    chains = {frozenset(group) for group in groups.values()}
    found = (_chain(graph, nodes, chain, linear) for chain in sorted(chains, key=min))
    return tuple(chain for chain in found if chain is not None)


def _chain(graph: Graph, nodes: Mapping[str, Node], tensors: frozenset[str], linear: set[str]) -> Chain | None:
    if not tensors <= linear or graph.output_name in tensors:
        return None
    readers: list[str] = []
    for name in tensors:
        for node in graph.consumers()[name]:
            if isinstance(node, Conv2D):
                readers.append(node.name)
            elif not (isinstance(node, Add) and node.name in tensors):
                return None
    makers = [name for name in tensors if isinstance(nodes[name], Conv2D)]
    return Chain(tuple(sorted(tensors)), tuple(sorted(makers)), tuple(sorted(readers)))


def equalise(graph: Graph, statistics: Mapping[str, TensorStatistics]) -> Graph:
    """The same function with the channels of each chain rescaled to one range."""
    for chain in find_chains(graph):
        graph = rescale(graph, chain, _channel_ranges(chain, statistics))
    return graph


def _channel_ranges(chain: Chain, statistics: Mapping[str, TensorStatistics]) -> FloatArray:
    """float32[C]: how far each channel usually reaches, in the quadratic mean over the chain's tensors.

    Mean plus four standard deviations rather than the extremes: one stray pixel must not decide.
    """
    reach = np.stack([_usual_reach(statistics[name]) for name in chain.tensors])
    typical = np.sqrt(np.square(reach).mean(axis=0))
    return np.maximum(typical, max(float(typical.max()) * _NARROWEST, float(np.finfo(np.float32).tiny))).astype(
        np.float32
    )


def _usual_reach(statistics: TensorStatistics) -> npt.NDArray[np.float64]:
    share = statistics.histogram.counts / np.maximum(statistics.histogram.counts.sum(axis=1, keepdims=True), 1)
    centers = statistics.histogram.centers
    variance = (share * np.square(centers - statistics.channel_mean[:, None])).sum(axis=1)
    return np.asarray(np.abs(statistics.channel_mean) + _DEVIATIONS * np.sqrt(variance), np.float64)


def rescale(graph: Graph, chain: Chain, factors: npt.ArrayLike) -> Graph:
    """The same function with the chain's channels divided by `factors` (float[C], above 0)."""
    nodes = graph.by_name()
    scale = np.asarray(factors, np.float64)
    changed: dict[str, Node] = {}
    for name in chain.makers:
        maker = nodes[name]
        if isinstance(maker, Conv2D):
            weight = maker.weight / scale[:, None, None, None]
            changed[name] = replace(
                maker, weight=weight.astype(np.float32), bias=(maker.bias / scale).astype(np.float32)
            )
    for name in chain.readers:
        reader = changed.get(name, nodes[name])
        if isinstance(reader, Conv2D):
            changed[name] = replace(reader, weight=(reader.weight * scale).astype(np.float32))
    return with_nodes(graph, changed)
