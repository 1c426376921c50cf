"""The stages of quantization in order: float graph and photos in, quantized graph out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.graph import Graph, weighted
from edge_effnet.numerics import QuantParams
from edge_effnet.quantization.calibration import CalibrationSet
from edge_effnet.quantization.normalisation import fold_normalisation, network_input
from edge_effnet.quantization.ranges import activation_params
from edge_effnet.quantization.records import QuantizedGraph, QuantizedWeight
from edge_effnet.quantization.rounding import round_to_nearest, weight_scales
from edge_effnet.quantization.statistics import collect_statistics

#: Told the name of a stage, how much of it is done and how much there is; for progress bars.
Progress: TypeAlias = Callable[[str, int, int], None]


def quantize_plain(graph: Graph, calibration: CalibrationSet, *, progress: Progress | None = None) -> QuantizedGraph:
    """int8 by mean of per-image min/max and nearest rounding: the baseline that better recipes are measured against."""
    folded, image = fold_normalisation(graph, calibration.preprocessing)
    activations = activation_params(folded, collect_statistics(folded, _inputs(calibration, image, "statistics", progress)), image)
    weights = {}
    for node in weighted(folded.nodes):
        params = activations.get(node.inputs[0])
        weights[node.name] = round_to_nearest(node, weight_scales(node, params.scale if params else 1.0))
    return QuantizedGraph(folded, activations, weights)


def _inputs(calibration: CalibrationSet, image: QuantParams, stage: str, progress: Progress | None) -> Iterator[npt.NDArray[np.float32]]:
    """The photos as the folded graph takes them, telling `progress` of each."""
    for done, pixels in enumerate(calibration, 1):
        yield network_input(pixels, image)
        if progress is not None:
            progress(stage, done, len(calibration))


def quantize_weights_only(graph: Graph) -> QuantizedGraph:
    """int8 weights, everything else float32; needs no photos."""
    weights: dict[str, QuantizedWeight] = {}
    for node in weighted(graph.nodes):
        weights[node.name] = round_to_nearest(node, weight_scales(node, 1.0))
    return QuantizedGraph(graph, {}, weights)
