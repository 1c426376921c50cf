"""How much noise in each channel of each tensor disturbs the logits, by sending random signs back through the network.

For logits noise power the right weight of a value x is the sum over logits k of (∂logit_k/∂x)². With v a vector of
random signs, the gradient of v·logits squared has that sum as its mean (Hutchinson, 1990), so one backward run for
each photo estimates all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.quantization.measure.statistics import sum_of_rows

#: Tensor name → float64[C]: logit noise power for noise of variance 1 in every position of that channel, averaged over
#: photos. The image isn't listed.
Sensitivity: TypeAlias = Mapping[str, npt.NDArray[np.float64]]


class SensitivitySums:
    """Sums over photos."""

    def __init__(self) -> None:
        self._totals: dict[str, Any] = {}
        self._photos = 0

    def add(self, gradients: Iterable[tuple[str, npt.NDArray[Any]]]) -> None:
        """One photo's gradients of v·logits, by tensor."""
        for name, gradient in gradients:
            flat = gradient.reshape(-1, gradient.shape[-1])
            self._totals[name] = self._totals.get(name, 0.0) + sum_of_rows(flat * flat)
        self._photos += 1

    def merge(self, other: SensitivitySums) -> None:
        """Adds the sums over other photos."""
        for name, total in other._totals.items():
            self._totals[name] = self._totals.get(name, 0.0) + total
        self._photos += other._photos

    def finished(self) -> Sensitivity:
        """The means over the photos."""
        return {name: total / self._photos for name, total in self._totals.items()}
