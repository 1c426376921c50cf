"""`--max-drop`: as many parts of blocks back in float32 as it takes for int8 to lose no more than the user allows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import UsageError
from edge_effnet.exporters.calibrated import Calibrated, Photos
from edge_effnet.exporters.candidate import run_candidate
from edge_effnet.exporters.judging import classes_of, logits_of
from edge_effnet.heads import Head, lowest_outputs
from edge_effnet.quantization.measure.calibration import CalibrationSet
from edge_effnet.quantization.measure.expected_loss import (
    bound_in_points,
    change_probabilities,
    decision_change_probabilities,
    least_bound,
)
from edge_effnet.quantization.mixed import Mixture, Search
from edge_effnet.quantization.records import Progress, QuantizedGraph

#: Photos the drop is measured on at most, none of them calibrated on, and photos that rank the islands.
HELD_OUT_PHOTOS, _RANKING_PHOTOS = 512, 128
#: Fewer held-out photos can't tell a point from nothing.
_LEAST_PHOTOS = 32


def check_held_out(photos: Photos, head: Head) -> None:
    """Raises UsageError, before minutes of work, where fewer than 32 photos are left, or where nothing is decided."""
    if not head.has_classes:
        raise UsageError(f"--max-drop counts answers, and the network gives {head.kind}; leave it out")
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
    disagree, of a sigmoid head the share of decisions; each with one standard error. Where even all islands don't do,
    the best is taken and the sentence says what was reached. There must be enough photos (`check_held_out`).
    """
    held_out = made.photos.further(HELD_OUT_PHOTOS)
    few = made.photos.drawn.subset(slice(0, _RANKING_PHOTOS))
    ranked, judged = (_logits(made, QuantizedGraph(made.graph), photos) for photos in (few, held_out))
    head = logits_of(made.document.head)
    decides = head.kind == "sigmoid"
    truth = None if decides else classes_of(held_out, made.document.labels)
    counted = np.ones(len(held_out), bool) if truth is None else judged.argmax(axis=1) == truth

    def harm(quantized: QuantizedGraph) -> float:
        return float(np.square(_logits(made, quantized, few) - ranked, dtype=np.float64).sum())

    def drop(quantized: QuantizedGraph) -> float:
        rounded = _logits(made, quantized, held_out)
        if decides:
            lowest = lowest_outputs(head, judged.shape[1])
            return bound_in_points(decision_change_probabilities(judged, rounded, lowest).mean(axis=1))
        return bound_in_points(change_probabilities(judged, rounded) * counted)

    search = Search(made.quantized, correct=made.correct, harm=harm, drop=drop, progress=progress)
    best = search.until(max_drop)
    what = "photos like the {} held out are right in float and wrong"
    if decides:
        what = "decisions on photos like the {} held out disagree with float"
    elif truth is None:
        what = "photos like the {} held out disagree with float"
    return made.with_quantized(best.quantized), _sentence(best, max_drop, photos=len(held_out), what=what)


def _sentence(best: Mixture, max_drop: float, *, photos: int, what: str) -> str:
    floats = ", ".join(island.name for island in best.islands) or "nothing"
    reached = f"at most about {best.drop:.2f} % of {what.format(photos)} with {floats} in float32"
    if best.drop <= max_drop:
        return reached
    few = (
        f"; {photos} photos can't show less than {least:.2f}, so add some"
        if (least := least_bound(photos)) > max_drop
        else ""
    )
    return f"--max-drop {max_drop:g} is out of reach: {reached} is the best found{few}"


def _logits(made: Calibrated, quantized: QuantizedGraph, photos: CalibrationSet) -> npt.NDArray[np.float32]:
    """float32[N, C] of the file that it would be."""
    data = made.emit(quantized)
    return run_candidate(data, photos, ending=made.ending, preprocessing=photos.preprocessing).logits
