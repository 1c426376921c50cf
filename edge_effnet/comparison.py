"""How far two models agree on the same photos; streaming, so any number of photos will do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.classifier import Classifier
from edge_effnet.datasets import INDEX_FILE, LabelledImage, read_dataset, unlabelled_images
from edge_effnet.deciding import held
from edge_effnet.errors import ImageError, UsageError
from edge_effnet.heads import class_logits, scores_of
from edge_effnet.many import Classifiers, spread
from edge_effnet.preprocessing import decode

_TOP = 5
#: Below it a softmax in float32 says nothing of the logit.
_LEAST_SCORE = np.float32(1e-12)
FloatArray = npt.NDArray[np.float32]


@dataclass
class Agreement:
    """Sums over pairs of outputs while photos stream by; A is the reference.

    top1: both name the same best class. alike: shares of the classes of sigmoid heads that are decided alike. top5: the
    share of A's five best classes that are among B's, averaged over the photos (all classes where there are fewer than
    five). Logit SQNR: 10·log10(Σ a² / Σ (b − a)²) over all photos.
    """

    images: int = 0
    top1: int = 0
    top5: float = 0.0
    score_difference: float = 0.0
    signal: float = 0.0
    error: float = 0.0
    alike: float | None = None

    def add(
        self,
        logits_a: FloatArray,
        logits_b: FloatArray,
        scores_a: FloatArray,
        scores_b: FloatArray,
        *,
        alike: float | None = None,
    ) -> None:
        """Counts one photo: the networks' outputs, float32[C] each, and the scores of the classes they stand for."""
        single = len(logits_a) == 1
        best_a, best_b = (
            best_classes(scores if single else logits)
            for logits, scores in ((logits_a, scores_a), (logits_b, scores_b))
        )
        self.images += 1
        if alike is not None:
            self.alike = (self.alike or 0.0) + alike
        self.top1 += int(alike == 1) if single and alike is not None else best_a[0] == best_b[0]
        self.top5 += len(set(best_a) & set(best_b)) / len(best_a)
        self.score_difference += float(np.abs(scores_b.astype(np.float64) - scores_a).mean())
        self.signal += float(np.square(logits_a, dtype=np.float64).sum())
        self.error += float(np.square(logits_b.astype(np.float64) - logits_a).sum())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: fractions in 0..1, the SQNR in dB or None where nothing differs."""
        return {
            "images": self.images,
            "top1_agreement": self.top1 / self.images,
            "top5_agreement": self.top5 / self.images,
            "mean_abs_score_difference": self.score_difference / self.images,
            "logit_sqnr_db": sqnr_db(self.signal, self.error),
        } | ({} if self.alike is None else {"decision_agreement": self.alike / self.images})


def sqnr_db(signal: float, error: float) -> float | None:
    """10·log10(signal / error) of two powers; None where it isn't finite."""
    return 10 * math.log10(signal / error) if signal > 0 and error > 0 else None


def best_classes(logits: FloatArray) -> list[int]:
    """Indices of the five best classes (or as many as there are), best first; equal ones keep index order."""
    return [int(index) for index in np.argsort(-logits, kind="stable")[:_TOP]]


@dataclass
class _Side:
    """What one of the two models gets right, and how long it takes."""

    top1: int = 0
    top5: int = 0
    inference_ms: list[float] = field(default_factory=list)

    def add(self, logits: FloatArray, truth: frozenset[int], inference_ms: float) -> None:
        best = best_classes(logits)
        self.top1 += best[0] in truth
        self.top5 += bool(truth & set(best))
        self.inference_ms.append(inference_ms)

    def to_dict(self, classifier: Classifier, labelled: bool) -> dict[str, Any]:
        images = len(self.inference_ms)
        return {
            "model": str(classifier.model_path),
            "engine": classifier.engine,
            "top1": self.top1 / images if labelled else None,
            "top5": self.top5 / images if labelled else None,
            "inference_ms": round(median(self.inference_ms), 3),
        }


def compare(
    a: Classifier,
    b: Classifier,
    photos: Iterable[LabelledImage],
    *,
    workers: int = 1,
    after_photo: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The JSON of `edge-effnet compare`: agreement (see `Agreement`), and "a" and "b", each with its accuracy.

    photos: with no classes where they aren't known; "top1" and "top5" are None then. "inference_ms": the median.
    workers: photos worked on at a time. after_photo: is called after each, in order.
    Photos that can't be read are listed under "unreadable" and don't count. Raises UsageError when none can, or when
    the two models' classes aren't the same.
    """
    _check_same_classes(a, b)
    sums = _Sums()
    with spread((a, b), _run_both, photos, workers=workers) as found:
        for outcome in found:
            sums.add(outcome)
            after_photo()
    return sums.to_dict(a, b)


@dataclass(frozen=True)
class _Run:
    """One model's outputs for one photo, what its classes are decided by, and their scores.

    Of a file of another maker that ends in a softmax the logits are logarithms of its scores.
    """

    outputs: FloatArray
    logits: FloatArray
    scores: FloatArray
    milliseconds: float
    ends_in_softmax: bool = False


@dataclass(frozen=True)
class _Outputs:
    """Of the two models, for one photo. alike: share of the classes of two sigmoid heads that are decided alike."""

    a: _Run
    b: _Run
    alike: float | None
    classes: frozenset[int]


@dataclass
class _Sums:
    """What `compare` counts while photos stream by."""

    agreement: Agreement = field(default_factory=Agreement)
    a: _Side = field(default_factory=_Side)
    b: _Side = field(default_factory=_Side)
    unreadable: list[str] = field(default_factory=list)
    labelled: bool = True

    def add(self, outcome: _Outputs | ImageError) -> None:
        if isinstance(outcome, ImageError):
            self.unreadable.append(str(outcome))
            return
        self.labelled = self.labelled and bool(outcome.classes)
        a, b = outcome.a, outcome.b
        self.agreement.add(a.outputs, b.outputs, a.scores, b.scores, alike=outcome.alike)
        for side, run in ((self.a, a), (self.b, b)):
            side.add(run.logits, outcome.classes, run.milliseconds)

    def to_dict(self, a: Classifier, b: Classifier) -> dict[str, Any]:
        if not self.agreement.images:
            raise UsageError(
                f"none of the {len(self.unreadable)} photos can be read ({'; '.join(self.unreadable[:3])})"
            )
        sides = {"a": self.a.to_dict(a, self.labelled), "b": self.b.to_dict(b, self.labelled)}
        return self.agreement.to_dict() | sides | ({"unreadable": self.unreadable} if self.unreadable else {})


def _run_both(classifiers: Classifiers, item: LabelledImage) -> _Outputs | ImageError:
    a, b = classifiers
    try:
        photo = decode(item.path, rules=a.image_rules)
    except ImageError as error:
        return error
    runs = _comparable(_run(a, photo), _run(b, photo))
    return _Outputs(*runs, _alike(a, b, *(run.outputs for run in runs)), item.classes)


def _comparable(one: _Run, other: _Run) -> tuple[_Run, _Run]:
    """A softmax takes the same constant off all logits; where one model ends in one, their means are taken off both."""
    if one.ends_in_softmax == other.ends_in_softmax:
        return one, other
    return _centred(one), _centred(other)


def _centred(run: _Run) -> _Run:
    return replace(run, outputs=run.outputs - run.outputs.mean(), logits=run.logits - run.logits.mean())


def _alike(a: Classifier, b: Classifier, one: FloatArray, other: FloatArray) -> float | None:
    if not a.head.kind == b.head.kind == "sigmoid" or len(one) != len(other):
        return None
    return float((held(a.head, one[None]) == held(b.head, other[None])).mean())


def _run(classifier: Classifier, photo: Any) -> _Run:
    """A file of another maker may end in a softmax, which only `scores` knows."""
    outputs, head = classifier.logits(photo), classifier.head
    milliseconds = classifier.timing_ms["inference"]
    single = head.kind == "sigmoid" and classifier.num_classes == 1
    logits = outputs if single else class_logits(head, outputs, classifier.num_classes)
    if classifier.metadata is None:
        scores = classifier.scores(photo)
        if np.array_equal(scores, outputs):
            logits = np.log(np.maximum(scores, _LEAST_SCORE))
            return _Run(logits, logits, scores, milliseconds, ends_in_softmax=True)
        return _Run(logits, logits, scores, milliseconds)
    return _Run(outputs, logits, scores_of(head, outputs, classifier.num_classes), milliseconds)


def _check_same_classes(a: Classifier, b: Classifier) -> None:
    if a.num_classes != b.num_classes:
        raise UsageError(
            f"{a.model_path} has {a.num_classes} classes, {b.model_path} {b.num_classes}; expected as many"
        )
    pairs = enumerate(zip(a.labels or (), b.labels or (), strict=False))
    different = next(
        (f"{index}: {one!r} and {other!r}" for index, (one, other) in pairs if one.casefold() != other.casefold()), None
    )
    if different is not None:
        raise UsageError(
            f"{a.model_path} and {b.model_path} name class {different}; where they mean the same, give both the "
            "names: --labels FILE"
        )


def comparison_photos(
    folder: str | Path, *, num_classes: int, labels: tuple[str, ...] | None
) -> tuple[list[LabelledImage], str | None]:
    """The photos of a folder, with classes where it tells them; and why it doesn't, where folders stand in it.

    A `labels.csv` counts, and must fit. Without one, subfolders are classes if all their names are; otherwise every
    photo below the folder is taken, without a class. Raises UsageError.
    """
    folder = Path(folder)
    if (folder / INDEX_FILE).is_file():
        return read_dataset(folder, num_classes=num_classes, labels=labels, without="taken"), None
    photos = [LabelledImage(path, frozenset()) for path in unlabelled_images(folder)]
    if any(item.path.parent == folder for item in photos):
        return photos, None
    try:
        labelled = read_dataset(folder, num_classes=num_classes, labels=labels)
    except UsageError as error:
        return photos, str(error)
    return labelled, None
