"""Rescaling channels where the network is linear between two layers, so that no outlier channel sets a tensor's scale.

A bottleneck (a projection's output, and all that a chain of residual additions adds to it) is read by 1×1 convolutions
alone: dividing a channel by s where it is made and multiplying by s where it is read changes nothing that is computed
(Nagel et al., ICCV 2019, arXiv 1906.04721, section 4.1, for plain chains; here along whole residual chains).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edge_effnet.network.graph import FloatArray, Graph
from edge_effnet.network.rewrite import rescale_chain
from edge_effnet.network.structure import Chain, find_chains
from edge_effnet.quantization.measure.passes import Measurement
from edge_effnet.quantization.measure.statistics import TensorStatistics
from edge_effnet.quantization.state import Change, Stage, State, Work, known

#: Channels narrower than this share of the widest are treated as if they were that wide: dead ones stay as they are.
#: Well below what trained channels (2^-5) on top of a rescaling by 1/32 to 32 (2^-10) come to.
_NARROWEST = 2.0**-20
_DEVIATIONS = 4.0


def equalise(graph: Graph, found: Measurement) -> tuple[Graph, Measurement]:
    """The same function with the channels of each chain rescaled to one range, and what was measured, rescaled."""
    statistics, sensitivity = dict(found.statistics), dict(found.sensitivity)
    for chain in find_chains(graph):
        factors = _channel_ranges(chain, statistics)
        graph = rescale_chain(graph, chain, factors)
        for name in chain.tensors:
            statistics[name] = statistics[name].rescaled(factors.astype(np.float64))
            if name in sensitivity:
                sensitivity[name] = sensitivity[name] * np.square(factors, dtype=np.float64)
    return graph, Measurement(statistics, sensitivity, {})


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


def _run(state: State, _work: Work) -> State:
    graph, preview = equalise(state.graph, known(state.preview))
    return state.rewritten(graph, preview, Change("equalisation", "chains of bottlenecks"))


STAGE = Stage("equalisation", lambda recipe: recipe.equalise, frozenset({"preview"}), frozenset({"preview"}), _run)
