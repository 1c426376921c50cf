"""How well the network in use does on the photos that were named: what a learned one is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_effnet.class_folders import is_none
from edge_effnet.classifier import Classifier
from edge_effnet.errors import ImageError
from edge_effnet.labels import UNKNOWN
from edge_effnet.live.teaching.shelf import ClassFolder

#: Photos that are looked at, of all classes alike.
_MOST_PHOTOS = 200


@dataclass(frozen=True)
class Before:
    """right: share of `photos` photos that the network in use names as they were named, 0..1; None where it has none
    of the names.
    """

    right: float | None
    photos: int


def label_as_learned(name: str) -> str:
    """What a class becomes in the learned network."""
    return UNKNOWN if is_none(name) else name


def judge_before(
    classifier: Classifier, classes: Sequence[ClassFolder], tell: Callable[[float], None] = lambda _share: None
) -> Before:
    """tell: is called with the share that is done. Photos that can't be read don't count."""
    labels = frozenset(classifier.answers or ())
    if not any(label_as_learned(one.name) in labels for one in classes):
        return Before(None, 0)
    items = _alike([(photo, label_as_learned(one.name)) for one in classes for photo in one.photos])
    right = count = 0
    for number, (photo, label) in enumerate(items):
        tell(number / len(items))
        try:
            best = classifier.predict(photo, top_k=1)
        except ImageError:
            continue
        count += 1
        right += bool(best) and best[0].label == label
    return Before(right / count if count else None, count)


def _alike(items: list[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """At most 200, evenly spaced over all classes."""
    step = max(len(items) / _MOST_PHOTOS, 1)
    return [items[int(place * step)] for place in range(int(len(items) / step))]
