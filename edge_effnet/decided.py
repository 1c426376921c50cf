"""How good scores are where several classes may hold at once, or none: average precision, F1, balanced accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.heads import DEFAULT_THRESHOLD, Head
from edge_effnet.labels import label_of

Scores = npt.NDArray[np.float32]
Truth = npt.NDArray[np.bool_]


def average_precision(scores: Scores, truth: Truth) -> float | None:
    """Mean of the precision at each true photo, best score first; None without one. Equal scores count together.

    scores: float32[N]; truth: bool[N]. Source: scikit-learn's `average_precision_score`.
    """
    if not truth.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(truth[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def f1(held: Truth, truth: Truth) -> float:
    """2·TP / (2·TP + FP + FN); 0 where a class neither holds nor is found."""
    both, one = int((held & truth).sum()), int((held ^ truth).sum())
    return 2 * both / (2 * both + one) if both or one else 0.0


def balanced_accuracy(held: Truth, truth: Truth) -> float | None:
    """Mean of the shares recognised of the photos that are, and of those that aren't; None without one of both."""
    if truth.all() or not truth.any():
        return None
    return float((held[truth].mean() + (~held[~truth]).mean()) / 2)


def decided_figures(head: Head, scores: Scores, truth: Truth, labels: Sequence[str] | None) -> dict[str, Any]:
    """What `eval` adds for a sigmoid head: scores float32[N, C], truth bool[N, C]."""
    lowest = np.asarray(head.thresholds or [DEFAULT_THRESHOLD] * scores.shape[1], np.float32)
    if len(lowest) != scores.shape[1]:
        lowest = np.full(scores.shape[1], lowest[0], np.float32)
    held = scores >= lowest
    columns = range(scores.shape[1])
    rows: list[dict[str, Any]] = [
        {
            "index": index,
            "label": label_of(index, labels),
            "average_precision": average_precision(scores[:, index], truth[:, index]),
            "f1": f1(held[:, index], truth[:, index]),
        }
        for index in columns
    ]
    known = [row["average_precision"] for row in rows if row["average_precision"] is not None]
    found = {
        "mean_average_precision": float(np.mean(known)) if known else None,
        "macro_f1": float(np.mean([f1(held[:, index], truth[:, index]) for index in columns])),
        "decisions": rows,
    }
    if scores.shape[1] == 2:
        found["balanced_accuracy"] = balanced_accuracy(held[:, 1], truth[:, 1])
    return found
