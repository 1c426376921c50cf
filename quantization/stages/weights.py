"""Weights to int8, by the recipe: to the nearest step, or so that each layer's output changes least."""

from __future__ import annotations

from dataclasses import replace

from edge_effnet.network.graph import Weighted, weighted
from edge_effnet.parallel import map_in_order
from edge_effnet.quantization.records import QuantizedWeight
from edge_effnet.quantization.rounding import round_for_output, round_to_nearest, weight_scales
from edge_effnet.quantization.state import Stage, State, Work, known
from edge_effnet.system import available_cores


def _run(state: State, work: Work) -> State:
    activations, moments = known(state.activations), known(state.measured).moments

    def rounded(node: Weighted) -> QuantizedWeight:
        params = activations.get(node.inputs[0])
        scales = weight_scales(node, params.scale if params else 1.0)
        if work.recipe.rounding == "nearest":
            return round_to_nearest(node, scales)
        return round_for_output(node, scales, moments[node.name])

    nodes = weighted(state.graph.nodes)
    found = map_in_order(rounded, nodes, workers=available_cores())
    return replace(state, weights={node.name: weight for node, weight in zip(nodes, found, strict=True)})


STAGE = Stage("weights", lambda _recipe: True, frozenset({"measured", "activations"}), frozenset({"weights"}), _run)
