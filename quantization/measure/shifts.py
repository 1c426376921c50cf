"""How a tensor's values move the logits together: what independent noise doesn't see.

Rounding errors of neighbouring values are unlike each other; what clipping takes off, and where a crowd of like values
falls between two steps, is alike at every position of a photo, and adds up. So for each photo the gradient of
v·logits, with v a vector of random signs, is summed over all positions and channels whose value falls in the same bin:
the error e(x) that a range makes of the value x then moves v·logits by Σ gradient · e(center), for any range, without
another run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.network.graph import Graph
from edge_effnet.network.structure import responses
from edge_effnet.quantization.measure.statistics import TensorStatistics

Array = npt.NDArray[Any]
#: Bins over a tensor's extremes: several to a step of any range worth choosing.
BINS = 2048
#: Values of each tensor and photo by which the channels' mean errors are known.
_SAMPLES = 1 << 14


@dataclass(frozen=True, eq=False)
class LogitShifts:
    """centers: float64[BINS], values of a tensor. gradients: float32[photos, BINS], what a unit of error of all values
    in a bin does to v·logits, less what correcting the mean error of each channel takes away.
    """

    centers: npt.NDArray[np.float64]
    gradients: npt.NDArray[np.float32]

    def power(self, errors: Array) -> npt.NDArray[np.float64]:
        """float64[K]: the logit noise power of K ways to err; errors: float32[BINS, K], of each center's value."""
        moved = self.gradients @ errors
        return np.asarray(np.square(moved, dtype=np.float64).mean(axis=0), np.float64)


def sources(graph: Graph, statistics: Mapping[str, TensorStatistics]) -> dict[str, str]:
    """Tensor whose gradients count → tensor whose values do: itself, or what its activation reads alone."""
    before = {reader.name: name for name, reader in responses(graph) if name in statistics}
    return {
        node.name: before.get(node.name, node.name)
        for node in graph.nodes
        if node.name in statistics and node.name not in before.values()
    }


@dataclass(eq=False)
class _Rows:
    """Of one tensor: photo → gradients by bin, and by channel; bins of sampled values, uint16[samples, C]."""

    by_bin: dict[int, Array] = field(default_factory=dict)
    by_channel: dict[int, Array] = field(default_factory=dict)
    sampled: list[tuple[int, Array]] = field(default_factory=list)


class ShiftSums:
    """What is gathered while photos pass. statistics: of the tensors, for the bins' reach."""

    def __init__(self, graph: Graph, statistics: Mapping[str, TensorStatistics]) -> None:
        self._sources = sources(graph, statistics)
        self._values = frozenset(self._sources.values())
        self._grids = {name: _grid(statistics[name]) for name in self._values}
        self._rows = {name: _Rows() for name in self._sources}

    def bins(self, name: str, tensor: Array) -> Array | None:
        """uint16 of the tensor's shape: each value's bin; None for a tensor whose values aren't asked for."""
        if name not in self._values:
            return None
        low, width = self._grids[name]
        found = (tensor - np.float32(low)) * np.float32(1 / width)
        np.clip(found, 0, BINS - 1, out=found)
        return found.astype(np.uint16)

    def add(self, photo: int, bins: dict[str, Array], gradients: Iterable[tuple[str, Array]]) -> None:
        """One photo's gradients of v·logits, with the bins of its values by tensor."""
        for name, gradient in gradients:
            if name not in self._rows:
                continue
            rows, flat = self._rows[name], gradient.reshape(-1, gradient.shape[-1])
            found = bins[self._sources[name]].reshape(flat.shape)
            rows.by_bin[photo] = np.bincount(found.reshape(-1), flat.reshape(-1), BINS).astype(np.float32)
            rows.by_channel[photo] = flat.sum(axis=0)
            rows.sampled.append((photo, found[:: max(1, flat.size // _SAMPLES)].copy()))

    def merge(self, other: ShiftSums) -> None:
        """Adds what other photos gave."""
        for name, rows in self._rows.items():
            rows.by_bin.update(other._rows[name].by_bin)
            rows.by_channel.update(other._rows[name].by_channel)
            rows.sampled.extend(other._rows[name].sampled)

    def finished(self, *, corrected: bool) -> dict[str, LogitShifts]:
        """Tensor whose gradients count → what was found. corrected: whether channels' mean errors will be taken off."""
        return {name: self._finished(name, rows, corrected) for name, rows in self._rows.items() if rows.by_bin}

    def _finished(self, name: str, rows: _Rows, corrected: bool) -> LogitShifts:
        photos = sorted(rows.by_bin)
        low, width = self._grids[self._sources[name]]
        gradients = np.stack([rows.by_bin[photo] for photo in photos])
        if corrected:
            channels = np.stack([rows.by_channel[photo] for photo in photos])
            gradients -= channels @ _shares([found for _, found in sorted(rows.sampled, key=lambda pair: pair[0])])
        return LogitShifts(low + width * (np.arange(BINS, dtype=np.float64) + 0.5), gradients)


def _grid(statistics: TensorStatistics) -> tuple[float, float]:
    """The first bin's low end, and a bin's width."""
    reach = max(statistics.high - statistics.low, 1e-9)
    return statistics.low - 1e-3 * reach, 1.002 * reach / BINS


def _shares(sampled: list[Array]) -> Array:
    """float32[C, BINS]: the share of each channel's values that each bin has."""
    rows = np.concatenate(sampled)
    channels = rows.shape[1]
    flat = rows.astype(np.int64) + np.arange(channels) * BINS
    counts = np.bincount(flat.reshape(-1), minlength=channels * BINS).reshape(channels, BINS)
    return (counts / np.float32(len(rows))).astype(np.float32)
