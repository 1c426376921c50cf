"""The head: how strongly it is held back is chosen on held-out photos, then it is learned from all.

A strong penalty gives the direction from the mean of all photos to each class's mean, which is best for few photos; a
weak one gives the boundary between the classes, which takes many. So one method serves both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.formats.dense import DenseHead
from edge_effnet.learning.folds import moments, split
from edge_effnet.learning.solver import fit

Array = npt.NDArray[Any]
#: Tried from strong to weak, each from where the one before ended.
PENALTIES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
#: Of logits, tried to find how sharp they should be.
_FACTORS = tuple(0.5 * 1.1**step for step in range(60))
_PLAUSIBLE = 0.8


@dataclass(frozen=True, eq=False)
class Trained:
    """head: on features as the network gives them. held_out: float32[N, C], the logits of each photo by a head that
    hasn't seen it; NaN where there is none. fold, groups: see `folds`. penalty: the chosen one. halved: share of photos
    that heads recognise which haven't seen them, learned from half as many photos; None without any.
    """

    head: DenseHead
    held_out: Array
    fold: Array
    groups: Array
    penalty: float
    halved: float | None


def train(
    features: Array, classes: Array, *, count: int, after_fit: Callable[[int, int], None] = lambda _done, _total: None
) -> Trained:
    """Learns from float32[N, D] features of int64[N] classes; after_fit hears how much is done."""
    length = float(np.linalg.norm(features, axis=1).mean()) or 1.0
    scaled = (features / np.float32(length)).astype(np.float32)
    groups = moments(features, classes)
    fold = split(classes, groups)
    held_out, penalty = _cross_validated(scaled, classes, fold, count, after_fit)
    head = fit(scaled, classes, count=count, penalty=penalty)
    halved = _halved(scaled, classes, fold, count, penalty)
    sharp = _sharpness(held_out, head.logits(scaled), classes)
    head = DenseHead(head.weights * (sharp / np.float32(length)), head.bias * sharp)
    return Trained(head, held_out * sharp, fold, groups, penalty, halved)


def _sharpness(held_out: Array, own: Array, classes: Array) -> np.float32:
    """The factor of the logits with which held-out photos are most likely: a penalty makes scores timid.

    Without held-out photos, that which gives the photos learned from a mean score of `_PLAUSIBLE`. Source: Guo et al.,
    "On Calibration of Modern Neural Networks", ICML 2017 (temperature scaling).
    """
    if np.isnan(held_out[:, 0]).all():
        means = [float(_scores(own * factor)[np.arange(len(classes)), classes].mean()) for factor in _FACTORS]
        place = next((place for place, mean in enumerate(means) if mean >= _PLAUSIBLE), len(means) - 1)
    else:
        place = int(np.argmin([_loss(held_out * factor, classes)[0] for factor in _FACTORS]))
    return np.float32(_FACTORS[place])


def _scores(logits: Array) -> Array:
    """float64[N, C], rows that sum to 1."""
    values = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    found: Array = values / values.sum(axis=1, keepdims=True)
    return found


def _halved(features: Array, classes: Array, fold: Array, count: int, penalty: float) -> float | None:
    """The accuracy on held-out photos of heads that learn from every second photo of each class."""
    right = total = 0
    for number in np.unique(fold[fold >= 0]):
        out, rest = fold == number, np.flatnonzero(fold != number)
        half = np.concatenate([rest[classes[rest] == label][::2] for label in np.unique(classes)])
        head = fit(features[half], classes[half], count=count, penalty=penalty)
        right += int((np.argmax(head.logits(features[out]), axis=1) == classes[out]).sum())
        total += int(out.sum())
    return right / total if total else None


def _cross_validated(
    features: Array, classes: Array, fold: Array, count: int, after_fit: Callable[[int, int], None]
) -> tuple[Array, float]:
    """(held-out logits by the best penalty, that penalty)."""
    numbers = [int(number) for number in np.unique(fold) if number >= 0]
    found = np.full((len(PENALTIES), len(classes), count), np.nan, np.float32)
    for done, number in enumerate(numbers):
        out, head = fold == number, None
        for place, penalty in enumerate(PENALTIES):
            after_fit(done * len(PENALTIES) + place, len(numbers) * len(PENALTIES))
            head = fit(features[~out], classes[~out], count=count, penalty=penalty, start=head)
            found[place, out] = head.logits(features[out])
    if not numbers:
        return found[0], PENALTIES[0]
    losses = [_loss(logits, classes) for logits in found]
    mean, error = min(losses)
    best = next(place for place, loss in enumerate(losses) if loss[0] <= mean + error)
    return found[best], PENALTIES[best]


def _loss(logits: Array, classes: Array) -> tuple[float, float]:
    """(mean of -log score of the true class over classes, each weighing the same; its standard error).

    Photos that are never held out don't count. The strongest penalty within one standard error of the best is taken
    (Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3).
    """
    seen = ~np.isnan(logits[:, 0])
    values, truth = logits[seen].astype(np.float64), classes[seen]
    values = values - values.max(axis=1, keepdims=True)
    losses = np.log(np.exp(values).sum(axis=1)) - values[np.arange(len(truth)), truth]
    means = [losses[truth == label].mean() for label in np.unique(truth)]
    return float(np.mean(means)), float(losses.std() / np.sqrt(len(losses)))
