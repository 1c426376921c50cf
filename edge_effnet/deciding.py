"""What heads decide, photo by photo, and on what share of it two networks agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.heads import Head, class_logits, lowest_outputs

Outputs = npt.NDArray[np.float32]


def held(head: Head, outputs: Outputs) -> npt.NDArray[np.bool_]:
    """bool[N, C]: which classes of a sigmoid head hold, from float32[N, C]."""
    return np.asarray(outputs >= lowest_outputs(head, outputs.shape[1]))


def agreement(head: Head, one: Outputs, other: Outputs) -> npt.NDArray[np.float64]:
    """float64[N], 0..1, from both networks' float32[N, C]: 1 where the best class is the same, or 0; of a sigmoid head
    the share of classes decided alike; of features, which decide nothing, the cosine between them.
    """
    if head.kind == "sigmoid":
        return np.asarray((held(head, one) == held(head, other)).mean(axis=1))
    if head.has_classes:
        return np.asarray(one.argmax(axis=1) == other.argmax(axis=1), np.float64)
    return _cosines(one.astype(np.float64), other.astype(np.float64))


def _cosines(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    lengths = np.sqrt(np.square(one).sum(axis=1) * np.square(other).sum(axis=1))
    return np.asarray(np.where(lengths > 0, (one * other).sum(axis=1) / np.maximum(lengths, 1e-300), 1.0))


def named(head: Head, outputs: Outputs, decisions: int) -> npt.NDArray[np.int64]:
    """int64[N]: the class that a photo is taken for, of as many as there are decisions; -1 for none of one alone."""
    if head.kind == "sigmoid" and outputs.shape[1] == 1:
        return held(head, outputs)[:, 0].astype(np.int64) - (decisions == 1)
    return np.array([class_logits(head, row, decisions).argmax() for row in outputs], np.int64)
