"""How many photos' answers an int8 network is to be expected to change, from its errors on a few hundred photos."""

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

    exact, rounded: float32[N, C], the logits of the float network and of int8. Each photo's float logits, best first,
    are taken with the errors of all photos, in the order of their own best classes and with either sign, and those
    errors counted that would change the best class. A plain count of the photos that changed sees each near-tie once,
    with the one error that happened to fall on it: among a few hundred photos that is a handful, and swings by as much
    again.

    Either sign is taken to be as likely, which is what bias correction leaves: where int8 made every best class's logit
    lower, twice as many photos as said would change.
    """
    ranks = np.argsort(-exact, axis=1, kind="stable")[:, :_RANKS]
    logits, errors = (np.take_along_axis(values, ranks, axis=1) for values in (exact, rounded - exact))
    errors = np.concatenate([errors, -errors])
    return np.array([np.mean((photo + errors).argmax(axis=1) != 0) for photo in logits], np.float64)


def least_bound(photos: int) -> float:
    """The least that so many photos can show, in points: `bound_in_points` where none of them can change."""
    return 100 * _UNSEEN / photos


def bound_in_points(probabilities: npt.NDArray[np.float64]) -> float:
    """What may be lost of other photos like these, in points: the mean of their probabilities and one standard error.

    One photo more, that could as well have changed as not, stands in the standard error for those not seen: so a few
    photos can't show that nothing is lost.
    """
    spread = np.square(probabilities - probabilities.mean()).sum() + _UNSEEN**2
    return float(100 * (probabilities.mean() + math.sqrt(spread) / len(probabilities)))
