"""The head: how strongly its covariance is shrunk is chosen on held-out photos, then it is learned from all.

The file has no more than a dense layer and softmax, whatever it was learned by; see `discriminant` for what that is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.formats.dense import DenseHead
from edge_effnet.learning.discriminant import fit
from edge_effnet.learning.folds import split

Array = npt.NDArray[Any]
#: Tried, from strong to weak.
PENALTIES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
#: Of logits whose standard deviation is 1, tried to find how sharp they should be.
_FACTORS = tuple(0.25 * 1.15**step for step in range(40))
_PLAUSIBLE = 0.8


@dataclass(frozen=True, eq=False)
class Trained:
    """head: on features as the network gives them. held_out: float32[N, C], the logits of each photo by a head that
    hasn't seen it; NaN where there is none. fold, groups: see `folds`. penalty: the chosen one. score: of Brier, of
    held-out photos by it, 0..2, the lower the better; infinite without any. halved: share of photos that heads
    recognise which haven't seen them, learned from half as many photos; None without any.
    """

    head: DenseHead
    held_out: Array
    fold: Array
    groups: Array
    penalty: float
    score: float
    halved: float | None


def train(
    features: Array,
    classes: Array,
    *,
    count: int,
    groups: Array,
    after_fit: Callable[[int, int], None] = lambda _done, _total: None,
) -> Trained:
    """Learns from float32[N, D] features of int64[N] classes.

    features: what is left in them means nothing. groups: see `folds`. after_fit hears how much is done.
    """
    fold = split(classes, groups)
    held_out, penalty, score = _cross_validated(features, classes, fold, count, after_fit)
    halved = _halved(features, classes, fold, count, penalty)
    seen = fold >= 0
    if seen.any():
        (head,) = fit(features, classes, count=count, penalties=(penalty,))
        sharp = _sharpest(held_out[seen], classes[seen], sure=_sure(groups[seen]))
    else:
        (head,) = fit(features.copy(), classes, count=count, penalties=(penalty,))
        sharp = _plausible(head.logits(features), classes)
    head = DenseHead(head.weights * np.float32(sharp), head.bias * np.float32(sharp))
    return Trained(head, held_out * np.float32(sharp), fold, groups, penalty, score, halved)


def _factors(logits: Array) -> list[float]:
    deviation = float(logits.std(axis=1).mean()) or 1.0
    return [factor / deviation for factor in _FACTORS]


def _plausible(own: Array, classes: Array) -> float:
    """The factor of logits that gives the photos learned from a mean score of `_PLAUSIBLE`, where none is held out."""
    factors = _factors(own)
    truth = np.arange(len(classes)), classes
    return next((each for each in factors if float(_scores(own * each)[truth].mean()) >= _PLAUSIBLE), factors[-1])


def _sure(groups: Array) -> float:
    """What held-out photos may say at most: of n moments, all recognised, n + 1 of n + 2 will be.

    Source: Platt, "Probabilistic Outputs for Support Vector Machines", 1999, section 2.2.
    """
    count = len(np.unique(groups))
    return (count + 1) / (count + 2)


def _sharpest(logits: Array, classes: Array, *, sure: float) -> float:
    """The factor of held-out logits with which their classes are most likely.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (temperature scaling).
    """
    return min(_factors(logits), key=lambda factor: _loss(logits * np.float32(factor), classes, sure=sure))


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
        (head,) = fit(features[half], classes[half], count=count, penalties=(penalty,))
        right += int((np.argmax(head.logits(features[out]), axis=1) == classes[out]).sum())
        total += int(out.sum())
    return right / total if total else None


def _cross_validated(
    features: Array, classes: Array, fold: Array, count: int, after_fit: Callable[[int, int], None]
) -> tuple[Array, float, float]:
    """(held-out logits by the best penalty, that penalty, its score), the strongest where nothing is held out."""
    numbers = [int(number) for number in np.unique(fold) if number >= 0]
    found = np.full((len(PENALTIES), len(classes), count), np.nan, np.float32)
    for done, number in enumerate(numbers):
        after_fit(done, len(numbers))
        out = fold == number
        for place, head in enumerate(fit(features[~out], classes[~out], count=count, penalties=PENALTIES)):
            found[place, out] = head.logits(features[out])
    seen = np.flatnonzero(fold >= 0)
    if not len(seen):
        return found[0], PENALTIES[0], np.inf
    scores = [_brier(logits[seen], classes[seen]) for logits in found]
    best = int(np.argmin(scores))
    return found[best], PENALTIES[best], scores[best]


def _brier(logits: Array, classes: Array) -> float:
    """How far scores lie from the truth, when they are as sharp as they should be: mean squared distance, 0..2.

    Source: Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78 (1950). It
    found the penalty that recognises most new photos more often than the loss did, which minds the few worst.
    """
    found = _scores(logits * np.float32(_sharpest(logits, classes, sure=1.0)))
    found[np.arange(len(classes)), classes] -= 1
    return float(np.square(found).sum(axis=1).mean())


def _loss(logits: Array, classes: Array, *, sure: float) -> float:
    """Mean of -log score of the true class over classes, each weighing the same.

    sure: probability of the true class, 0..1; the others share what is left.
    """
    values = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    own = values[np.arange(len(classes)), classes]
    others = (values.sum(axis=1) - own) / (values.shape[1] - 1)
    losses = np.log(np.exp(values).sum(axis=1)) - sure * own - (1 - sure) * others
    return float(np.mean([losses[classes == label].mean() for label in np.unique(classes)]))
