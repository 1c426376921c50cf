"""An int8 quantization on its way to a file, with the photos it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edge_effnet.exporters.outputs.emit import emit
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.graph import Graph
from edge_effnet.numerics import QuantParams
from edge_effnet.quantization.measure.calibration import CalibrationSet, draw_further
from edge_effnet.quantization.pipeline import QuantizationTrace, quantize
from edge_effnet.quantization.records import Progress, QuantizedGraph
from edge_effnet.quantization.refine import Refinement, refine


@dataclass(frozen=True, eq=False)
class Photos:
    """What is calibrated on. seed: what `drawn` was drawn by."""

    drawn: CalibrationSet
    seed: int

    def further(self, more: int, *, skip: int = 0) -> CalibrationSet:
        """Up to `more` photos that aren't calibrated on, after the first `skip` of those; empty where the source has no
        more.
        """
        return draw_further(self.drawn, more=skip + more).subset(slice(skip, None))


@dataclass(frozen=True, eq=False)
class Calibrated:
    """graph: the float network. document: of the file, with what `quantized` is. ending: ".tflite" or ".onnx".

    refinement: what it gained, None where it was left out.
    """

    graph: Graph
    document: ModelDocument
    ending: str
    photos: Photos
    quantized: QuantizedGraph
    trace: QuantizationTrace
    refinement: Refinement | None = None

    def emit(self, quantized: QuantizedGraph) -> bytes:
        """The file that another quantization of the network, or the float network, would be."""
        return emit(quantized, self.document, self.ending)

    def with_quantized(self, quantized: QuantizedGraph) -> Calibrated:
        """The same with another quantization from the same photos."""
        document = replace(self.document, quantization=_summary(quantized.summary or {}, self.photos))
        return replace(self, quantized=quantized, document=document)

    def corrected(self, activations: Mapping[str, QuantParams]) -> Graph:
        """The graph to take where these tensors alone are int8: its biases fit them, or were learned."""
        return self.quantized.graph if self.refinement else self.trace.correct(activations)

    def refined(self, minutes: float, *, progress: Progress | None = None) -> Calibrated:
        """The same after learning for some minutes of two idle cores; as it is after none."""
        if not minutes:
            return self
        quantized, refinement = refine(
            self.quantized,
            self.trace.graph,
            photos=self.photos.drawn,
            minutes=minutes,
            seed=self.photos.seed,
            progress=progress,
        )
        summary = {**(quantized.summary or {}), "refinement": refinement.to_dict()}
        return replace(self, refinement=refinement).with_quantized(replace(quantized, summary=summary))

    def requantize(self, photos: CalibrationSet) -> QuantizedGraph:
        """The network quantized from other photos."""
        return quantize(self.graph, photos, seed=self.photos.seed)[0]


def calibrate(
    graph: Graph, document: ModelDocument, ending: str, *, photos: Photos, progress: Progress | None = None
) -> Calibrated:
    """Quantizes the float network. document: of the file; its quantization is filled in. Raises CalibrationError."""
    quantized, trace = quantize(graph, photos.drawn, seed=photos.seed, progress=progress)
    return Calibrated(graph, document, ending, photos, quantized, trace).with_quantized(quantized)


def _summary(found: Mapping[str, Any], photos: Photos) -> dict[str, Any]:
    return {
        **found,
        "calibration_images": len(photos.drawn),
        "calibration_digest": photos.drawn.digest,
        "seed": photos.seed,
    }
