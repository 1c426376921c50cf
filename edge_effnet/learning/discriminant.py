"""The last layer from photos in closed form: linear discriminants with a shrunken covariance.

Source: Friedman, "Regularized Discriminant Analysis", JASA 84 (1989), with one covariance for all classes, shrunk
towards the same variance in every direction. Strongly shrunk, it is the direction to each class's mean, which is best
for few photos; weakly, it turns away from the directions in which photos of one class differ, which takes many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.formats.dense import DenseHead
from edge_effnet.learning.folds import unit_rows

Array = npt.NDArray[Any]


def fit(features: Array, classes: Array, *, count: int, penalties: Sequence[float]) -> list[DenseHead]:
    """A head for each penalty. features: float32[N, D]; classes: int[N] of 0 … count - 1, each at least once.

    penalties: variance that is added in every direction, against features of length 1. Each class weighs the same
    however many photos it has. Logits are to within a factor; the same penalty gives the same head beside others.
    """
    present = np.bincount(classes, minlength=count)
    centre = _means(features, classes, present).mean(axis=0)
    length = np.float32(np.linalg.norm(features - centre, axis=1).mean() or 1.0)
    rows = unit_rows(features - centre)
    means = _means(rows, classes, present)
    spread = (rows - means[classes]) / np.sqrt(count * present[classes], dtype=np.float32)[:, None]
    heads = []
    for weights in _solved(spread, means, penalties):
        bias = -0.5 * (weights * means).sum(axis=1) - weights @ centre / length
        heads.append(DenseHead((weights / length).astype(np.float32), bias.astype(np.float32)))
    return heads


def _means(rows: Array, classes: Array, present: Array) -> Array:
    """float32[C, D]: of each class."""
    found = np.stack([rows[classes == label].sum(axis=0) for label in range(len(present))])
    return (found / np.maximum(present, 1)[:, None]).astype(np.float32)


def _solved(spread: Array, means: Array, penalties: Sequence[float]) -> list[Array]:
    """float32[C, D] for each penalty: p · (spreadᵀ · spread + p)⁻¹ · means.

    By the smaller of the two products: (pI + RᵀR)⁻¹ = (I - Rᵀ(pI + RRᵀ)⁻¹R) / p (Woodbury).
    """
    photos, size = spread.shape
    if photos >= size:
        product, right = spread.T @ spread, means.T
        return [np.float32(p) * np.linalg.solve(_shrunk(product, p), right).T for p in penalties]
    product, right = spread @ spread.T, spread @ means.T
    return [means - np.linalg.solve(_shrunk(product, p), right).T @ spread for p in penalties]


def _shrunk(product: Array, penalty: float) -> Array:
    return product + np.float32(penalty) * np.eye(len(product), dtype=np.float32)
