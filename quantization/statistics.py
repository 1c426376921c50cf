"""One streaming pass over the calibration photos: what every tensor's values look like.

Minima and maxima are exact; histograms are taken from at most 65,536 values of each tensor and photo.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import CalibrationError
from edge_effnet.graph import Graph
from edge_effnet.quantization.execute import execute

#: Bins of a histogram, over a symmetric range that doubles when a value falls outside.
BINS = 2048
_SAMPLES = 1 << 16


@dataclass(frozen=True, eq=False)
class Histogram:
    """counts float64[BINS] over [-reach, reach]; `reach` is a power of two."""

    counts: npt.NDArray[np.float64]
    reach: float

    @property
    def centers(self) -> npt.NDArray[np.float64]:
        """float64[BINS], the middle of each bin."""
        width = 2 * self.reach / BINS
        return np.asarray(-self.reach + width * (np.arange(BINS) + 0.5), np.float64)


@dataclass(frozen=True, eq=False)
class TensorStatistics:
    """Statistics of one tensor over all photos.

    low, high: extremes over all photos; mean_low, mean_high: means of each photo's extremes. channel_*: float64[C]
    along the last axis: extremes, mean, and mean square.
    """

    low: float
    high: float
    mean_low: float
    mean_high: float
    histogram: Histogram
    channel_low: npt.NDArray[np.float64]
    channel_high: npt.NDArray[np.float64]
    channel_mean: npt.NDArray[np.float64]
    channel_square: npt.NDArray[np.float64]


def collect_statistics(graph: Graph, inputs: Iterable[npt.NDArray[np.float32]]) -> Mapping[str, TensorStatistics]:
    """Tensor name → statistics, from a float run of the graph on each input [1, H, W, 3]. Raises CalibrationError."""
    gathered: dict[str, _Gathered] = {}

    def gather(name: str, tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        gathered.setdefault(name, _Gathered()).add(tensor)
        return tensor

    for image in inputs:
        execute(graph, image, hook=gather)
    if not gathered:
        raise CalibrationError("calibration without a photo; expected at least 1")
    return {name: found.finished() for name, found in gathered.items()}


@dataclass
class _Gathered:
    """Sums of one tensor while the photos stream by."""

    lows: list[Any] = field(default_factory=list)
    highs: list[Any] = field(default_factory=list)
    channel_low: Any = np.inf
    channel_high: Any = -np.inf
    channel_sum: Any = 0.0
    channel_square: Any = 0.0
    values: int = 0
    counts: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    reach: float = 2.0**-10

    def add(self, tensor: npt.NDArray[np.float32]) -> None:
        flat = tensor.reshape(-1, tensor.shape[-1])
        low, high = flat.min(axis=0), flat.max(axis=0)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise CalibrationError("calibration: the float network gives NaN or infinite values; the checkpoint is broken")
        self.channel_low, self.channel_high = np.minimum(self.channel_low, low), np.maximum(self.channel_high, high)
        self.lows.append(float(low.min()))
        self.highs.append(float(high.max()))
        self.channel_sum = self.channel_sum + flat.sum(axis=0, dtype=np.float64)
        self.channel_square = self.channel_square + np.einsum("nc,nc->c", flat, flat, dtype=np.float64)
        self.values += len(flat)
        self._count(tensor.reshape(-1)[:: max(1, tensor.size // _SAMPLES)], max(abs(self.lows[-1]), abs(self.highs[-1])))

    def _count(self, sample: npt.NDArray[np.float32], reach: float) -> None:
        while self.reach < reach:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.pad(pairs, BINS // 4)
            self.reach *= 2
        bins = ((sample + self.reach) * (BINS / (2 * self.reach))).astype(np.int32)
        self.counts += np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)

    def finished(self) -> TensorStatistics:
        return TensorStatistics(
            low=min(self.lows),
            high=max(self.highs),
            mean_low=float(np.mean(self.lows)),
            mean_high=float(np.mean(self.highs)),
            histogram=Histogram(self.counts, self.reach),
            channel_low=np.asarray(self.channel_low, np.float64),
            channel_high=np.asarray(self.channel_high, np.float64),
            channel_mean=self.channel_sum / self.values,
            channel_square=self.channel_square / self.values,
        )
