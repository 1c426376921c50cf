"""The stages of quantization in order: float graph and photos in, quantized graph out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from edge_effnet.network.graph import Graph, weighted
from edge_effnet.numerics import QuantParams
from edge_effnet.quantization.measure.calibration import CalibrationSet
from edge_effnet.quantization.measure.noise import tensor_noise
from edge_effnet.quantization.measure.passes import Wanted, measure
from edge_effnet.quantization.measure.sensitivity import Sensitivity
from edge_effnet.quantization.measure.statistics import TensorStatistics
from edge_effnet.quantization.products import one_thread_each
from edge_effnet.quantization.recipe import Recipe
from edge_effnet.quantization.records import Progress, QuantizedGraph, with_fixed
from edge_effnet.quantization.rounding import round_to_nearest, weight_scales
from edge_effnet.quantization.stages import (
    bias_correction,
    coherent_ranges,
    equalisation,
    floats,
    folding,
    gates,
    lanes,
    output_shift,
    ranges,
    swishes,
    weights,
)
from edge_effnet.quantization.stages.bias_correction import corrected
from edge_effnet.quantization.state import Change, Fact, Stage, State, Work, known

#: Tensors that an error names.
_LISTED = 6
#: In this order. Equalising first, so that lanes needn't part what a factor evens out; swishes and gates where lanes
#: left something to gain; then parameters for the graph as it is, weights for these, biases for both.
STAGES: tuple[Stage, ...] = (
    folding.STAGE,
    equalisation.STAGE,
    floats.STAGE,
    lanes.STAGE,
    swishes.STAGE,
    gates.STAGE,
    ranges.STAGE,
    coherent_ranges.STAGE,
    weights.STAGE,
    bias_correction.STAGE,
    output_shift.STAGE,
)


@dataclass(frozen=True, eq=False)
class QuantizationTrace:
    """What the stages found and did, for reports and for returning tensors to float."""

    state: State
    noise: Mapping[str, float]

    @property
    def graph(self) -> Graph:
        """The float graph that was quantized (pixels folded in, equalised, split), before bias correction."""
        return self.state.graph

    @property
    def statistics(self) -> Mapping[str, TensorStatistics]:
        """Of every tensor of the graph."""
        return known(self.state.measured).statistics

    @property
    def sensitivity(self) -> Sensitivity:
        """Of every tensor of the graph but the image."""
        return known(self.state.measured).sensitivity

    @property
    def unequalised(self) -> Mapping[str, TensorStatistics]:
        """Of the graph before the first rewrite; {} where nothing was rewritten."""
        return {} if self.state.before is None else self.state.before.statistics

    def changes(self, stage: str) -> tuple[Change, ...]:
        """What a stage changed, most gain first."""
        found = [change for change in self.state.log if change.stage == stage]
        return tuple(sorted(found, key=lambda change: -change.gain))

    def correct(self, activations: Mapping[str, QuantParams]) -> Graph:
        """The graph with its biases corrected for the rounded weights and for the activations that are int8."""
        return corrected(self.state, activations)


def quantize(
    graph: Graph,
    calibration: CalibrationSet,
    *,
    recipe: Recipe | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[QuantizedGraph, QuantizationTrace]:
    """int8 weights and activations for a float graph, from unlabelled photos.

    Deterministic: the same graph, photos, recipe and seed give the same parameters. Raises CalibrationError,
    MissingDependencyError.
    """
    work = Work(calibration, recipe or Recipe(), seed, progress)
    with one_thread_each():
        state = run_stages(State(graph), work)
    found, activations = known(state.measured), known(state.activations)
    noise = tensor_noise(state.graph, found.statistics, found.sensitivity, activations) | dict(state.noise)
    kept = replace(found, moments={name: moments.means_only() for name, moments in found.moments.items()})
    trace = QuantizationTrace(replace(state, measured=kept), noise)
    splits = {change.what: change.details["widths"] for change in trace.changes("lanes")}
    summary = {"recipe": work.recipe.to_dict(), "lanes": splits, "float_tensors": sorted(state.floats)}
    return QuantizedGraph(trace.correct(activations), activations, known(state.weights), summary), trace


def run_stages(state: State, work: Work, stages: tuple[Stage, ...] = STAGES) -> State:
    """The state after the stages that the recipe has; what they require is measured when it isn't known.

    Raises RuntimeError naming a stage that doesn't keep its word.
    """
    for stage in stages:
        if not stage.enabled(work.recipe):
            continue
        for fact in sorted(stage.requires - state.facts):
            if fact not in _MEASURED:
                raise RuntimeError(f"stage {stage.name} requires {fact}, which no stage before it ensures")
            state = _MEASURED[fact](state, work)
        state = stage.run(state, work)
        if missing := stage.ensures - state.facts:
            raise RuntimeError(f"stage {stage.name} doesn't ensure {', '.join(sorted(missing))}")
        _check_fixed(stage.name, state)
    return state


def _check_fixed(stage: str, state: State) -> None:
    """Raises RuntimeError for parameters that the kernels fix and a stage has changed."""
    fixed = with_fixed(state.graph, state.activations or {})
    if wrong := [name for name, params in (state.activations or {}).items() if params != fixed[name]]:
        listed = ", ".join(wrong[:_LISTED])
        raise RuntimeError(
            f"stage {stage} changes int8 parameters that the kernels fix, of {listed}; expected what "
            "records.with_fixed gives"
        )


def _preview(state: State, work: Work) -> State:
    """Statistics and sensitivity from some of the photos, for the stages that rewrite."""
    count = min(work.recipe.sensitivity_images, len(work.photos))
    images = work.images(state, count)
    wanted = Wanted(statistics=count, sensitivity=count)
    return replace(
        state, preview=measure(state.graph, images, wanted, seed=work.seed, told=work.told("preview", count))
    )


def _measure(state: State, work: Work) -> State:
    """All there is to know of the graph as it is, in one pass."""
    recipe, photos = work.recipe, len(work.photos)
    wanted = Wanted(
        min(recipe.statistics_images, photos),
        min(recipe.sensitivity_images, photos),
        min(recipe.moments_images, photos) if recipe.needs_moments else 0,
    )
    told = work.told("measuring", wanted.photos)
    found = measure(state.graph, work.images(state, wanted.photos), wanted, seed=work.seed, told=told)
    return replace(state, measured=found)


_MEASURED: Mapping[Fact, Callable[[State, Work], State]] = {"preview": _preview, "measured": _measure}


def quantize_weights_only(graph: Graph) -> QuantizedGraph:
    """int8 weights, everything else float32; needs no photos."""
    stored = {node.name: round_to_nearest(node, weight_scales(node, 1.0)) for node in weighted(graph.nodes)}
    return QuantizedGraph(graph, {}, stored, {"recipe": "weights to the nearest step, per channel"})
