"""How well each tensor survives int8: rounded alone, and with all that was rounded before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.comparison import sqnr_db
from edge_effnet.network.graph import Graph
from edge_effnet.network.operators import run_node
from edge_effnet.quantization.measure.simulate import run_rounded, with_rounded_weights
from edge_effnet.quantization.records import QuantizedGraph

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class LayerSqnr:
    """In dB, None where nothing differs. local_db: this layer rounded, its inputs exact; total_db: everything so
    far.
    """

    local_db: float | None
    total_db: float | None


def layer_sqnr(graph: Graph, quantized: QuantizedGraph, inputs: Iterable[Array]) -> Mapping[str, LayerSqnr]:
    """Tensor name → signal to noise over all photos [1, H, W, 3], simulated in numpy.

    graph: the float graph with the same nodes as the quantized one. Three tensors of a layer are held at a time.
    """
    rounded = with_rounded_weights(quantized).by_name()
    last_use = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    powers = {node.name: np.zeros(3) for node in graph.nodes}
    for image in inputs:
        exact: dict[str, Array] = {graph.input_name: image}
        passed: dict[str, Array] = {graph.input_name: image}
        for index, node in enumerate(graph.nodes):
            sources = [exact[name] for name in node.inputs]
            value = exact[node.name] = run_node(node, sources)
            alone = run_rounded(rounded[node.name], sources, quantized.activations)
            passed[node.name] = run_rounded(
                rounded[node.name], [passed[name] for name in node.inputs], quantized.activations
            )
            powers[node.name] += (_power(value), _power(alone - value), _power(passed[node.name] - value))
            for name in {name for name in node.inputs if last_use[name] == index}:
                del exact[name], passed[name]
    return {
        name: LayerSqnr(sqnr_db(signal, local), sqnr_db(signal, total))
        for name, (signal, local, total) in powers.items()
    }


def _power(values: Array) -> float:
    return float(np.square(values, dtype=np.float64).sum())
