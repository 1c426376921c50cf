"""How good a file is, before it is kept: int8 against float on photos, and any file against its float network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.comparison import sqnr_db
from edge_effnet.deciding import agreement, named
from edge_effnet.errors import EngineError, MissingDependencyError
from edge_effnet.exporters.calibrated import Calibrated
from edge_effnet.exporters.candidate import Answers, Squares, run_candidate, run_or_simulate
from edge_effnet.heads import Head, decisions_of
from edge_effnet.network.execute import execute
from edge_effnet.network.graph import Graph
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.quantization.measure.calibration import CalibrationSet
from edge_effnet.quantization.records import Progress, QuantizedGraph

#: Below this share of agreement the export says what to try next.
WEAK_AGREEMENT = 0.97
#: A float file's logits differ from the graph's by at most this, times the largest logit (at least 1); a file with
#: rounded weights or activations must keep this correlation with them. Far from what right files give, near what wrong
#: ones give.
_FLOAT_BOUND, _LEAST_CORRELATION = 1e-3, 0.5
#: Photos a file is verified on.
_VERIFIED = 4


@dataclass(frozen=True)
class Judgement:
    """int8 against float on the same photos. agreement: share of photos with the same best class, of a sigmoid head the
    share of decisions alike, of features the mean cosine, 0..1. of: which of these, in words.

    logit_sqnr_db: None where nothing differs. float_top1, int8_top1: shares that are right, where folders are labels.
    """

    images: int
    photos: str
    engine: str
    agreement: float
    logit_sqnr_db: float | None
    float_top1: float | None = None
    int8_top1: float | None = None
    of: str = "the same answer"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, rounded to what so many photos can tell."""
        found = {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}
        del found["of"]
        return found

    def sentence(self) -> str:
        """One line for the screen."""
        sqnr = "identical outputs" if self.logit_sqnr_db is None else f"{self.logit_sqnr_db:.1f} dB"
        text = f"int8 against float on {self.photos}: {100 * self.agreement:.1f} % {self.of}, {sqnr}"
        if self.float_top1 is not None and self.int8_top1 is not None:
            text += f", right {100 * self.float_top1:.1f} → {100 * self.int8_top1:.1f} %"
        return text

    def advice(self, *, calibrated: int, refined: bool, mixed: bool) -> str | None:
        """What to try next where the agreement is weak, cheapest first; None where it isn't."""
        if self.agreement >= WEAK_AGREEMENT:
            return None
        steps = []
        if calibrated < 256:
            steps.append(f"more calibration photos than {calibrated} (256 or more, like those the model will see)")
        steps.append("more minutes of --refine" if refined else "--refine 5, or leaving out --quick")
        if not mixed:
            steps.append("--max-drop 1, which keeps the parts that suffer most in float")
        return "to bring int8 nearer to float, cheapest first: " + "; ".join(steps)


def judge(made: Calibrated, *, progress: Progress | None = None) -> tuple[Judgement, Answers, Answers]:
    """The judgement, and both networks' logits, float first, for the photos that `made` is judged by."""
    judged = made.photos.judged
    exact, rounded = (
        run_or_simulate(
            made.emit(quantized),
            quantized,
            judged,
            ending=made.ending,
            preprocessing=judged.preprocessing,
            told=_counter(progress, first, 2 * len(judged)),
        )
        for first, quantized in ((0, QuantizedGraph(made.graph)), (len(judged), made.quantized))
    )
    truth = classes_of(judged, made.document.labels)
    head = logits_of(made.document.head)
    power, error = (float(np.square(x, dtype=np.float64).sum()) for x in (exact.logits, rounded.logits - exact.logits))
    judgement = Judgement(
        images=len(judged),
        photos=made.photos.note,
        engine=rounded.engine,
        agreement=float(agreement(head, exact.logits, rounded.logits).mean()),
        logit_sqnr_db=sqnr_db(power, error),
        float_top1=_right(exact.logits, head, truth, made.document.labels),
        int8_top1=_right(rounded.logits, head, truth, made.document.labels),
        of=_AGREED.get(head.kind, "the same answer"),
    )
    return judgement, exact, rounded


#: What a share of agreement is of, where it isn't the best class.
_AGREED = {"sigmoid": "of the decisions the same", "features": "mean cosine", "raw": "mean cosine"}


def logits_of(head: Head) -> Head:
    """The head of the network before it ends in probabilities, as int8 is made and judged."""
    return replace(head, output="logits")


def _counter(progress: Progress | None, first: int, total: int) -> Any:
    done = first

    def told() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress("judging", done, total)

    return told


def _right(
    logits: npt.NDArray[np.float32], head: Head, truth: Sequence[int] | None, labels: Sequence[str] | None
) -> float | None:
    if truth is None:
        return None
    decisions = decisions_of(head, logits.shape[1], labels)
    return float(np.mean(named(head, logits, decisions) == np.asarray(truth)))


def classes_of(photos: CalibrationSet, labels: Sequence[str] | None) -> list[int] | None:
    """The class of each photo by its folder's name, or None where some folder is no label or some photo no file."""
    names = {label.casefold(): index for index, label in enumerate(labels or ())}
    if not all(isinstance(source, (str, os.PathLike)) for source in photos.sources):
        return None
    folders = [Path(source).parent.name.casefold() for source in photos.sources]
    return [names[folder] for folder in folders] if all(folder in names for folder in folders) else None


def verify(
    data: bytes,
    graph: Graph,
    squares: Squares,
    *,
    ending: str,
    preprocessing: Preprocessing,
    exact: bool,
) -> dict[str, Any] | None:
    """The file, opened and run on a few photos, against its float graph; None where no engine is installed.

    exact: whether it holds float32 numbers. Raises EngineError where it is farther off than any right file.
    """
    pixels = [square for square, _ in zip(squares, range(_VERIFIED), strict=False)]
    try:
        answers = run_candidate(data, pixels, ending=ending, preprocessing=preprocessing)
    except MissingDependencyError:
        return None
    wanted = np.concatenate([execute(graph, preprocessing.normalise(square)[None]) for square in pixels])
    difference = float(np.abs(answers.logits - wanted).max() / max(1.0, float(np.abs(wanted).max())))
    if exact and difference > _FLOAT_BOUND:
        raise EngineError(
            f"the file's numbers differ from the network's by {difference:.2g} of the largest in {answers.engine}; "
            f"expected at most {_FLOAT_BOUND:g}. Nothing was written; report this; --no-verify keeps it anyway"
        )
    correlation = _correlation(answers.logits, wanted)
    if correlation < _LEAST_CORRELATION:
        raise EngineError(
            f"the file's numbers have a correlation of {correlation:.2f} with the float network's in {answers.engine}; "
            f"expected at least {_LEAST_CORRELATION:g}. Nothing was written; try other calibration photos, "
            "--max-drop 1, or --precision weight-int8; --no-verify keeps it all the same"
        )
    return {
        "images": len(pixels),
        "engine": answers.engine,
        "largest_difference": float(f"{difference:.2g}"),
        "correlation": round(correlation, 4),
    }


def _correlation(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Of all numbers around 0: 1 where one is a multiple of the other, or both are nothing."""
    power = float(np.sqrt(np.square(one, dtype=np.float64).sum() * np.square(other, dtype=np.float64).sum()))
    return float((one.astype(np.float64) * other).sum()) / power if power > 0 else 1.0


def made_up_squares(preprocessing: Preprocessing, count: int = _VERIFIED) -> list[npt.NDArray[np.uint8]]:
    """uint8[H, W, C] each: smooth random pictures, the same each time, where no photo is at hand."""
    random = np.random.default_rng(0)
    (height, width), found = preprocessing.size, []
    for _ in range(count):
        coarse = random.uniform(0, 255, (6, 6, preprocessing.depth))
        smooth = _stretched(_stretched(coarse, height).transpose(1, 0, 2), width).transpose(1, 0, 2)
        found.append(np.clip(smooth + random.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8))
    return found


def _stretched(rows: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """[6, …] → [count, …], straight lines between."""
    place = np.linspace(0, len(rows) - 1, count)
    low = np.minimum(place.astype(np.int64), len(rows) - 2)
    share = (place - low).reshape(-1, 1, 1)
    return np.asarray(rows[low] * (1 - share) + rows[low + 1] * share)
