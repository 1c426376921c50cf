"""From scores to the few predictions a person wants to see."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import islice, takewhile

import numpy as np
import numpy.typing as npt

from edge_effnet.arguments import fraction, whole_number
from edge_effnet.labels import label_of


@dataclass(frozen=True)
class Prediction:
    """One class: `index` from 0, its `label`, and its softmax `score` in 0..1."""

    index: int
    label: str
    score: float


def top_predictions(
    scores: npt.NDArray[np.float32],
    labels: Sequence[str] | None,
    *,
    top_k: int = 5,
    threshold: float = 0.0,
    among: Set[int] | None = None,
) -> list[Prediction]:
    """The `top_k` best classes at or above `threshold`, best first; equal scores keep index order.

    scores: float32[C]. top_k: at least 1, more than C gives C. among: class indices to choose from, all by default.
    Raises UsageError for a top_k that is no whole number or below 1, or a threshold outside 0..1.
    """
    top_k, threshold = min(whole_number(top_k, "top_k", least=1), scores.size), fraction(threshold, "threshold")
    order = np.argsort(-scores, kind="stable")
    lowest = np.float32(threshold)  # numpy 1 and 2 compare a float32 with a Python number in different types
    best = takewhile(lambda index: scores[index] >= lowest, order.tolist())
    chosen = islice((index for index in best if among is None or index in among), top_k)
    return [Prediction(index, label_of(index, labels), float(scores[index])) for index in chosen]
