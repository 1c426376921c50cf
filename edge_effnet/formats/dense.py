"""The last dense layer of a model file: what lies before it, and a file that has another one in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_effnet.numerics import quantize

#: The tensor that has the means of maps behind the pooled features.
JOINED = "features/joined"
#: Sizes of which a map inside the network may be learned from.
INNER_MAPS = 2
_LARGEST_INT8 = 127


@dataclass(frozen=True)
class FeatureTensor:
    """The pooled features, which the last dense layer reads: the tensor's name in the file and how many they are."""

    name: str
    size: int


@dataclass(frozen=True)
class FeatureMap:
    """A map inside the network: the tensor's name in the file, how many channels it has, and the order of its sides
    behind the batch.
    """

    name: str
    size: int
    layout: Literal["HWC", "CHW"]

    def positions(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """float32[H, W, D] of one photo's map as the network gives it."""
        return values if self.layout == "HWC" else np.moveaxis(values, 0, -1)

    def mean(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """float32[D], the mean over all positions of one photo's map as the network gives it."""
        found: npt.NDArray[np.float32] = self.positions(values).mean(axis=(0, 1))
        return found


@dataclass(frozen=True, eq=False)
class DenseHead:
    """A dense layer on features: logits = weights · features + bias. weights: float32[C, D]; bias: float32[C].

    Where maps stand beside the features, D counts their channels, too, in order.
    """

    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def logits(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """float32[N, C] of float32[N, D]."""
        found: npt.NDArray[np.float32] = features @ self.weights.T + self.bias
        return found


def int8_rows(values: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """(int8[C, D] from -127 to 127, float32[C] scales) of float32[C, D]; zero points are 0.

    What 1 stands for in a row comes from its largest value, and is above 0 for a row of zeros.
    """
    largest = np.abs(values).max(axis=1)
    scales = np.maximum(largest / _LARGEST_INT8, np.float32(1e-9)).astype(np.float32)
    return quantize(values, scales[:, None], low=-_LARGEST_INT8), scales
