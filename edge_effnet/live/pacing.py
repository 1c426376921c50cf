"""Handing out frames at a steady rate, and waiting longer after each failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


class Pacer:
    """Lets `wait` return `rate` times a second, measured from the first call; a late caller isn't hurried
    afterwards.
    """

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s = 1 / rate
        self._clock = clock
        self._due: float | None = None
        self._stopped = threading.Event()

    def wait(self) -> None:
        """Blocks until the next frame is due, or until `stop`."""
        now = self._clock()
        due = now if self._due is None else self._due
        if due > now:
            self._stopped.wait(due - now)
        self._due = max(due, now - self._period_s) + self._period_s

    def stop(self) -> None:
        """Ends the waiting, also that of another thread."""
        self._stopped.set()


@dataclass(frozen=True)
class BackOff:
    """Seconds to wait before the camera is opened again: `first`, then twice as long each time, at most `longest`."""

    first: float = 0.5
    longest: float = 30.0

    def delay(self, failures: int) -> float:
        """After this many failures in a row, from 1."""
        return min(self.first * 2.0 ** min(failures - 1, 30), self.longest)
