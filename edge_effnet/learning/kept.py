"""New classes beside those that the base has: its rows of the last layer stay, the learned ones join them.

The learned rows tell the new classes from each other and nothing else. So that they stand up to the base's, each gets
one common part more, towards the mean of all new photos and as large as the base's rows are; and one offset, by which
as many of the new photos are taken for the base's classes as may be. No photo of the base's classes is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import UsageError
from edge_effnet.formats.dense import DenseHead
from edge_effnet.labels import UNKNOWN, folded, label_of
from edge_effnet.learning.folds import unit_rows
from edge_effnet.learning.head import Trained

Array = npt.NDArray[Any]
#: Of new photos held out, taken for one of the base's classes.
LOST = 0.05


def beside(
    base: DenseHead, labels: tuple[str, ...] | None, trained: Trained, features: Array, new_labels: tuple[str, ...]
) -> tuple[DenseHead, tuple[str, ...]]:
    """(the head with all classes, the base's first; their labels). features: float32[N, D] of the new photos.

    A class of the base's that is called like a new one gives way to it. Raises UsageError for photos of none of the
    classes, since what the base makes of those is to stay.
    """
    if UNKNOWN in new_labels:
        raise UsageError(
            f"photos of {UNKNOWN!r} don't go with the base's classes, which are what else there is; take them out, or "
            "drop the base's classes"
        )
    names = labels or tuple(label_of(index, None) for index in range(len(base.bias)))
    taken = {folded(label) for label in new_labels}
    left = [index for index, name in enumerate(names) if folded(name) not in taken]
    old = DenseHead(base.weights[left], base.bias[left])
    new = _joined(old, trained, features)
    head = DenseHead(np.concatenate([old.weights, new.weights]), np.concatenate([old.bias, new.bias]))
    return head, (*(names[index] for index in left), *new_labels)


def _joined(old: DenseHead, trained: Trained, features: Array) -> DenseHead:
    size = float(np.linalg.norm(old.weights - old.weights.mean(axis=0), axis=1).mean())
    common = unit_rows(unit_rows(features).mean(axis=0)[None])[0] * np.float32(size)
    weights, bias = trained.head.weights, trained.head.bias
    own = DenseHead(weights - weights.mean(axis=0) + common, bias - bias.mean())
    seen = trained.fold >= 0
    if seen.any():
        held = trained.held_out[seen]
        logits = held - held.mean(axis=1, keepdims=True) + (features[seen] @ common)[:, None]
    else:
        seen = np.ones(len(features), bool)
        logits = own.logits(features)
    leads = logits.max(axis=1) - old.logits(features[seen]).max(axis=1)
    offset = np.float32(-np.quantile(leads, LOST))
    return DenseHead(own.weights.astype(np.float32), (own.bias + offset).astype(np.float32))
