"""The last events, for everyone who listens; and the threads that carry events away."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edge_effnet.errors import first_line
from edge_effnet.live.events import Event, EventSink

_LOG = logging.getLogger("edge_effnet.live")
#: Events kept for listeners that come late or return.
KEPT_EVENTS = 200
_QUEUE = 1000
_CLOSE_S = 5.0


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


@dataclass(frozen=True)
class SinkState:
    """What became of a sink's events. problem: why the last one was lost, None when it wasn't."""

    name: str
    sent: int
    lost: int
    problem: str | None


class SinkRunner:
    """Gives a sink its events in a thread of its own, so that a slow one stops nobody; counts what is lost, says so
    once.
    """

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink
        self._queue: queue.Queue[Event | None] = queue.Queue(_QUEUE)
        self._sent = self._lost = self._silently_lost = 0
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"edge-effnet {sink.name}", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Never waits: with 1,000 events under way the new one is lost."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self._lose(f"{_QUEUE} events are waiting")

    def close(self) -> None:
        """Lets the sink finish for five seconds, then leaves it behind."""
        try:
            self._queue.put(None, timeout=_CLOSE_S)
        except queue.Full:
            return
        self._thread.join(_CLOSE_S)

    @property
    def state(self) -> SinkState:
        """Counts as of now."""
        return SinkState(self._sink.name, self._sent, self._lost, self._problem or getattr(self._sink, "problem", None))

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            self._guarded(lambda event=event: self._sink.send(event))  # type: ignore[misc]
        try:
            self._sink.close()
        except Exception as error:
            _LOG.warning("%s: %s", self._sink.name, first_line(error))

    def _guarded(self, send: Callable[[], None]) -> None:
        try:
            send()
        except Exception as error:  # whatever a sink meets, the camera goes on
            self._lose(first_line(error))
            return
        if self._problem is not None:
            _LOG.warning("%s works again; %d events were lost", self._sink.name, self._lost - self._silently_lost)
            self._silently_lost, self._problem = self._lost, None
        self._sent += 1

    def _lose(self, problem: str) -> None:
        self._lost += 1
        if self._problem is None:
            _LOG.warning("%s: %s; events are lost until it works again", self._sink.name, problem)
        self._problem = problem
