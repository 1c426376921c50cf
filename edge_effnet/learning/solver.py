"""Logistic regression with numpy: several classes, L2, weighted photos, by L-BFGS.

Source: Nocedal & Wright, "Numerical Optimization", 2nd edition, algorithms 7.4 and 3.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.formats.dense import DenseHead

Array = npt.NDArray[Any]
_HISTORY = 10
_MOST_STEPS = 200
#: A step must gain at least this part of what the slope promises (Armijo).
_SUFFICIENT = 1e-4
_SHORTEST_STEP = 1e-3
#: Of the value: what float32 sums don't tell apart.
_NO_GAIN = 1e-7
#: The largest slope that is left, against that of a head of zeros.
_TOLERANCE = 1e-3


@dataclass
class _Curvature:
    """The last steps and how the gradient changed with them: an estimate of the inverse Hessian."""

    pairs: list[tuple[Array, Array]] = field(default_factory=list)

    def add(self, step: Array, change: Array) -> None:
        if float(step @ change) > 1e-12:
            self.pairs = [*self.pairs[-_HISTORY + 1 :], (step, change)]

    def direction(self, gradient: Array) -> Array:
        """Downhill: minus the inverse Hessian times the gradient."""
        found, factors = gradient.copy(), []
        for step, change in reversed(self.pairs):
            factors.append((step @ found) / (step @ change))
            found -= factors[-1] * change
        if self.pairs:
            step, change = self.pairs[-1]
            found *= (step @ change) / (change @ change)
        else:
            found /= max(1.0, float(np.linalg.norm(gradient)))
        for (step, change), factor in zip(self.pairs, reversed(factors), strict=True):
            found += step * (factor - (change @ found) / (step @ change))
        return -found


def minimise(function: Callable[[Array], tuple[float, Array]], start: Array, *, good: float) -> Array:
    """Where the convex function is smallest. function: float64[N] → (value, gradient).

    good: the largest slope that is left. It also ends where float32 sums show no gain any more.
    """
    place, curvature = start, _Curvature()
    value, gradient = function(place)
    for _ in range(_MOST_STEPS):
        if float(np.abs(gradient).max()) <= good:
            break
        direction = curvature.direction(gradient)
        slope, length = float(gradient @ direction), 1.0
        tried = place + direction
        new_value, new_gradient = function(tried)
        while new_value > value + _SUFFICIENT * length * slope and length > _SHORTEST_STEP:
            length /= 2
            tried = place + length * direction
            new_value, new_gradient = function(tried)
        if value - new_value <= _NO_GAIN * abs(value):
            break
        curvature.add(tried - place, new_gradient - gradient)
        place, value, gradient = tried, new_value, new_gradient
    return place


def fit(features: Array, classes: Array, *, count: int, penalty: float, start: DenseHead | None = None) -> DenseHead:
    """The head whose softmax fits best. features: float32[N, D]; classes: int[N] of 0 … count - 1.

    penalty: of the squared weights, against the mean loss of a photo; each class weighs the same however many photos
    it has. start: where to begin, which makes it quicker and changes nothing else.
    """
    size = features.shape[1]
    truth = np.eye(count, dtype=np.float32)[classes]
    present = np.bincount(classes, minlength=count)
    weight = (1.0 / (np.count_nonzero(present) * present[classes])).astype(np.float32)

    def loss(place: Array) -> tuple[float, Array]:
        table = place.reshape(count, size + 1).astype(np.float32)
        weights, bias = table[:, :size], table[:, size]
        logits = features @ weights.T + bias
        logits -= logits.max(axis=1, keepdims=True)
        scores = np.exp(logits)
        sums = scores.sum(axis=1, keepdims=True)
        own = (logits * truth).sum(axis=1) - np.log(sums[:, 0])
        value = -float(weight @ own) + 0.5 * penalty * float((weights.astype(np.float64) ** 2).sum())
        errors = (scores / sums - truth) * weight[:, None]
        gradient = np.concatenate([errors.T @ features + penalty * weights, errors.sum(axis=0)[:, None]], axis=1)
        return value, gradient.astype(np.float64).reshape(-1)

    nothing = np.zeros(count * (size + 1))
    begin = nothing if start is None else np.concatenate([start.weights, start.bias[:, None]], 1).reshape(-1)
    good = _TOLERANCE * float(np.abs(loss(nothing)[1]).max())
    found = minimise(loss, begin.astype(np.float64), good=good).reshape(count, size + 1).astype(np.float32)
    return DenseHead(np.ascontiguousarray(found[:, :size]), found[:, size].copy())
