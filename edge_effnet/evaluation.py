"""Accuracy of a model on labelled photos; streaming, so any number of them will do (two models: comparison.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.classifier import Classifier
from edge_effnet.datasets import LabelledImage
from edge_effnet.decided import decided_figures
from edge_effnet.errors import ImageError, UsageError
from edge_effnet.heads import class_logits, scores_of
from edge_effnet.labels import UNKNOWN, label_of
from edge_effnet.many import Classifiers, spread
from edge_effnet.unknown import UnknownMeasure

_TOP = 5
_PERCENTILES = {"p50": 50, "p90": 90, "p99": 99}


@dataclass
class _Tally:
    """Counts while photos stream by; `confusion` int64[C, C], row: the true class. unknown_class: of that name."""

    num_classes: int
    keeps_all: bool = False
    images: int = 0
    outputs: list[npt.NDArray[np.float32]] = field(default_factory=list)
    truths: list[frozenset[int]] = field(default_factory=list)
    confusion: npt.NDArray[np.int64] = field(init=False)
    hits_top5: int = 0
    timing: dict[str, list[float]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    unknown_class: int | None = None
    seen: list[_Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.confusion = np.zeros((self.num_classes, self.num_classes), np.int64)

    def add(self, logits: npt.NDArray[np.float32], truth: frozenset[int]) -> None:
        """truth: none where no class of a sigmoid head holds; such a photo has no best class to be right about."""
        best = np.argsort(-logits, kind="stable")[:_TOP]
        first = int(best[0])
        self.images += 1
        if truth:
            self.confusion[first if first in truth else min(truth), first] += 1
            self.hits_top5 += bool(truth & {int(index) for index in best})
        if self.keeps_all:
            self.outputs.append(logits)
            self.truths.append(truth)

    def add_measured(self, measured: _Measured) -> None:
        if isinstance(measured.outcome, ImageError):
            self.unreadable.append(str(measured.outcome))
            return
        self.add(measured.outcome, measured.classes)
        if measured.unknown is not None:
            named = int(np.argmax(measured.outcome)) == self.unknown_class
            is_own = bool(measured.classes - {self.unknown_class})
            self.seen.append(_Seen(measured.unknown, is_own, measured.unknown.is_unknown or named))
        for stage, value in measured.timing_ms.items():
            self.timing.setdefault(stage, []).append(value)


@dataclass(frozen=True)
class _Seen:
    """A photo and unknown. is_own: whether a class that isn't unknown holds in it. called_so: by its likeness, or by
    the file's own class of that name.
    """

    measure: UnknownMeasure
    is_own: bool
    called_so: bool


@dataclass(frozen=True)
class _Measured:
    """One photo. outcome: the logits (with groups, the scores), or why it can't be read. unknown: what the file's
    references say of it.
    """

    outcome: npt.NDArray[np.float32] | ImageError
    classes: frozenset[int]
    timing_ms: Mapping[str, float]
    unknown: UnknownMeasure | None = None


def _measure(classifiers: Classifiers, item: LabelledImage) -> _Measured:
    (classifier,) = classifiers
    try:
        if classifier.grouping is None:
            logits = class_logits(classifier.head, classifier.logits(item.path), classifier.num_classes)
            return _Measured(logits, item.classes, classifier.timing_ms, classifier.unknown)
        classes = frozenset(int(classifier.grouping.stands_for[index]) for index in item.classes)
        return _Measured(classifier.scores(item.path), classes, classifier.timing_ms, classifier.unknown)
    except ImageError as error:
        return _Measured(error, item.classes, {})


def evaluate(
    classifier: Classifier,
    dataset: Iterable[LabelledImage],
    *,
    workers: int = 1,
    after_photo: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The JSON of `edge-effnet eval`: fractions in 0..1, `confusion[true][predicted]` as counts, latencies in ms.

    workers: photos worked on at a time. after_photo: is called after each, in order.
    A sigmoid head's has "mean_average_precision", "macro_f1" and "decisions" (a row a class), too, and of one logit
    "balanced_accuracy"; a file's that tells unknown has "unknown", and all others are as if nothing were called so.
    Photos that can't be read are listed under "unreadable" and don't count. Raises UsageError when none can.
    """
    labels = classifier.labels or ()
    place = labels.index(UNKNOWN) if UNKNOWN in labels else None
    tally = _Tally(classifier.num_classes, keeps_all=classifier.head.kind == "sigmoid", unknown_class=place)
    with spread((classifier,), _measure, dataset, workers=workers) as found:
        for measured in found:
            tally.add_measured(measured)
            after_photo()
    if not tally.images:
        raise UsageError(f"none of the {len(tally.unreadable)} photos can be read ({'; '.join(tally.unreadable[:3])})")
    named = max(1, int(tally.confusion.sum()))
    result = {
        "model": str(classifier.model_path),
        "engine": classifier.engine,
        "images": tally.images,
        "top1": float(np.trace(tally.confusion)) / named,
        "top5": tally.hits_top5 / named,
        "per_class": _per_class(tally.confusion, classifier.labels),
        "confusion": tally.confusion.tolist(),
        "latency_ms": {stage: _percentiles(values) for stage, values in tally.timing.items()},
    }
    if tally.keeps_all:
        result |= _decided(tally, classifier)
    if tally.seen:
        result["unknown"] = _unknown(tally.seen)
    return result | ({"unreadable": tally.unreadable} if tally.unreadable else {})


def _unknown(seen: Sequence[_Seen]) -> dict[str, Any]:
    """How many photos of the classes and of none of them are called unknown, and how well the measure parts them."""
    own, none = ([one for one in seen if one.is_own is wanted] for wanted in (True, False))
    called = [sum(one.called_so for one in part) / max(1, len(part)) for part in (own, none)]
    values, others = ([one.measure.value for one in part] for part in (own, none))
    return {
        "known": len(own),
        "known_called_unknown": called[0],
        "unknown": len(none),
        "unknown_recognised": called[1] if none else None,
        "auroc": auroc(values, others) if own and none else None,
        "threshold": seen[0].measure.threshold,
    }


def auroc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """Area under the ROC curve: how often a value that should be higher is, ties half. Mann-Whitney's U."""
    ranked = np.sort(np.asarray(lower, np.float64))
    below, up_to = (np.searchsorted(ranked, np.asarray(higher, np.float64), side=side) for side in ("left", "right"))
    return float((below + up_to).mean() / 2 / len(ranked))


def _decided(tally: _Tally, classifier: Classifier) -> dict[str, Any]:
    """Of a sigmoid head: average precision, F1, and of one logit balanced accuracy."""
    head, count = classifier.head, tally.num_classes
    one = classifier.outputs == 1
    scores = [scores_of(head, output[-1:] if one else output, count) for output in tally.outputs]
    truth = np.zeros((len(scores), count), bool)
    for row, classes in enumerate(tally.truths):
        truth[row, list(classes)] = True
    return decided_figures(head, np.stack(scores), truth, classifier.labels)


def _per_class(confusion: npt.NDArray[np.int64], labels: Sequence[str] | None) -> list[dict[str, Any]]:
    """Classes that have photos, with the share that was recognised."""
    rows = []
    for index, row in enumerate(confusion):
        images = int(row.sum())
        if images:
            rows.append(
                {"index": index, "label": label_of(index, labels), "images": images, "top1": float(row[index]) / images}
            )
    return rows


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {name: round(float(np.percentile(values, rank)), 3) for name, rank in _PERCENTILES.items()}
