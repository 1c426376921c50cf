"""Frames a second and average times, over the last seconds, without a list that grows."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping

_WINDOW_S = 5.0
_MOST_TIMES = 600
_WEIGHT = 0.1


class RateMeter:
    """How often something happened in the last five seconds (at most the last 600 times). Times are monotonic
    seconds.
    """

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_MOST_TIMES)
        self._lock = threading.Lock()

    def add(self, now: float) -> None:
        """It happened."""
        with self._lock:
            self._times.append(now)

    def rate(self, now: float) -> float:
        """Times a second; 0 when nothing happened lately."""
        with self._lock:
            while self._times and self._times[0] < now - _WINDOW_S:
                self._times.popleft()
            if len(self._times) < 2:
                return 0.0
            return (len(self._times) - 1) / max(now - self._times[0], 1e-6)


def averaged(before: Mapping[str, float], newest: Mapping[str, float]) -> dict[str, float]:
    """Exponential average over about ten frames, name by name."""
    return {
        name: before.get(name, value) + _WEIGHT * (value - before.get(name, value)) for name, value in newest.items()
    }
