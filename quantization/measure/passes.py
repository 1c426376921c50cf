"""Runs over the calibration photos: all that is wanted of a float network in one pass, photos spread over the cores.

Photos are dealt out to a fixed number of strands, whose sums are joined in order, so that the result doesn't depend on
how many threads there were.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import CalibrationError
from edge_effnet.network.execute import backward, execute
from edge_effnet.network.graph import Graph
from edge_effnet.parallel import map_in_order
from edge_effnet.quantization.measure.moments import InputMoments, MomentSums
from edge_effnet.quantization.measure.sensitivity import Sensitivity, SensitivitySums
from edge_effnet.quantization.measure.shifts import LogitShifts, ShiftSums
from edge_effnet.quantization.measure.statistics import StatisticsSums, TensorStatistics
from edge_effnet.system import available_cores

Array: TypeAlias = npt.NDArray[Any]
#: float32[1, H, W, C] of each photo, as the graph takes it.
Images: TypeAlias = Sequence[Array]
#: Sums are kept this many times; more strands would use more cores, and more memory.
STRANDS = 2


class _Sums(Protocol):
    def merge(self, other: Any) -> None: ...


Sums = TypeVar("Sums", bound=_Sums)


@dataclass(frozen=True)
class Wanted:
    """How many photos, from the first on, each measurement looks at; 0 leaves it out."""

    statistics: int = 0
    sensitivity: int = 0
    moments: int = 0

    @property
    def photos(self) -> int:
        """How many photos a pass runs through at most."""
        return max(self.statistics, self.sensitivity, self.moments)


@dataclass(eq=False)
class Measured:
    """Sums while photos pass, results at the end: statistics and sensitivity by tensor, moments by weighted node."""

    graph: Graph
    statistics: StatisticsSums = field(default_factory=StatisticsSums)
    sensitivity: SensitivitySums = field(default_factory=SensitivitySums)
    moments: MomentSums = field(default_factory=MomentSums)

    def merge(self, other: Measured) -> None:
        """Adds another strand's sums."""
        self.statistics.merge(other.statistics)
        self.sensitivity.merge(other.sensitivity)
        self.moments.merge(other.moments)


@dataclass(frozen=True, eq=False)
class Measurement:
    """What a pass found; what wasn't wanted is empty."""

    statistics: dict[str, TensorStatistics]
    sensitivity: Sensitivity
    moments: dict[str, InputMoments]


def measure(
    graph: Graph, images: Images, wanted: Wanted, *, seed: int = 0, told: Callable[[], None] | None = None
) -> Measurement:
    """One float run over each photo, backward too where the sensitivity is wanted. told: called after each photo.

    Deterministic by `seed`. Raises CalibrationError for values that aren't finite, or without a photo.
    """

    def look(sums: Measured, index: int) -> None:
        _look(sums, graph, images[index], index, wanted, seed)

    found = strands(lambda: Measured(graph), look, min(wanted.photos, len(images)), told=told)
    moments = found.moments.finished(graph) if wanted.moments else {}
    return Measurement(found.statistics.finished(), found.sensitivity.finished(), moments)


def measure_shifts(
    graph: Graph,
    images: Images,
    statistics: Mapping[str, TensorStatistics],
    *,
    seed: int,
    corrected: bool,
    told: Callable[[], None] | None = None,
) -> dict[str, LogitShifts]:
    """One float run over each photo, forward and backward: how tensors' errors add up at the logits.

    statistics: of the same graph. corrected: whether the mean error of each channel will be taken off. Deterministic by
    `seed`.
    """

    def look(sums: ShiftSums, index: int) -> None:
        tensors: dict[str, Array] = {}
        bins: dict[str, Array] = {}

        def gather(name: str, tensor: Array) -> Array:
            tensors[name] = tensor
            if (found := sums.bins(name, tensor)) is not None:
                bins[name] = found
            return tensor

        logits = execute(graph, images[index], hook=gather)
        sums.add(index, bins, backward(graph, tensors, _signs(logits, seed, index)))

    found = strands(lambda: ShiftSums(graph, statistics), look, len(images), told=told)
    return found.finished(corrected=corrected)


def _signs(logits: Array, seed: int, index: int) -> Array:
    generator = np.random.default_rng([seed, index])
    return generator.choice(np.array([-1.0, 1.0], np.float32), size=logits.shape)


def strands(
    start: Callable[[], Sums], look: Callable[[Sums, int], None], count: int, *, told: Callable[[], None] | None
) -> Sums:
    """The sums of `look` over the photos 0 to `count` − 1; `start` makes empty ones. Raises CalibrationError."""
    if count < 1:
        raise CalibrationError("calibration without a photo; expected at least 1")
    lock = threading.Lock()

    def run(first: int) -> Sums:
        sums = start()
        for index in range(first, count, STRANDS):
            look(sums, index)
            if told is not None:
                with lock:
                    told()
        return sums

    total, *others = map_in_order(run, range(min(STRANDS, count)), workers=min(STRANDS, available_cores()))
    for other in others:
        total.merge(other)
    return total


def _look(sums: Measured, graph: Graph, image: Array, index: int, wanted: Wanted, seed: int) -> None:
    tensors: dict[str, Array] = {}

    def gather(name: str, tensor: Array) -> Array:
        if index < wanted.statistics:
            sums.statistics.add(name, tensor)
        if index < wanted.moments:
            sums.moments.add(graph, name, tensor)
        if index < wanted.sensitivity:
            tensors[name] = tensor
        return tensor

    logits = execute(graph, image, hook=gather)
    if index < wanted.sensitivity:
        sums.sensitivity.add(backward(graph, tensors, _signs(logits, seed, index)))
