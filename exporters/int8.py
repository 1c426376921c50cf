"""From a float network and photos to an int8 one that has been judged: calibrate, refine, keep within, judge."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from edge_effnet.decoding import DEFAULT_RULES, ImageRules
from edge_effnet.errors import UsageError
from edge_effnet.exporters.calibrated import Calibrated, Photos, calibrate, part_photos, refine_calibrated
from edge_effnet.exporters.judging import Judgement, judge
from edge_effnet.exporters.max_drop import HELD_OUT_PHOTOS, check_held_out, keep_within
from edge_effnet.exporters.report import report_on
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.graph import Graph
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.quantization.headroom import check_headroom
from edge_effnet.quantization.measure.calibration import CalibrationSet, CalibrationSource, draw_calibration_set
from edge_effnet.quantization.records import Progress
from edge_effnet.quantization.report.summary import QuantizationReport

#: Photos of an evaluation folder that are looked at, at most.
_MOST_EVALUATED = 1024


@dataclass(frozen=True)
class Int8Options:
    """What an int8 export is told.

    calibration: photos, a folder or a sequence; images: how many of them, drawn by `seed`. evaluation: a folder to
    judge by, class folders or not. minutes: of refinement, 0 for none. max_drop: points of accuracy that may be
    lost. rules: which photos are decoded. workers: how many at a time, by default as many as there are cores.
    """

    calibration: CalibrationSource | None = None
    images: int = 256
    evaluation: str | os.PathLike[str] | None = None
    seed: int = 0
    minutes: float = 0.0
    max_drop: float | None = None
    rules: ImageRules = DEFAULT_RULES
    workers: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.minutes <= 24 * 60:
            raise UsageError(
                f"refinement of {self.minutes:g} minutes; expected more than 0, and a day at most, or 0 for none"
            )
        if self.calibration is None:
            raise UsageError(
                "int8 needs photos to calibrate on: --calibration DIR, a few hundred like those the model will see, "
                "no labels needed"
            )
        if self.max_drop is not None and not 0 <= self.max_drop <= 100:
            raise UsageError(f"--max-drop {self.max_drop} is a number of points, 0 to 100")


@dataclass(frozen=True, eq=False)
class Int8:
    """The network, what it was judged to be, remarks worth a line on the screen, and the report if one was wanted."""

    made: Calibrated
    judgement: Judgement
    remarks: tuple[str, ...]
    report: QuantizationReport | None = None


def make_int8(
    graph: Graph,
    document: ModelDocument,
    ending: str,
    *,
    options: Int8Options,
    with_report: bool,
    progress: Progress | None = None,
) -> Int8:
    """The int8 network of a float one, with what is measured of it in its document. Raises CalibrationError."""
    photos = _photos(document, options)
    made = calibrate(graph, document, ending, photos=photos, progress=progress)
    remarks: list[str] = []
    if options.minutes:
        made, gained = refine_calibrated(made, minutes=options.minutes, progress=progress)
        remarks.append(gained)
    if options.max_drop is not None:
        made, reached = keep_within(made, options.max_drop, progress=progress)
        remarks.append(reached)
    check_headroom(made.quantized)
    judgement, exact, rounded = judge(made, progress=progress)
    remarks.append(judgement.sentence())
    advice = judgement.advice(
        calibrated=len(photos.drawn), refined=options.minutes > 0, mixed=options.max_drop is not None
    )
    remarks += [advice] if advice else []
    remarks += [f"left out a calibration photo: {reason}" for reason in photos.drawn.broken]
    report = report_on(made, judgement, exact, rounded) if with_report else None
    return Int8(made.noted(held_out=judgement.to_dict()), judgement, tuple(remarks), report)


def _photos(document: ModelDocument, options: Int8Options) -> Photos:
    preprocessing = document.preprocessing
    drawn = _draw(options.calibration, preprocessing, options, limit=options.images)
    evaluation = None
    if options.evaluation is not None:
        evaluation = _draw(options.evaluation, preprocessing, options, limit=_MOST_EVALUATED)
    skip = HELD_OUT_PHOTOS if options.max_drop is not None else 0
    photos = part_photos(drawn, seed=options.seed, evaluation=evaluation, skip=skip)
    if options.max_drop is not None:
        check_held_out(photos, document.head)
    return photos


def _draw(source: Any, preprocessing: Preprocessing, options: Int8Options, *, limit: int) -> CalibrationSet:
    return draw_calibration_set(
        source, preprocessing, limit=limit, seed=options.seed, rules=options.rules, workers=options.workers
    )
