"""The counts of a LiveClassifier: written by its thread, read by any."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from edge_effnet.live.delivery import SinkState
from edge_effnet.live.rates import RateMeter, averaged
from edge_effnet.live.readings import Announcement, Progress, Reading


class Tally:
    """Counts frames and keeps the newest reading; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: Reading | None = None
        self._announcement: Announcement | None = None
        self._classified = self._failed = self._spared = 0
        self._problem: str | None = None
        self._timing: dict[str, float] = {}
        self._alive_at: float | None = None
        self._rate = RateMeter()

    @property
    def classified(self) -> int:
        """Frames that were classified."""
        return self._classified

    def latest(self) -> Reading | None:
        """The newest classified frame."""
        with self._lock:
            return self._latest

    def read(self, reading: Reading, timing_ms: Mapping[str, float]) -> None:
        """One frame was classified."""
        with self._lock:
            self._classified = reading.number
            self._problem = None
            self._timing = averaged(self._timing, timing_ms)
            self._rate.add(time.monotonic())
            self._latest, self._alive_at = reading, reading.frame.monotonic

    def spare(self, moment: float) -> None:
        """One frame, of that monotonic second, needed no look."""
        with self._lock:
            self._spared += 1
            self._alive_at = moment

    def fail(self, problem: str) -> bool:
        """One frame couldn't be classified; whether the one before could."""
        with self._lock:
            self._failed += 1
            first, self._problem = self._problem is None, problem
            return first

    def announce(self, announcement: Announcement | None) -> None:
        """What holds from now on."""
        with self._lock:
            self._announcement = announcement

    def progress(self, sinks: tuple[SinkState, ...]) -> Progress:
        """All of one moment."""
        with self._lock:
            return Progress(
                self._latest,
                self._announcement,
                self._classified,
                self._failed,
                self._problem,
                dict(self._timing),
                self._rate.rate(time.monotonic()),
                sinks,
                self._spared,
                self._alive_at,
            )
