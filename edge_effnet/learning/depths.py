"""Features of several depths: the pooled ones, and the means of two maps inside the network.

What the last layers have thrown away since ImageNet's classes don't need it, a pattern or a cloth, tells other classes
apart. It takes photos to learn that from, so the maps count less beside the pooled features the fewer there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.formats.dense import DenseHead

Array = npt.NDArray[Any]
#: Moments a class from which on maps count as much as the pooled features, and how much they count at least.
_MANY, _LEAST = 40.0, 0.5
#: Each further map beside the one before it.
_SHALLOWER = 0.7


def factors_of(features: Array, sizes: Sequence[int], *, moments_a_class: float) -> Array:
    """float32[D]: what each feature is multiplied by before a head is learned; 1 for the pooled ones.

    Gives each map the spread of the pooled features, times how much it counts. features: float32[N, D]; sizes: how many
    of D each depth has, the pooled features first.
    """
    factors = np.ones(features.shape[1], np.float32)
    counts = min(max((moments_a_class / _MANY) ** 0.5, _LEAST), 1.0)
    end, pooled = sizes[0], _spread(features[:, : sizes[0]])
    for place, size in enumerate(sizes[1:]):
        spread = _spread(features[:, end : end + size])
        factors[end : end + size] = counts * _SHALLOWER**place * pooled / (spread or 1.0)
        end += size
    return factors


def _spread(rows: Array) -> float:
    """Mean distance from the mean."""
    return float(np.linalg.norm(rows - rows.mean(axis=0), axis=1).mean())


def on_raw(head: DenseHead, factors: Array) -> DenseHead:
    """A head on multiplied features as one on the network's own."""
    return DenseHead((head.weights * factors).astype(np.float32), head.bias)
