"""What a LiveClassifier has seen and how far it is: frozen records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_effnet.labels import label_of
from edge_effnet.live.decisions import Waiting
from edge_effnet.live.delivery import SinkState
from edge_effnet.live.frames import Frame
from edge_effnet.prediction import Prediction, top_predictions
from edge_effnet.unknown import UnknownMeasure


@dataclass(frozen=True, eq=False)
class Reading:
    """What one classified frame gave.

    number: of the classified frame, from 1. scores: float32[C], the frame's own; smoothed: float32[C], the average that
    decides; both for all classes, whatever the allow and deny lists say. announced: the label that holds, or None.
    waiting: what keeps the best label that may be announced from being it. allowed: float32[C] of 1 and 0, or None.
    independent: whether each class has a score of its own, as a sigmoid head gives them. unknown: what was measured of
    the frame to tell whether it is none of the classes; None where that isn't told.
    """

    number: int
    frame: Frame
    scores: npt.NDArray[np.float32]
    smoothed: npt.NDArray[np.float32]
    labels: Sequence[str] | None
    announced_index: int | None
    timing_ms: Mapping[str, float]
    waiting: Waiting | None = None
    allowed: npt.NDArray[np.float32] | None = None
    independent: bool = False
    unknown: UnknownMeasure | None = None

    @property
    def announced(self) -> str | None:
        """The label that holds, None for nothing."""
        return None if self.announced_index is None else label_of(self.announced_index, self.labels)

    def top(self, top_k: int = 5) -> list[Prediction]:
        """The best classes by smoothed score, best first; those that may not be announced, too."""
        return top_predictions(self.smoothed, self.labels, top_k=top_k)

    def best(self, top_k: int = 5) -> list[Prediction]:
        """Likewise, by the frame's own scores."""
        return top_predictions(self.scores, self.labels, top_k=top_k)


@dataclass(frozen=True)
class Announcement:
    """The label that holds: class, name, and since when in monotonic seconds."""

    index: int
    label: str
    since: float


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a LiveClassifier stands. timing_ms: averages over about ten frames. rate: classified frames a second.

    spared: frames that weren't classified because nothing moved. alive_at: monotonic seconds of the last frame that was
    classified or spared, None before the first.
    """

    latest: Reading | None
    announcement: Announcement | None
    classified: int
    failed: int
    problem: str | None
    timing_ms: Mapping[str, float]
    rate: float
    sinks: tuple[SinkState, ...]
    spared: int = 0
    alive_at: float | None = None
