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

Array = npt.NDArray[Any]


def fit(features: Array, classes: Array, *, count: int, penalties: Sequence[float]) -> list[DenseHead]:
    """A head for each penalty. features: float32[N, D], changed in their place, since they are most of the memory;
    classes: int[N] of 0 … count - 1, each at least once.

    penalties: variance that is added in every direction, against features of length 1. Each class weighs the same
    however many photos it has. Logits are to within a factor; the same penalty gives the same head beside others.
    """
    rows = features
    present = np.bincount(classes, minlength=count)
    centre = _means(rows, classes, present).mean(axis=0)
    rows -= centre
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    length = np.float32(lengths.mean() or 1.0)
    rows /= np.maximum(lengths, 1e-12)
    means = _means(rows, classes, present)
    for label in range(count):
        rows[classes == label] -= means[label]
    rows /= np.sqrt(count * present[classes], dtype=np.float32)[:, None]
    heads = []
    for weights in _solved(rows, means, penalties):
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
    primal = photos >= size
    product, right = (spread.T @ spread, means.T) if primal else (spread @ spread.T, spread @ means.T)
    diagonal, found = product.diagonal().copy(), []
    for penalty in map(np.float32, penalties):
        np.fill_diagonal(product, diagonal + penalty)
        solution = np.linalg.solve(product, right).T
        found.append(penalty * solution if primal else means - solution @ spread)
    return found
