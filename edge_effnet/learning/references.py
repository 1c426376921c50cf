"""What a learned file needs to say that a photo is unknown: features of known photos, and from where on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.learning.folds import unit_rows
from edge_effnet.unknown import UnknownRule, nearest_similarity, packed_references, unpacked_references

Array = npt.NDArray[Any]
MOST_A_CLASS = 50
#: Of all classes together, at one byte a feature.
MOST_BYTES = 256 << 10
#: Nearest references whose similarity is averaged: 1 to 10 did alike on photos of clothes against ImageNet's.
_NEIGHBOURS = 3
#: Held-out photos below which a share of them says nothing.
FEWEST_HELD_OUT = 10
#: Widths between the threshold and the median of own photos, where unknown is e^4 times less likely than the best.
_WIDTHS = 4.0
_NARROWEST = 0.002


@dataclass(frozen=True, eq=False)
class Known:
    """The references of a file: the rule, and what lies beside the document."""

    rule: UnknownRule
    packed: bytes


def learn_references(
    features: Array, classes: Array, *, groups: Array, fold: Array, share: float, already: Array
) -> Known | None:
    """References of the own classes; None where too few photos can be held out to choose a threshold.

    features: float32[N, D] of own photos alone. groups, fold: see `folds`. share: of held-out photos that may be called
    unknown; already: bool[N], those that the network calls so by itself, which count.
    """
    held = np.flatnonzero(fold >= 0)
    if len(held) < FEWEST_HELD_OUT:
        return None
    neighbours = min(_NEIGHBOURS, int(np.bincount(classes).min()))
    similar = np.empty(len(features), np.float32)
    for number in np.unique(fold[held]):
        out = fold == number
        rows = _stored(features[~out], chosen(classes[~out], groups[~out], size=features.shape[1]))[1]
        similar[out] = nearest_similarity(rows, features[out], min(neighbours, len(rows)))
    threshold, width = _threshold(similar[held], already[held], share)
    packed, rows = _stored(features, chosen(classes, groups, size=features.shape[1]))
    rule = UnknownRule(threshold, width, neighbours, len(rows), share, hashlib.sha256(packed).hexdigest())
    return Known(rule, packed)


def chosen(classes: Array, groups: Array, *, size: int) -> Array:
    """int64[R]: photos to keep, of each class as many, one of each moment before a second one."""
    labels = np.unique(classes)
    most = max(1, min(MOST_A_CLASS, MOST_BYTES // size // len(labels)))
    kept = []
    for label in labels:
        members = np.flatnonzero(classes == label)
        _, first = np.unique(groups[members], return_index=True)
        order = [*sorted(first), *sorted(set(range(len(members))) - set(first.tolist()))]
        kept.append(np.sort(members[order[:most]]))
    return np.concatenate(kept)


def _stored(features: Array, rows: Array) -> tuple[bytes, Array]:
    """(the rows as they lie in the file, what is read of them)."""
    packed = packed_references(unit_rows(features[rows]))
    return packed, unpacked_references(packed, len(rows))


def _threshold(similar: Array, already: Array, share: float) -> tuple[float, float]:
    """(threshold, width): so that the share of photos, with those that are unknown already, lies below it."""
    left = np.sort(similar[~already])
    below = round(share * len(similar)) - int(already.sum())
    if below < 0 or not len(left):
        return -1.0, 1.0
    last, first = left[max(below - 1, 0)], left[min(below, len(left) - 1)]
    threshold = float(first) if below == 0 else float((float(last) + float(first)) / 2)
    width = (float(np.median(similar)) - threshold) / _WIDTHS
    return round(threshold, 6), round(max(width, _NARROWEST), 6)
