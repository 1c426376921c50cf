"""`--max-drop`: as many parts of blocks back in float32 as it takes for int8 to lose no more than the user allows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.engines import open_session
from edge_effnet.errors import SlowEngineWarning, UsageError
from edge_effnet.files import temporary_folder, write_atomically
from edge_effnet.graph import Graph
from edge_effnet.quantization.calibration import CalibrationSet
from edge_effnet.quantization.expected_loss import bound_in_points, change_probabilities
from edge_effnet.quantization.mixed import Mixture, Search
from edge_effnet.quantization.pipeline import QuantizationTrace
from edge_effnet.quantization.records import Progress, QuantizedGraph
from edge_effnet.tensor import InputTensor

#: Photos the drop is measured on at most, none of them calibrated on, and photos that rank the islands.
HELD_OUT_PHOTOS, _RANKING_PHOTOS = 512, 128
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
    """The quantized graph with few islands that keeps within `max_drop` points, and a sentence that says so.

    The drop is the share of photos like the held-out ones that float gets right and int8 is to be expected to get wrong,
    where they lie in folders named after the model's labels; otherwise the share on which the two are to be expected to
    disagree; each with one standard error. Where even all islands don't do, the best is taken and the sentence says what
    was reached. Raises UsageError with fewer than 32 held-out photos.
    """
    if len(held_out) < _LEAST_PHOTOS:
        raise UsageError(
            f"--max-drop needs at least {_LEAST_PHOTOS} photos beside the {len(photos)} calibrated on, found {len(held_out)}; "
            "add photos or lower --calibration-images"
        )
    ranking, judging = _Engine(candidate, photos.subset(slice(0, _RANKING_PHOTOS))), _Engine(candidate, held_out)
    truth = _classes(held_out, labels)
    counted = np.ones(len(held_out), bool) if truth is None else judging.exact.argmax(axis=1) == truth
    search = Search(
        candidate.quantized,
        correct=lambda kept: candidate.trace.correct(candidate.quantized.weights, kept),
        harm=lambda quantized: float(np.square(ranking.logits(quantized) - ranking.exact, dtype=np.float64).sum()),
        drop=lambda quantized: bound_in_points(change_probabilities(judging.exact, judging.logits(quantized)) * counted),
        progress=progress,
    )
    best = search.until(max_drop)
    return best.quantized, _sentence(best, max_drop, photos=len(held_out), labelled=truth is not None)


def _sentence(best: Mixture, max_drop: float, *, photos: int, labelled: bool) -> str:
    what = "are right in float and wrong" if labelled else "disagree with float"
    floats = ", ".join(island.name for island in best.islands) or "nothing"
    reached = f"at most about {best.drop:.2f} % of photos like the {photos} held out {what} with {floats} in float32"
    return reached if best.drop <= max_drop else f"--max-drop {max_drop:g} is out of reach: {reached} is the best found"


def _classes(held_out: CalibrationSet, labels: Sequence[str] | None) -> list[int] | None:
    """The class of each photo by its folder's name, or None where some folder is no label."""
    names = {label.casefold(): index for index, label in enumerate(labels or ())}
    folders = [Path(source).parent.name.casefold() if isinstance(source, (str, Path)) else "" for source in held_out.sources]
    return [names[folder] for folder in folders] if all(folder in names for folder in folders) else None


class _Engine:
    """Runs candidates as the files they would be, in the engine that will run them; photos are decoded once.

    exact: float32[N, C], the float network's logits.
    """

    def __init__(self, candidate: Candidate, photos: CalibrationSet) -> None:
        self._candidate, self._photos = candidate, photos
        self._pixels = list(photos)
        self.exact = self.logits(QuantizedGraph(candidate.graph))

    def logits(self, quantized: QuantizedGraph) -> npt.NDArray[np.float32]:
        """float32[N, C]."""
        with temporary_folder() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", SlowEngineWarning)
            path = folder / f"candidate{self._candidate.ending}"
            write_atomically(path, self._candidate.emit(quantized))
            session = open_session(path, file_format=path.suffix[1:], threads=1)
            tensor = InputTensor(self._photos.preprocessing, session, known=True)
            found: list[Any] = [session.run(tensor.fill(pixels)).reshape(-1).copy() for pixels in self._pixels]
            session.close()
        return np.array(found, np.float32)
