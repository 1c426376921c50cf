"""What of a photo is looked at: the base's centre crop, or all of its shorter side. Held-out photos say which.

A network for ImageNet leaves an eighth out at each edge or so. Where what matters reaches to the edges, as with clothes
on a person, the whole is better; where it stands in the middle, the crop. It costs nothing in the learned file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from edge_effnet.learning.head import Trained, train
from edge_effnet.preprocessing import Preprocessing

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Viewed:
    """A view, the features of all photos by it, float32[N, D], and what was learned from them."""

    preprocessing: Preprocessing
    features: Array
    trained: Trained


def views_of(preprocessing: Preprocessing) -> tuple[Preprocessing, ...]:
    """The base's own view first; the other where the base crops a square out of the middle."""
    height, width = preprocessing.size
    if preprocessing.mode != "shorter" or height != width or preprocessing.resized == preprocessing.size:
        return (preprocessing,)
    return preprocessing, replace(preprocessing, resize=height)


def best_view(
    views: Sequence[Preprocessing],
    features: Sequence[Array],
    classes: Array,
    *,
    after_fit: Callable[[int, int], None] = lambda _done, _total: None,
) -> Viewed:
    """Learns from each view's features of the same photos; the first where held-out photos don't say otherwise."""
    found, count = [], int(classes.max()) + 1
    for place, (view, rows) in enumerate(zip(views, features, strict=True)):

        def told(done: int, total: int, place: int = place) -> None:
            after_fit(place * total + done, len(views) * total)

        found.append(Viewed(view, rows, train(rows, classes, count=count, after_fit=told)))
    return min(found, key=lambda viewed: viewed.trained.score)
