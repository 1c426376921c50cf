"""The threads that carry events away, and what is said of those that didn't arrive."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from edge_effnet.errors import first_line
from edge_effnet.live.events import Event, EventSink

_LOG = logging.getLogger("edge_effnet.live")
#: Events that may wait, and undelivered ones that are kept for the end, of each sink.
MOST_EVENTS = 1000
#: Of them, how many keep their picture.
MOST_PICTURES = 50
#: What all sinks together have to finish at the end, in seconds; and what they have once they were told to let go.
CLOSE_S = 10.0
_LET_GO_S = 2.0


@dataclass(frozen=True)
class SinkState:
    """What became of a sink's events. waiting: not delivered yet, waiting_s: for how long the oldest of them. problem:
    why the last one was lost or why they wait, None when all is well.
    """

    name: str
    sent: int
    lost: int
    waiting: int
    waiting_s: float | None
    problem: str | None


@dataclass(frozen=True)
class Undelivered:
    """What a sink didn't take. count: of all; events: the last of them, at most 1,000."""

    sink: str
    count: int
    events: tuple[Event, ...]


class SinkRunner:
    """Gives a sink its events in a thread of its own, so that a slow one stops nobody; counts what is lost, says so
    once.
    """

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Event, float]] = deque()
        self._lost_events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._ending = False
        self._sent = self._lost = self._silently_lost = 0
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"edge-effnet {sink.name}", daemon=True)
        self._thread.start()

    @property
    def wants_pictures(self) -> bool:
        """Whether the sink takes the events' pictures."""
        return bool(getattr(self._sink, "wants_pictures", False))

    def put(self, event: Event) -> None:
        """Never waits: with 1,000 events under way the new one is lost, with 50 its picture."""
        with self._changed:
            if len(self._waiting) >= MOST_PICTURES or not self.wants_pictures:
                event = event.bare
            if len(self._waiting) < MOST_EVENTS:
                self._waiting.append((event, time.monotonic()))
                self._changed.notify_all()
                return
        self._lose(event, f"{MOST_EVENTS} events are waiting")

    def end(self) -> None:
        """There will be no more events; waits for nothing."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def close(self, deadline: float | None = None) -> Undelivered:
        """Lets the sink finish until `deadline` (monotonic seconds; ten from now), then leaves it behind; what it
        didn't take.
        """
        self.end()
        deadline = time.monotonic() + CLOSE_S if deadline is None else deadline
        self._thread.join(max(deadline - time.monotonic(), 0))
        abandon = getattr(self._sink, "abandon", None)
        if self._thread.is_alive() and abandon is not None:
            abandon()
            self._thread.join(_LET_GO_S)
        return self.undelivered

    @property
    def state(self) -> SinkState:
        """Counts as of now."""
        with self._changed:
            behind = self._behind()
            since = self._waiting[0][1] if self._waiting else getattr(self._sink, "waiting_since", None)
            return SinkState(
                self._sink.name,
                self._sent - len(behind),
                self._lost,
                len(self._waiting) + len(behind),
                None if since is None else time.monotonic() - since,
                self._problem or getattr(self._sink, "problem", None),
            )

    @property
    def undelivered(self) -> Undelivered:
        """As of now: what was lost, what the sink took and couldn't pass on yet, and what waits."""
        with self._changed:
            waiting = [*self._behind(), *(event for event, _ in self._waiting)]
            return Undelivered(self._sink.name, self._lost + len(waiting), (*self._lost_events, *waiting))

    def _behind(self) -> Sequence[Event]:
        """Events that the sink has taken over and that haven't arrived."""
        pending = getattr(self._sink, "pending", None)
        return () if pending is None else pending()

    def _run(self) -> None:
        while (event := self._next()) is not None:
            self._deliver(event)
            with self._changed:
                self._waiting.popleft()
        try:
            self._sink.close()
        except Exception as error:
            _LOG.warning("%s: %s", self._sink.name, first_line(error))

    def _next(self) -> Event | None:
        """The oldest, which goes on waiting until it is delivered; None when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._ending)
            return self._waiting[0][0] if self._waiting else None

    def _deliver(self, event: Event) -> None:
        try:
            self._sink.send(event)
        except Exception as error:  # whatever a sink meets, the camera goes on
            self._lose(event, first_line(error))
            return
        if self._problem is not None:
            _LOG.warning("%s works again; %d events were lost", self._sink.name, self._lost - self._silently_lost)
            self._silently_lost, self._problem = self._lost, None
        self._sent += 1

    def _lose(self, event: Event, problem: str) -> None:
        with self._changed:
            self._lost += 1
            self._lost_events.append(event.bare)
        if self._problem is None:
            _LOG.warning("%s: %s; events are lost until it works again", self._sink.name, problem)
        self._problem = problem


def close_runners(runners: Sequence[SinkRunner]) -> tuple[Undelivered, ...]:
    """Lets all sinks finish side by side, ten seconds at most; what wasn't delivered. An interrupt ends the wait
    alone.
    """
    for runner in runners:
        runner.end()
    deadline = time.monotonic() + CLOSE_S
    try:
        for runner in runners:
            runner.close(deadline)
    finally:
        found = tuple(left for left in (runner.undelivered for runner in runners) if left.count)
    return found


def say_undelivered(undelivered: Sequence[Undelivered], sinks: Sequence[EventSink]) -> None:
    """One line in the log; the first sink that can keeps the events (`keep`, which says where)."""
    if not undelivered:
        return
    keep = next((keep for sink in sinks if (keep := getattr(sink, "keep", None)) is not None), None)
    where = "" if keep is None else f"; {keep(undelivered)}"
    total = sum(left.count for left in undelivered)
    to = ", ".join(f"{left.count} to {left.sink}" for left in undelivered)
    _LOG.warning("%d event%s not delivered: %s%s", total, "s were" if total > 1 else " was", to, where)
