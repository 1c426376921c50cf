"""Taking the mean shifts that rounding causes out of the biases, layer by layer.

Each layer is corrected against its float output mean for float inputs, so one layer's correction doesn't depend on
another's and can't diverge (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
ICCV 2019, arXiv 1906.04721, section 4.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edge_effnet.network.graph import Conv2D, Dense, DepthwiseConv2D, Graph, Node, Weighted, weighted, with_nodes
from edge_effnet.numerics import QuantParams
from edge_effnet.quantization.measure.moments import InputMoments
from edge_effnet.quantization.measure.simulate import local_mean_errors
from edge_effnet.quantization.records import QuantizedWeight
from edge_effnet.quantization.rounding import by_output
from edge_effnet.quantization.state import Stage, State, Work, known

Vector = npt.NDArray[np.float64]


def correct_biases(
    graph: Graph,
    weights: Mapping[str, QuantizedWeight],
    moments: Mapping[str, InputMoments],
    input_errors: Mapping[str, Vector] | None = None,
) -> Graph:
    """The graph with each bias moved by (W − Ŵ) · E[x] − Ŵ · e.

    E[x]: the mean input. e: how far activation rounding moves the input's mean (`simulate.local_mean_errors`), none by
    default.
    """
    errors = input_errors or {}
    changed: dict[str, Node] = {}
    for node in weighted(graph.nodes):
        if node.name not in weights:
            continue
        rounded = replace(node, weight=weights[node.name].dequantized())
        shift = _weight_shift(node, rounded, moments[node.name])
        if node.inputs[0] in errors:
            shift = shift - _passed_on(rounded, errors[node.inputs[0]])
        changed[node.name] = replace(node, bias=(node.bias + shift).astype(np.float32))
    return with_nodes(graph, changed)


def _weight_shift(node: Weighted, rounded: Weighted, moments: InputMoments) -> Vector:
    groups, size = moments.mean.shape
    lost = (by_output(node).astype(np.float64) - by_output(rounded)).reshape(groups, -1, size)
    return np.asarray(np.matmul(lost, moments.mean[:, :, None]).reshape(-1), np.float64)


def _passed_on(node: Weighted, error: Vector) -> Vector:
    """What a constant error of each input channel becomes in the output, away from the image's border."""
    if isinstance(node, DepthwiseConv2D):
        return np.asarray(node.weight.sum(axis=(0, 1), dtype=np.float64) * error, np.float64)
    groups = node.groups if isinstance(node, Conv2D) else 1
    parts = error.reshape(groups, -1)
    taps = by_output(node).astype(np.float64).reshape(groups, len(node.bias) // groups, -1, parts.shape[1])
    return np.asarray(np.einsum("gotc,gc->go", taps, parts).reshape(-1), np.float64)


def corrected(state: State, activations: Mapping[str, QuantParams]) -> Graph:
    """The state's graph with its biases corrected for the rounded weights, and for these int8 activations."""
    graph = state.graph
    if state.measured is not None and state.measured.moments and state.corrects:
        errors = {name: error for name, error in state.mean_errors.items() if name in activations}
        graph = correct_biases(graph, known(state.weights), state.measured.moments, errors)
    if state.output_shift is None or activations.keys() != known(state.activations).keys():
        return graph
    return _shifted(graph, -state.output_shift)


def _shifted(graph: Graph, shift: Vector) -> Graph:
    """The graph with its output moved, by way of the last bias."""
    node = graph.by_name()[graph.output_name]
    if not isinstance(node, Dense):
        return graph
    return with_nodes(graph, {node.name: replace(node, bias=(node.bias + shift).astype(np.float32))})


def _run(state: State, work: Work) -> State:
    count = min(work.recipe.moments_images, len(work.photos))
    errors: Mapping[str, Vector] = {}
    if work.recipe.bias_correction == "weights-and-activations":
        images, told = work.images(state, count), work.told("bias correction", count)
        errors = local_mean_errors(state.graph, known(state.activations), images, told=told)
    return replace(state, mean_errors=errors, corrects=True)


STAGE = Stage(
    "bias correction",
    lambda recipe: recipe.bias_correction != "none",
    frozenset({"measured", "activations", "weights"}),
    frozenset({"weights"}),
    _run,
)
