"""Whether the integer path can overflow: the largest sum that each layer's 32-bit accumulator can reach.

A kernel adds products of (input − its zero point) and weight to the bias, in int32 and in any order, so every partial
sum must fit, not only the last (TFLite's quantization specification; XNNPACK and the reference kernels do so).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import CheckpointError
from edge_effnet.network.graph import weighted
from edge_effnet.numerics import QuantParams, quantize
from edge_effnet.quantization.records import QuantizedGraph
from edge_effnet.quantization.rounding import by_output

ACCUMULATOR_LIMIT = (1 << 31) - 1
_LOWEST, _HIGHEST = -128, 127


@dataclass(frozen=True)
class Headroom:
    """The layer whose accumulator comes nearest to its end: `largest` of at most 2³¹ − 1."""

    layer: str
    largest: int


def check_headroom(quantized: QuantizedGraph) -> Headroom | None:
    """The tightest integer layer, None without any; raises CheckpointError naming a layer that could overflow."""
    tightest: Headroom | None = None
    for node in weighted(quantized.graph.nodes):
        params, stored = quantized.activations.get(node.inputs[0]), quantized.weights.get(node.name)
        if params is None or stored is None or node.name not in quantized.activations:
            continue
        rows = by_output(replace(node, weight=stored.values.astype(np.float32))).astype(np.int8)
        largest = largest_sum(
            rows, quantize(node.bias, params.scale * stored.scales.astype(np.float64), dtype=np.int32), params
        )
        if largest > ACCUMULATOR_LIMIT:
            raise CheckpointError(
                f"layer {node.name}: its int32 sums could reach {largest:,}, more than {ACCUMULATOR_LIMIT:,}; export "
                "it in float"
            )
        if tightest is None or largest > tightest.largest:
            tightest = Headroom(node.name, largest)
    return tightest


def largest_sum(rows: npt.NDArray[np.int8], bias: npt.NDArray[np.int32], params: QuantParams) -> int:
    """The largest magnitude a partial sum can have. rows: int8[out, everything else]; bias: int32[out]."""
    reach = max(params.zero_point - _LOWEST, _HIGHEST - params.zero_point)
    products = np.abs(rows.astype(np.int64)).sum(axis=1) * reach
    return int((products + np.abs(bias.astype(np.int64))).max(initial=0))
