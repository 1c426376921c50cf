"""The logit noise to expect of each tensor's rounding, from its statistics and sensitivity alone."""

from __future__ import annotations

from collections.abc import Mapping

from edge_effnet.network.activations import IDENTITY
from edge_effnet.network.graph import Graph
from edge_effnet.numerics import QuantParams
from edge_effnet.quantization.measure.sensitivity import Sensitivity
from edge_effnet.quantization.measure.statistics import TensorStatistics
from edge_effnet.quantization.stages.ranges import find_responses, least_error_range, range_error


def tensor_noise(
    graph: Graph,
    statistics: Mapping[str, TensorStatistics],
    sensitivity: Sensitivity,
    activations: Mapping[str, QuantParams] | None = None,
) -> dict[str, float]:
    """Tensor name → expected power of the logits' change when it alone is rounded.

    activations: the ranges to judge; where they are left out, the best for each tensor. A first-order estimate: within
    1 dB of what a simulation measures where rounding dominates, too low where rare values are clipped.
    """
    responses = find_responses(graph)
    noise: dict[str, float] = {}
    for name, found in statistics.items():
        response, reader = responses.get(name, (IDENTITY, name))
        if reader not in sensitivity or (activations is not None and name not in activations):
            continue
        if activations is None:
            noise[name] = least_error_range(found, response, sensitivity[reader])[2]
        else:
            noise[name] = range_error(found, response, sensitivity[reader], activations[name])
    return noise
