"""`--max-drop`: as many parts of blocks back in float32 as it takes for int8 to lose no more than the user allows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.engines import open_session
from edge_effnet.errors import EngineError, SlowEngineWarning, UsageError
from edge_effnet.exporters.calibrated import Calibrated, Photos
from edge_effnet.files import temporary_folder, write_atomically
from edge_effnet.quantization.measure.calibration import CalibrationSet
from edge_effnet.quantization.measure.expected_loss import bound_in_points, change_probabilities, least_bound
from edge_effnet.quantization.mixed import Mixture, Search
from edge_effnet.quantization.records import Progress, QuantizedGraph
from edge_effnet.tensor import InputTensor

#: Photos the drop is measured on at most, none of them calibrated on, and photos that rank the islands.
HELD_OUT_PHOTOS, _RANKING_PHOTOS = 512, 128
#: Fewer held-out photos can't tell a point from nothing.
_LEAST_PHOTOS = 32


def check_held_out(photos: Photos) -> None:
    """Raises UsageError, before minutes of work, where fewer than 32 photos are left to hold out."""
    found = len(photos.further(_LEAST_PHOTOS))
    if found < _LEAST_PHOTOS:
        raise UsageError(
            f"--max-drop needs at least {_LEAST_PHOTOS} photos beside the {len(photos.drawn)} calibrated on, found "
            f"{found}; "
            "add photos or lower --calibration-images"
        )


def keep_within(made: Calibrated, max_drop: float, *, progress: Progress | None = None) -> tuple[Calibrated, str]:
    """The quantization with few islands that keeps within `max_drop` points, and a sentence that says so.

    The drop is the share of photos like those held out that float gets right and int8 is to be expected to get wrong,
    where they lie in folders named after the model's labels; otherwise the share on which the two are to be expected to
    disagree; each with one standard error. Where even all islands don't do, the best is taken and the sentence says
    what was reached. There must be enough photos to hold out (`check_held_out`).
    """
    held_out = made.photos.further(HELD_OUT_PHOTOS)
    ranking, judging = _Engine(made, made.photos.drawn.subset(slice(0, _RANKING_PHOTOS))), _Engine(made, held_out)
    truth = _classes(held_out, made.document.labels)
    counted = np.ones(len(held_out), bool) if truth is None else judging.exact.argmax(axis=1) == truth
    search = Search(
        made.quantized,
        correct=made.corrected,
        harm=lambda quantized: float(np.square(ranking.logits(quantized) - ranking.exact, dtype=np.float64).sum()),
        drop=lambda quantized: bound_in_points(
            change_probabilities(judging.exact, judging.logits(quantized)) * counted
        ),
        progress=progress,
    )
    best = search.until(max_drop)
    return made.with_quantized(best.quantized), _sentence(
        best, max_drop, photos=len(held_out), labelled=truth is not None
    )


def _sentence(best: Mixture, max_drop: float, *, photos: int, labelled: bool) -> str:
    what = "are right in float and wrong" if labelled else "disagree with float"
    floats = ", ".join(island.name for island in best.islands) or "nothing"
    reached = f"at most about {best.drop:.2f} % of photos like the {photos} held out {what} with {floats} in float32"
    if best.drop <= max_drop:
        return reached
    few = (
        f"; {photos} photos can't show less than {least:.2f}, so add some"
        if (least := least_bound(photos)) > max_drop
        else ""
    )
    return f"--max-drop {max_drop:g} is out of reach: {reached} is the best found{few}"


def _classes(held_out: CalibrationSet, labels: Sequence[str] | None) -> list[int] | None:
    """The class of each photo by its folder's name, or None where some folder is no label or some photo no file."""
    names = {label.casefold(): index for index, label in enumerate(labels or ())}
    if not all(isinstance(source, (str, os.PathLike)) for source in held_out.sources):
        return None
    folders = [Path(source).parent.name.casefold() for source in held_out.sources]
    return [names[folder] for folder in folders] if all(folder in names for folder in folders) else None


class _Engine:
    """Runs candidates as the files they would be, in the engine that will run them; photos are decoded once.

    exact: float32[N, C], the float network's logits.
    """

    def __init__(self, made: Calibrated, photos: CalibrationSet) -> None:
        self._made, self._photos = made, photos
        self._pixels = list(photos)
        self.exact = self.logits(QuantizedGraph(made.graph))

    def logits(self, quantized: QuantizedGraph) -> npt.NDArray[np.float32]:
        """float32[N, C]."""
        with temporary_folder() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", SlowEngineWarning)
            path = folder / f"candidate{self._made.ending}"
            write_atomically(path, self._made.emit(quantized))
            with closing(open_session(path, file_format=path.suffix[1:], threads=1)) as session:
                tensor = InputTensor(self._photos.preprocessing, session, known=True)
                found: list[Any] = [session.run(tensor.fill(pixels)).reshape(-1).copy() for pixels in self._pixels]
        logits = np.array(found, np.float32)
        if not np.isfinite(logits).all():
            raise EngineError(
                "--max-drop: a candidate gave NaN or infinite logits for a held-out photo; the checkpoint's weights "
                "have diverged"
            )
        return logits
