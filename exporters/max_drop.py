"""`--max-drop`: as many blocks back in float32 as it takes for int8 to lose no more than the user allows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.classifier import Classifier
from edge_effnet.errors import SlowEngineWarning, UsageError
from edge_effnet.files import temporary_folder, write_atomically
from edge_effnet.graph import Graph
from edge_effnet.quantization.calibration import CalibrationSet
from edge_effnet.quantization.mixed import find_islands, until_target
from edge_effnet.quantization.normalisation import network_input
from edge_effnet.quantization.pipeline import Progress, QuantizationTrace
from edge_effnet.quantization.records import QuantizedGraph

#: Photos the drop is measured on at most, none of them calibrated on, and photos that rank the islands.
HELD_OUT_PHOTOS, _RANKING_PHOTOS = 512, 24
#: Fewer held-out photos can't tell a point from nothing.
_LEAST_PHOTOS = 32


@dataclass(frozen=True, eq=False)
class Candidate:
    """An int8 quantization and how to write it. graph: the float one. emit: the file's bytes; ending: ".tflite" …"""

    graph: Graph
    quantized: QuantizedGraph
    trace: QuantizationTrace
    emit: Callable[[QuantizedGraph], bytes]
    ending: str


def keep_within(
    candidate: Candidate, max_drop: float, *, photos: CalibrationSet, held_out: CalibrationSet, labels: Sequence[str] | None, progress: Progress | None
) -> tuple[QuantizedGraph, str]:
    """The quantized graph with the fewest islands that keeps within `max_drop` points, and a sentence that says so.

    The drop is the share of held-out photos that float gets right and int8 wrong, where the photos lie in folders
    named after the model's labels; otherwise the share on which the two disagree. One photo more than was seen is
    counted, (k + 1) / (n + 1): n photos can't show that less than that is lost. Where even all islands don't do, the
    best is taken and the sentence says what was reached. Raises UsageError with fewer than 32 held-out photos.
    """
    if len(held_out) < _LEAST_PHOTOS:
        raise UsageError(
            f"--max-drop needs at least {_LEAST_PHOTOS} photos beside the {len(photos)} calibrated on, found {len(held_out)}; "
            "add photos or lower --calibration-images"
        )
    quantized, trace = candidate.quantized, candidate.trace
    image = quantized.activations[quantized.graph.input_name]
    ranking = photos.subset(slice(0, _RANKING_PHOTOS))
    islands = find_islands(trace.graph, quantized.activations, lambda: (network_input(pixels, image) for pixels in ranking))
    truth = _classes(held_out, labels)
    drop = _DropMeter(candidate, held_out, truth)
    what = "disagree with float" if truth is None else "are right in float and wrong"
    best: tuple[QuantizedGraph, float, tuple[str, ...]] = (quantized, math.inf, ())
    steps = until_target(quantized, islands, lambda kept: trace.correct(quantized.weights, kept), drop.of, max_drop=max_drop)
    for done, (mixed, chosen, found) in enumerate(steps, 1):
        best = (mixed, found, tuple(island.name for island in chosen)) if found < best[1] else best
        if progress is not None:
            progress("max-drop", done, len(islands) + 1)
    floats = ", ".join(best[2]) or "nothing"
    reached = f"at most about {best[1]:.2f} % by {len(held_out)} held-out photos {what} with {floats} in float32"
    return best[0], reached if best[1] <= max_drop else f"--max-drop {max_drop:g} is out of reach: {reached} is the best found"


def _classes(held_out: CalibrationSet, labels: Sequence[str] | None) -> list[int] | None:
    """The class of each photo by its folder's name, or None where some folder is no label."""
    names = {label.casefold(): index for index, label in enumerate(labels or ())}
    folders = [Path(source).parent.name.casefold() if isinstance(source, (str, Path)) else "" for source in held_out.sources]
    return [names[folder] for folder in folders] if all(folder in names for folder in folders) else None


class _DropMeter:
    """Runs candidates as the files they would be, in the engine that will run them."""

    def __init__(self, candidate: Candidate, held_out: CalibrationSet, truth: list[int] | None) -> None:
        self._candidate, self._held_out, self._truth = candidate, held_out, truth
        self._float = self._best(QuantizedGraph(candidate.graph))

    def of(self, quantized: QuantizedGraph) -> float:
        """The drop in points, above 0 and at most 100."""
        found = self._best(quantized)
        lost = found != self._float
        if self._truth is not None:
            lost = (self._float == self._truth) & (found != self._truth)
        return 100.0 * float(np.sum(lost) + 1) / (len(lost) + 1)

    def _best(self, quantized: QuantizedGraph) -> npt.NDArray[Any]:
        with temporary_folder() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", SlowEngineWarning)
            path = folder / f"candidate{self._candidate.ending}"
            write_atomically(path, self._candidate.emit(quantized))
            with Classifier(path, image_rules=self._held_out.rules) as classifier:
                return np.array([int(logits.argmax()) for logits in self._logits(classifier)])

    def _logits(self, classifier: Classifier) -> Iterator[npt.NDArray[np.float32]]:
        return (classifier.logits(source) for source in self._held_out.sources)
