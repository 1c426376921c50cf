"""From a tensor's statistics to the int8 range that represents it."""

from __future__ import annotations

from collections.abc import Mapping

from edge_effnet.graph import Border, Dense, GlobalMean, Graph, Sigmoid
from edge_effnet.numerics import SIGMOID_PARAMS, QuantParams, params_for_range
from edge_effnet.quantization.statistics import TensorStatistics


def mean_min_max(statistics: TensorStatistics) -> QuantParams:
    """The mean over photos of each photo's smallest and largest value."""
    return params_for_range(statistics.mean_low, statistics.mean_high)


def activation_params(graph: Graph, statistics: Mapping[str, TensorStatistics], image: QuantParams) -> dict[str, QuantParams]:
    """Tensor name → parameters, for all tensors but the pooled features and the logits, which stay float32.

    Fixed by the kernels: a sigmoid's 1/256; a border or mean has its input's parameters.
    """
    params = {graph.input_name: image}
    for node in graph.nodes:
        match node:
            case Dense() | GlobalMean(keep_dims=False):
                continue
            case Sigmoid():
                params[node.name] = SIGMOID_PARAMS
            case GlobalMean() | Border():
                params[node.name] = params[node.inputs[0]]
            case _:
                params[node.name] = mean_min_max(statistics[node.name])
    return params
