"""The newest frame wins: a thread reads the camera into one slot, so a slow model never builds a queue."""

from __future__ import annotations

import enum
import logging
import threading
import time
from dataclasses import dataclass, replace

from edge_effnet.arguments import whole_number
from edge_effnet.errors import first_line
from edge_effnet.live.frames import Delivery, Frame, FrameSource
from edge_effnet.live.pacing import BackOff, Pacer
from edge_effnet.live.rates import RateMeter
from edge_effnet.live.sources import SourceOpener

_LOG = logging.getLogger("edge_effnet.live")
_JOIN_S = 3.0
#: How long the start waits for a source to open.
_OPEN_S = 3.0
#: A camera that gave frames for this many seconds starts its back-off anew when it fails.
_STEADY_S = 10.0


@dataclass(frozen=True)
class ReaderState:
    """What the reader has seen. problem: why there are no frames just now; reading_since: monotonic seconds since it
    waits for the camera itself, None while it waits for anything else."""

    received: int = 0
    skipped: int = 0
    dropped: int = 0
    reopened: int = 0
    problem: str | None = None
    ended: bool = False
    reading_since: float | None = None


class _Opening(enum.Enum):
    """Of the source for the first time."""

    AWAITED = "start waits for it"
    OPENED = "it is open"
    OVER = "start has gone on"


class FrameReader:
    """Reads a source in a thread of its own and reopens it, waiting longer each time, when it raises.

    every: only each n-th frame is for the classifier, the others are for the picture alone.
    """

    def __init__(self, source: SourceOpener, *, every: int = 1, back_off: BackOff | None = None) -> None:
        whole_number(every, "every", least=1)
        self.source = source
        self._every = every
        self._back_off = back_off or BackOff()
        self._changed = threading.Condition()
        self._slot: Frame | None = None
        self._newest: Frame | None = None
        self._state = ReaderState()
        self._rate = RateMeter()
        self._stop = threading.Event()
        self._pacer: Pacer | None = None
        self._thread: threading.Thread | None = None
        self._first: _Opening | Exception = _Opening.AWAITED
        self._was_open = False

    def start(self) -> None:
        """Begins to read in a thread, and waits until the source is open, so that a camera that isn't there is known at
        once: for three seconds, since one that is merely silent may yet come.

        Raises what opening raises in that time: SourceError, MissingDependencyError.
        """
        self._thread = threading.Thread(target=self._run, name="edge-effnet reader", daemon=True)
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._first is not _Opening.AWAITED, _OPEN_S)
            first, self._first = self._first, _Opening.OVER
        if isinstance(first, Exception):
            self._thread.join(_JOIN_S)
            raise first
        if first is _Opening.AWAITED:
            _LOG.warning("%s doesn't open yet; waiting for it", self.source.name)

    def stop(self) -> None:
        """Ends the thread; one that hangs inside the camera's driver is left behind after three seconds."""
        self._stop.set()
        pacer = self._pacer
        if pacer is not None:
            pacer.stop()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def take(self, timeout: float | None = None) -> Frame | None:
        """The frame for the classifier; waits for one. None after `timeout` seconds, at the source's end, or when
        stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._slot is not None or self._state.ended or self._stop.is_set(), timeout)
            frame, self._slot = self._slot, None
            self._changed.notify_all()
            return frame

    def newest(self) -> Frame | None:
        """The last frame that came, classified or not."""
        with self._changed:
            return self._newest

    def wait_newer(self, than: Frame | None, timeout: float) -> Frame | None:
        """The last frame, as soon as it is another one than `than`; None after `timeout` seconds or when stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not than or self._stop.is_set(), timeout)
            return None if self._newest is than else self._newest

    @property
    def state(self) -> ReaderState:
        """Counts and problems as of now."""
        with self._changed:
            return self._state

    @property
    def rate(self) -> float:
        """Frames a second that the camera gives."""
        return self._rate.rate(time.monotonic())

    def _run(self) -> None:
        failures, source, opened_at = 0, None, time.monotonic()
        while not self._stop.is_set():
            try:
                if source is None:
                    source, opened_at = self._open(), time.monotonic()
                self._read(source)
                self._put_state(ended=not self._stop.is_set(), reading_since=None)
                break
            except Exception as error:
                if self._is_awaited(error):
                    return
                self._close(source)
                steady = source is not None and time.monotonic() - opened_at > _STEADY_S
                failures = 1 if steady else failures + 1
                source = None
                self._report(error, failures)
                self._stop.wait(self._back_off.delay(failures))
        self._close(source)

    def _open(self) -> FrameSource:
        self._put_state(reading_since=time.monotonic())
        source = self.source.open()
        again = self._was_open
        self._was_open = True
        with self._changed:
            if self._first is _Opening.AWAITED:
                self._first = _Opening.OPENED
            self._changed.notify_all()
        self._put_state(reopened=self.state.reopened + again)
        return source

    def _is_awaited(self, error: Exception) -> bool:
        """Whether `start` still waits for the source; it then raises the error, and nothing is tried again."""
        with self._changed:
            if self._first is not _Opening.AWAITED:
                return False
            self._first = error
            self._changed.notify_all()
            return True

    def _read(self, source: FrameSource) -> None:
        """Until the source's end or `stop`; raises what the source raises."""
        self._pacer = None if source.rate is None else Pacer(source.rate)
        frames = iter(source)
        while not self._stop.is_set():
            if self._pacer is not None:
                self._pacer.wait()
            self._put_state(reading_since=time.monotonic())
            frame = next(frames, None)
            if frame is None or self._stop.is_set():
                return
            self._accept(frame, source.delivery)

    def _accept(self, frame: Frame, delivery: Delivery) -> None:
        self._rate.add(frame.monotonic)
        with self._changed:
            if self._state.problem is not None:
                _LOG.warning("%s gives frames again", self.source.name)
            chosen = self._state.received % self._every == 0
            if chosen and delivery is Delivery.EVERY:
                self._state = replace(self._state, reading_since=None)
                self._changed.wait_for(lambda: self._slot is None or self._stop.is_set())
            dropped = chosen and self._slot is not None
            self._state = replace(
                self._state,
                received=self._state.received + 1,
                skipped=self._state.skipped + (not chosen),
                dropped=self._state.dropped + dropped,
                problem=None,
                reading_since=None,
            )
            self._newest = frame
            if chosen:
                self._slot = frame
            self._changed.notify_all()

    def _report(self, error: Exception, failures: int) -> None:
        problem = first_line(error)
        if failures == 1:  # said once; the state shows it as long as it lasts
            _LOG.warning("%s: %s; trying again until it returns", self.source.name, problem)
        self._put_state(problem=problem, reading_since=None)

    def _put_state(self, **changes: object) -> None:
        with self._changed:
            self._state = replace(self._state, **changes)  # type: ignore[arg-type]
            if self._state.ended:
                self._changed.notify_all()

    def _close(self, source: FrameSource | None) -> None:
        if source is not None:
            try:
                source.close()
            except Exception as error:  # a camera that is gone may not even close
                _LOG.debug("closing %s: %s", self.source.name, error)
