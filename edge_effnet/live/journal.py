"""The last events, for everyone who listens."""

from __future__ import annotations

import threading
from collections import deque

from edge_effnet.live.events import Event

#: Events kept for listeners that come late or return.
KEPT_EVENTS = 200


class Journal:
    """The last 200 events; any number of threads may wait for newer ones."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._changed = threading.Condition()
        self._closed = False

    def add(self, event: Event) -> None:
        """Wakes all who wait."""
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def close(self) -> None:
        """There will be no more events: nobody waits any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether there will be no more."""
        with self._changed:
            return self._closed

    def last_number(self) -> int:
        """Number of the newest event; 0 before the first."""
        with self._changed:
            return self._events[-1].number if self._events else 0

    def after(self, number: int, timeout: float = 0.0) -> list[Event]:
        """Kept events with higher numbers, oldest first; waits up to `timeout` seconds for one."""
        with self._changed:
            if timeout:
                self._changed.wait_for(
                    lambda: self._closed or bool(self._events and self._events[-1].number > number), timeout
                )
            return [event for event in self._events if event.number > number]
