"""What share of other photos will get another answer in int8, estimated from the errors on a few hundred photos."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


#: The standard deviation of a photo that may as well change as not.
_UNSEEN = 0.5
#: Classes beyond these ranks don't become the best by an int8 error.
_RANKS = 10


def change_probabilities(exact: Array, rounded: Array) -> npt.NDArray[np.float64]:
    """float64[N], 0..1: how likely the best class of each photo changes.

    exact, rounded: float32[N, C], the logits of the float network and of int8. Each photo's errors are sorted by the
    rank of the classes in its float logits. The errors of every photo, with both signs, are then added to the ranked
    float logits of each photo; the result is the share of them that changes its best class. Counting the photos that
    changed would use each near-tie once, with one error: among a few hundred photos only a handful change, and their
    number varies by about as much.

    Both signs are taken as equally likely, which holds after bias correction. If int8 lowered the best class's logit of
    every photo, twice as many would change as this says.
    """
    ranks = np.argsort(-exact, axis=1, kind="stable")[:, :_RANKS]
    logits, errors = (np.take_along_axis(values, ranks, axis=1) for values in (exact, rounded - exact))
    errors = np.concatenate([errors, -errors])
    return np.array([np.mean((photo + errors).argmax(axis=1) != 0) for photo in logits], np.float64)


def decision_change_probabilities(
    exact: Array, rounded: Array, lowest: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """float64[N, C], 0..1: how likely each decision of a sigmoid head changes.

    lowest: float64[C], the logits they hold from. As `change_probabilities`, class by class: the errors of every photo,
    with both signs, on each photo's logit.
    """
    margins, errors = exact - lowest, np.sort(np.concatenate([rounded - exact, exact - rounded]), axis=0)
    found = np.empty(margins.shape)
    for column in range(margins.shape[1]):
        margin, error = margins[:, column], errors[:, column]
        below = np.searchsorted(error, -margin, side="left") / len(error)  # share of errors that let it not hold
        found[:, column] = np.where(margin >= 0, below, 1 - below)
    return found


def least_bound(photos: int) -> float:
    """The least that so many photos can show, in points: `bound_in_points` where none of them can change."""
    return 100 * _UNSEEN / photos


def bound_in_points(probabilities: npt.NDArray[np.float64]) -> float:
    """An upper estimate of the loss on other photos like these, in points: the mean probability plus a standard error.

    One photo with probability 1/2 is added to the spread, for those not seen: a few photos can't show that nothing is
    lost.
    """
    spread = np.square(probabilities - probabilities.mean()).sum() + _UNSEEN**2
    return float(100 * (probabilities.mean() + math.sqrt(spread) / len(probabilities)))
