"""What held-out photos say of a head: how good it is, what it confuses, what may be misfiled, and what would help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.learning.folds import wilson
from edge_effnet.learning.head import Trained
from edge_effnet.learning.photos import LabelledPhoto

Array = npt.NDArray[Any]
#: A held-out photo is doubtful when another class has at least this score, and its own so many times less.
_SURELY, _TIMES = 0.6, 10.0
_MOST_DOUBTS = 50
_MORE = 10
#: Errors fall by a power of the number of photos: 0.5 is what independent noise gives, and the most that is believed.
_STEEPEST = 0.5


@dataclass(frozen=True)
class Doubt:
    """A photo that may lie in the wrong folder. looks_like: the class that a head says which hasn't seen it; score: its
    score, 0..1.
    """

    path: Path
    label: str
    looks_like: str
    score: float


@dataclass(frozen=True)
class Judgement:
    """accuracy: share of held-out photos that are recognised, None without any; interval: its 95 % interval, which
    counts moments and not photos. confusion: [true][found]. doubtful: most doubtful first. wants: label → what ten more
    photos of it might add to the accuracy.
    """

    accuracy: float | None
    interval: tuple[float, float] | None
    confusion: tuple[tuple[int, ...], ...]
    doubtful: tuple[Doubt, ...]
    wants: Mapping[str, float]


def judge(trained: Trained, classes: Array, labels: Sequence[str], photos: Sequence[LabelledPhoto]) -> Judgement:
    """Of photos in the order of int64[N] classes."""
    seen = np.flatnonzero(trained.fold >= 0)
    answers, truth = np.argmax(trained.held_out[seen], axis=1), classes[seen]
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (truth, answers), 1)
    table = tuple(tuple(int(value) for value in row) for row in confusion)
    if not len(seen):
        return Judgement(None, None, table, (), {})
    accuracy = float((answers == truth).mean())
    interval = wilson(accuracy, len(np.unique(trained.groups[seen])))
    doubts = _doubts(trained.held_out[seen], truth, labels, [photos[index] for index in seen.tolist()])
    return Judgement(accuracy, interval, table, doubts, _wants(confusion, labels, trained.halved))


def not_judged(trained: Trained, classes: Array, labels: Sequence[str]) -> tuple[str, ...]:
    """A line on the classes of which no photo could be held out, where those of others were; () for none."""
    judged = np.unique(classes[trained.fold >= 0]).tolist()
    missing = [label for index, label in enumerate(labels) if index not in judged]
    if not judged or not missing:
        return ()
    return (f"of what is judged: {', '.join(missing)}, for a single photo or moment can't be held out; add others",)


def _doubts(logits: Array, truth: Array, labels: Sequence[str], photos: Sequence[LabelledPhoto]) -> tuple[Doubt, ...]:
    values = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    scores = values / values.sum(axis=1, keepdims=True)
    best = np.argmax(scores, axis=1)
    own, other = (scores[np.arange(len(truth)), index] for index in (truth, best))
    found = np.flatnonzero((best != truth) & (other >= _SURELY) & (own <= other / _TIMES))
    order = sorted(found.tolist(), key=lambda index: (own[index], photos[index].digest))[:_MOST_DOUBTS]
    return tuple(
        Doubt(photos[index].path, labels[truth[index]], labels[best[index]], round(float(other[index]), 4))
        for index in order
    )


def _wants(confusion: Array, labels: Sequence[str], halved: float | None) -> dict[str, float]:
    """Gain a class, by the learning curve through half the photos and all: errors ~ photos^-b."""
    photos = confusion.sum(axis=1)
    errors = photos - np.diag(confusion)
    now = float(errors.sum() / max(1, photos.sum()))
    if halved is None or now <= 0:
        return dict.fromkeys(labels, 0.0)
    steepness = min(max(float(np.log2(max(1.0 - halved, now) / now)), 0.0), _STEEPEST)
    left = ((photos + _MORE) / np.maximum(photos, 1)) ** -steepness
    gains = errors * (1 - left) / photos.sum()
    order = np.argsort(-gains, kind="stable")
    return {labels[index]: round(float(gains[index]), 5) for index in order}
