"""The stages of quantization in order: float graph and photos in, quantized graph out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.network.graph import Graph, weighted
from edge_effnet.numerics import QuantParams
from edge_effnet.quantization.measure.calibration import CalibrationSet
from edge_effnet.quantization.measure.moments import InputMoments, collect_moments
from edge_effnet.quantization.measure.noise import tensor_noise
from edge_effnet.quantization.measure.sensitivity import Sensitivity, channel_sensitivity
from edge_effnet.quantization.measure.simulate import local_mean_errors
from edge_effnet.quantization.measure.statistics import TensorStatistics, collect_statistics
from edge_effnet.quantization.recipe import Recipe
from edge_effnet.quantization.records import Progress, QuantizedGraph, QuantizedWeight
from edge_effnet.quantization.rounding import round_for_output, round_to_nearest, weight_scales
from edge_effnet.quantization.stages.bias_correction import correct_biases
from edge_effnet.quantization.stages.equalisation import equalise
from edge_effnet.quantization.stages.gates import equalise_gates
from edge_effnet.quantization.stages.lanes import LaneChoice, choose_lanes, split_lanes, split_statistics
from edge_effnet.quantization.stages.normalisation import fold_normalisation, network_input
from edge_effnet.quantization.stages.ranges import activation_params
from edge_effnet.quantization.stages.swishes import equalise_swishes

#: Share of the expected noise that rescaling a gate must save: it costs an operator on one pixel, and 30 bytes a
#: channel.
_LEAST_GATE_GAIN = 0.003
Inputs: TypeAlias = Callable[[str, int], Iterator[npt.NDArray[np.float32]]]


@dataclass(frozen=True, eq=False)
class QuantizationTrace:
    """What the stages found and did, for reports and for returning tensors to float.

    graph: the float graph that was quantized (normalisation folded in, equalised, split), before bias correction.
    noise: tensor name → expected logit noise power. lanes: the splits, most gain first. unequalised: statistics
    before equalisation; none where the recipe leaves it out. moments, mean_errors: what the bias correction goes by.
    """

    graph: Graph
    statistics: Mapping[str, TensorStatistics]
    sensitivity: Sensitivity
    noise: Mapping[str, float]
    lanes: tuple[LaneChoice, ...]
    unequalised: Mapping[str, TensorStatistics]
    moments: Mapping[str, InputMoments]
    mean_errors: Mapping[str, npt.NDArray[np.float64]]

    def correct(self, weights: Mapping[str, QuantizedWeight], activations: Mapping[str, QuantParams]) -> Graph:
        """The graph with its biases corrected for the rounded weights and for the activations that are int8."""
        if not self.moments:
            return self.graph
        return correct_biases(
            self.graph,
            weights,
            self.moments,
            {name: error for name, error in self.mean_errors.items() if name in activations},
        )


def quantize(
    graph: Graph,
    calibration: CalibrationSet,
    *,
    recipe: Recipe | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[QuantizedGraph, QuantizationTrace]:
    """int8 weights and activations for a float graph, from unlabelled photos.

    Deterministic: the same graph, photos, recipe and seed give the same parameters. Raises CalibrationError.
    """
    recipe = recipe or Recipe()
    folded, image = fold_normalisation(graph, calibration.preprocessing)
    inputs = _inputs(calibration, image, progress)
    prepared, lanes, unequalised = _prepare(folded, inputs, recipe, seed)
    statistics = collect_statistics(prepared, inputs("ranges", recipe.statistics_images))
    sensitivity = channel_sensitivity(prepared, inputs("sensitivity", recipe.sensitivity_images), seed=seed)
    weights_of_channels = sensitivity if recipe.weigh_channels else None
    activations = activation_params(prepared, statistics, image, method=recipe.ranges, sensitivity=weights_of_channels)
    moments = collect_moments(prepared, inputs("moments", recipe.moments_images)) if _needs_moments(recipe) else {}
    weights = _round_weights(prepared, activations, moments, recipe)
    errors: Mapping[str, npt.NDArray[np.float64]] = {}
    if recipe.bias_correction == "weights-and-activations":
        errors = local_mean_errors(prepared, activations, inputs("bias correction", recipe.moments_images))
    summary = {
        "recipe": recipe.to_dict(),
        "lanes": {choice.block: list(choice.widths) for choice in lanes},
        "float_tensors": [],
    }
    trace = QuantizationTrace(
        graph=prepared,
        statistics=statistics,
        sensitivity=sensitivity,
        noise=tensor_noise(prepared, statistics, sensitivity, activations),
        lanes=lanes,
        unequalised=unequalised,
        moments={name: found.means_only() for name, found in moments.items()}
        if recipe.bias_correction != "none"
        else {},
        mean_errors=errors,
    )
    return QuantizedGraph(trace.correct(weights, activations), activations, weights, summary), trace


def _prepare(
    graph: Graph, inputs: Inputs, recipe: Recipe, seed: int
) -> tuple[Graph, tuple[LaneChoice, ...], Mapping[str, TensorStatistics]]:
    """The float graph rescaled and split, both without changing what it computes."""
    unequalised: Mapping[str, TensorStatistics] = {}
    if not recipe.equalise and recipe.lanes is None:
        return graph, (), unequalised
    if recipe.equalise:
        unequalised = collect_statistics(graph, inputs("equalisation", recipe.sensitivity_images))
        graph = equalise(graph, unequalised)
    statistics = collect_statistics(graph, inputs("lanes", recipe.sensitivity_images))
    sensitivity = channel_sensitivity(graph, inputs("lanes", recipe.sensitivity_images), seed=seed)
    expected = sum(tensor_noise(graph, statistics, sensitivity).values())
    choices = (
        () if recipe.lanes is None else choose_lanes(graph, statistics, sensitivity, least_gain=recipe.lanes * expected)
    )
    for choice in choices:
        statistics, sensitivity = split_statistics(graph, choice, statistics, sensitivity)
        graph = split_lanes(graph, choice)
    if recipe.equalise:
        left = expected - sum(choice.gain for choice in choices)
        graph, products = equalise_swishes(graph, statistics, sensitivity, noise=left)
        graph = equalise_gates(graph, statistics, sensitivity, least_gain=_LEAST_GATE_GAIN * left, done=products)
    return graph, choices, unequalised


def _needs_moments(recipe: Recipe) -> bool:
    return recipe.rounding == "output" or recipe.bias_correction != "none"


def _round_weights(
    graph: Graph, activations: Mapping[str, QuantParams], moments: Mapping[str, InputMoments], recipe: Recipe
) -> dict[str, QuantizedWeight]:
    weights = {}
    for node in weighted(graph.nodes):
        params = activations.get(node.inputs[0])
        scales = weight_scales(node, params.scale if params else 1.0)
        weights[node.name] = (
            round_to_nearest(node, scales)
            if recipe.rounding == "nearest"
            else round_for_output(node, scales, moments[node.name])
        )
    return weights


def quantize_weights_only(graph: Graph) -> QuantizedGraph:
    """int8 weights, everything else float32; needs no photos."""
    weights = {node.name: round_to_nearest(node, weight_scales(node, 1.0)) for node in weighted(graph.nodes)}
    return QuantizedGraph(graph, {}, weights, {"recipe": "weights to the nearest step, per channel"})


def _inputs(calibration: CalibrationSet, image: QuantParams, progress: Progress | None) -> Inputs:
    """A stage's photos as the folded graph takes them, telling `progress` of each."""

    def stream(stage: str, limit: int) -> Iterator[npt.NDArray[np.float32]]:
        total = min(limit, len(calibration))
        for done, pixels in enumerate(islice(calibration, limit), 1):
            yield network_input(pixels, image)
            if progress is not None:
                progress(stage, done, total)

    return stream
