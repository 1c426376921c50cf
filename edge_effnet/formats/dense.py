"""The last dense layer of a model file: what lies before it, and a file that has another one in its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class FeatureTensor:
    """The pooled features, which the last dense layer reads: the tensor's name in the file and how many they are."""

    name: str
    size: int


@dataclass(frozen=True, eq=False)
class DenseHead:
    """A dense layer on features: logits = weights · features + bias. weights: float32[C, D]; bias: float32[C]."""

    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def logits(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """float32[N, C] of float32[N, D]."""
        found: npt.NDArray[np.float32] = features @ self.weights.T + self.bias
        return found
