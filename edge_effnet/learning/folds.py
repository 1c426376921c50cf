"""Cross-validation: photos that show the same moment stay together, and each class is spread over the folds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FOLDS = 5
#: Cosine of two photos' features from which they count as one moment of a burst.
SAME_MOMENT = 0.985
_ROWS_AT_A_TIME = 512
#: Of a normal distribution: 95 % lie within so many standard deviations.
_NORMAL_95 = 1.959964


def unit_rows(features: Array) -> Array:
    """float32[N, D] with rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    found: Array = features / np.maximum(lengths, 1e-12)
    return found


def moments(features: Array, classes: Array) -> Array:
    """int64[N]: photos of one class with the same number are near-duplicates, directly or through others."""
    unit = unit_rows(features)
    leader = np.arange(len(unit))

    def root(photo: int) -> int:
        while leader[photo] != photo:
            leader[photo] = leader[leader[photo]]
            photo = int(leader[photo])
        return photo

    for start in range(0, len(unit), _ROWS_AT_A_TIME):
        near = unit[start : start + _ROWS_AT_A_TIME] @ unit.T >= SAME_MOMENT
        for row, other in np.argwhere(near):
            photo = start + int(row)
            if other < photo and classes[other] == classes[photo]:
                one, two = sorted((root(photo), root(int(other))))
                leader[two] = one
    return np.array([root(photo) for photo in range(len(unit))], np.int64)


def split(classes: Array, groups: Array, *, folds: int = FOLDS) -> Array:
    """int64[N]: the fold in which a photo is held out, -1 for never, where its class has one moment alone.

    A class's moments are dealt out one by one, the largest first, each to the fold that has fewest of its photos.
    """
    found = np.full(len(classes), -1, np.int64)
    for label in np.unique(classes):
        members, sizes = np.unique(groups[classes == label], return_counts=True)
        if len(members) < 2:
            continue
        filled = np.zeros(folds, np.int64)
        for place in np.argsort(-sizes, kind="stable"):
            fold = int(np.argmin(filled))
            filled[fold] += sizes[place]
            found[groups == members[place]] = fold
    return found


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share that was seen in `count` trials.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if count == 0:
        return 0.0, 1.0
    square = _NORMAL_95**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = _NORMAL_95 / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)
