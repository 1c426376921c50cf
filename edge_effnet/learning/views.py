"""What of a photo is looked at: the base's centre crop, or all of its shorter side. Held-out photos say which.

A network for ImageNet leaves an eighth out at each edge or so. Where what matters reaches to the edges, as with clothes
on a person, the whole is better; where it stands in the middle, the crop. It costs nothing in the learned file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.learning.depths import factors_of, on_raw
from edge_effnet.learning.folds import moments
from edge_effnet.learning.head import Trained, train
from edge_effnet.preprocessing import Preprocessing

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Viewed:
    """A view, the pooled features of all photos by it, float32[N, D], and what was learned from all depths."""

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
    features: list[Array],
    classes: Array,
    *,
    sizes: Sequence[int],
    after_fit: Callable[[int, int], None] = lambda _done, _total: None,
) -> Viewed:
    """Learns from each view's features of the same photos; the first where held-out photos don't say otherwise.

    features: float16[N, D] a view, whose list is emptied view by view: they are most of the memory. sizes: of the
    depths, the pooled features first (see `depths`).
    """
    found, count = [], int(classes.max()) + 1
    for place, view in enumerate(views):
        rows = features.pop(0).astype(np.float32)

        def told(done: int, total: int, place: int = place) -> None:
            after_fit(place * total + done, len(views) * total)

        groups = moments(rows[:, : sizes[0]], classes)
        factors = factors_of(rows, sizes, moments_a_class=len(np.unique(groups)) / count)
        rows *= factors
        pooled = rows[:, : sizes[0]].copy()
        trained = train(rows, classes, count=count, groups=groups, after_fit=told)
        found.append(Viewed(view, pooled, replace(trained, head=on_raw(trained.head, factors))))
    return min(found, key=lambda viewed: viewed.trained.score)
