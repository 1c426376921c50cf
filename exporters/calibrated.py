"""An int8 quantization on its way to a file, with the photos it is made from and those it is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edge_effnet.exporters.outputs.emit import emit
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.graph import Graph
from edge_effnet.quantization.measure.calibration import CalibrationSet, draw_further, part
from edge_effnet.quantization.pipeline import QuantizationTrace, quantize
from edge_effnet.quantization.recipe import Recipe
from edge_effnet.quantization.records import Progress, QuantizedGraph

#: Photos an export is judged by at most, and of how many calibration photos one is held out where there are no others.
JUDGED, _HELD_OUT_OF = 128, 8
#: Fewer photos are all calibrated on, and judged by.
_LEAST_TO_PART = 32


@dataclass(frozen=True, eq=False)
class Photos:
    """drawn: what is calibrated on. judged: what the result is judged by, none of them in `drawn` where `fresh`."""

    drawn: CalibrationSet
    judged: CalibrationSet
    fresh: bool
    note: str
    seed: int

    def further(self, more: int, *, skip: int = 0) -> CalibrationSet:
        """Up to `more` photos that would have been drawn next, after the first `skip` of those; maybe none."""
        return draw_further(self.drawn, more=skip + more).subset(slice(skip, None))


def part_photos(drawn: CalibrationSet, *, seed: int, evaluation: CalibrationSet | None = None, skip: int = 0) -> Photos:
    """Photos to calibrate on and to judge by: the evaluation's; else those that would have been drawn next; else an
    eighth of the photos, which then aren't calibrated on; of a few photos, all of them for both.

    skip: photos after the drawn ones that have a say in the file, and are judged by only where there are no others.
    """
    if evaluation is not None:
        return Photos(drawn, evaluation, True, f"{len(evaluation)} photos of the evaluation folder", seed)
    further = draw_further(drawn, more=skip + JUDGED)
    if len(further) > skip + _LEAST_TO_PART:
        further = further.subset(slice(skip, None))
    if len(further) * _HELD_OUT_OF >= min(len(drawn), _LEAST_TO_PART):
        return Photos(drawn, further, True, f"{len(further)} photos not calibrated on", seed)
    if len(drawn) < _LEAST_TO_PART:
        return Photos(drawn, drawn, False, f"the {len(drawn)} photos calibrated on, too few to hold any out", seed)
    kept, judged = part(drawn, len(drawn) - min(JUDGED, len(drawn) // _HELD_OUT_OF))
    return Photos(kept, judged, True, f"{len(judged)} photos held out of the calibration", seed)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """graph: the float network. document: of the file, with what `quantized` is. ending: ".tflite" or ".onnx"."""

    graph: Graph
    document: ModelDocument
    ending: str
    photos: Photos
    quantized: QuantizedGraph
    trace: QuantizationTrace
    refined: bool = False

    def emit(self, quantized: QuantizedGraph) -> bytes:
        """The file that another quantization of the network, or the float network, would be."""
        return emit(quantized, self.document, self.ending)

    def with_quantized(self, quantized: QuantizedGraph) -> Calibrated:
        """The same with another quantization from the same photos."""
        document = replace(self.document, quantization=_summary(quantized.summary or {}, self.photos))
        return replace(self, quantized=quantized, document=document)

    def noted(self, **notes: Any) -> Calibrated:
        """The same with more in its document's `quantization`."""
        quantized = replace(self.quantized, summary={**(self.quantized.summary or {}), **notes})
        return self.with_quantized(quantized)

    def correct(self, activations: Mapping[str, Any]) -> Graph:
        """The graph with the biases that go with these int8 activations; refined ones stay as they were learned."""
        return self.quantized.graph if self.refined else self.trace.correct(activations)


def calibrate(
    graph: Graph,
    document: ModelDocument,
    ending: str,
    *,
    photos: Photos,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> Calibrated:
    """Quantizes the float network. document: of the file; its quantization is filled in. Raises CalibrationError."""
    quantized, trace = quantize(graph, photos.drawn, recipe=recipe, seed=photos.seed, progress=progress)
    return Calibrated(graph, document, ending, photos, quantized, trace).with_quantized(quantized)


def refine_calibrated(made: Calibrated, *, minutes: float, progress: Progress | None = None) -> tuple[Calibrated, str]:
    """The same with learned refinement, and a sentence that says what it gained. Raises MissingDependencyError."""
    from edge_effnet.quantization.refine import refine

    photos, seed = made.photos.drawn, made.photos.seed
    refined, record = refine(
        made.quantized,
        made.trace.graph,
        photos=photos,
        minutes=minutes,
        seed=seed,
        head=made.document.head.kind,
        progress=progress,
    )
    changed = replace(made.with_quantized(refined), refined=True).noted(refinement=record.to_dict())
    return changed, record.sentence()


def _summary(found: Mapping[str, Any], photos: Photos) -> dict[str, Any]:
    drawn = photos.drawn
    return {**found, "calibration_images": len(drawn), "calibration_digest": drawn.digest, "seed": photos.seed}
