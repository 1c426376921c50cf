"""The class behind `edge-effnet camera`: a camera classified in the background, its newest result, its events."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from edge_effnet.arguments import one_of
from edge_effnet.classifier import Classifier
from edge_effnet.errors import UsageError, first_line
from edge_effnet.labels import label_of
from edge_effnet.live.decisions import (
    DecisionRule,
    Evidence,
    Waiting,
    default_rule,
    forget_frames,
    weigh,
    weigh_still,
    why_waiting,
)
from edge_effnet.live.delivery import SinkRunner, SinkState, Undelivered, close_runners, say_undelivered
from edge_effnet.live.events import Event, EventSink
from edge_effnet.live.frames import UNTURNED, Frame, FrameSource, Region, Turn
from edge_effnet.live.journal import Journal
from edge_effnet.live.newest import FrameReader
from edge_effnet.live.pacing import BackOff
from edge_effnet.live.rates import RateMeter, averaged
from edge_effnet.live.sources import IterableSource, SourceOpener, source_opener, turned
from edge_effnet.pixel_arrays import ChannelOrder
from edge_effnet.prediction import Prediction, top_predictions

#: A name of `source_opener`, what it gives, a source or a function that opens one, or an iterable of uint8[H, W, 3] RGB
#: arrays.
LiveSource: TypeAlias = (
    "str | Path | SourceOpener | FrameSource | Callable[[], FrameSource] | Iterable[npt.NDArray[Any]]"
)

_LOG = logging.getLogger("edge_effnet.live")
#: After this many seconds without a frame, older ones say nothing about what is in view now.
_GAP_S = 5.0
_TAKE_S = 0.5
_JOIN_S = 5.0


@dataclass(frozen=True, eq=False)
class Reading:
    """What one classified frame gave.

    number: of the classified frame, from 1. scores: float32[C], the frame's own; smoothed: float32[C], the average that
    decides; both for all classes, whatever the allow and deny lists say. announced: the label that holds, or None.
    waiting: what keeps the best label that may be announced from being it.
    """

    number: int
    frame: Frame
    scores: npt.NDArray[np.float32]
    smoothed: npt.NDArray[np.float32]
    labels: Sequence[str] | None
    announced_index: int | None
    timing_ms: Mapping[str, float]
    waiting: Waiting | None = None

    @property
    def announced(self) -> str | None:
        """The label that holds, None for nothing."""
        return None if self.announced_index is None else label_of(self.announced_index, self.labels)

    def top(self, top_k: int = 5) -> list[Prediction]:
        """The best classes by smoothed score, best first; those that may not be announced, too."""
        return top_predictions(self.smoothed, self.labels, top_k=top_k)


@dataclass(frozen=True)
class Announcement:
    """The label that holds: class, and since when in monotonic seconds."""

    index: int
    since: float


class LiveClassifier:
    """Classifies a source in background threads; `start`, `latest`, `events`, `stop`, or a `with` block.

    classifier: an open Classifier; it belongs to the background thread until `stop`, and isn't closed by it. source: a
    name ("picamera2", "0", a file, a folder), a FrameSource or a function that opens one (it alone can be opened
    again), or an iterable of arrays, which channels and width describe (`edge_effnet.pixel_arrays`).
    rule: when labels are announced; by default what suits the number of classes. turn: how the camera is mounted;
    picture and region are those after it. region: the part of the picture that counts. every: classify each n-th frame.
    allow, deny: labels that may, or may not, be announced. sinks: where events go. back_off: how a lost camera is
    retried. All methods may be called from any thread.
    """

    def __init__(
        self,
        classifier: Classifier,
        source: LiveSource,
        *,
        rule: DecisionRule | None = None,
        region: Region | None = None,
        every: int = 1,
        allow: Iterable[str] | None = None,
        deny: Iterable[str] | None = None,
        sinks: Sequence[EventSink] = (),
        back_off: BackOff | None = None,
        turn: Turn = UNTURNED,
        channels: ChannelOrder = "rgb",
        width: int | None = None,
    ) -> None:
        self.classifier, self.region, self.every = one_of(classifier, Classifier, "classifier"), region, every
        self.rule = rule or default_rule(classifier.num_classes)
        opener = _opener(source, turn=turn, channels=channels, width=width)
        self.reader = FrameReader(opener, every=every, back_off=back_off)
        self.journal = Journal()
        self.allowed = _mask(classifier, allow, deny)
        self._sinks = list(sinks)
        self._runners: list[SinkRunner] = []
        #: Of each sink, what it hadn't taken when `stop` left it behind.
        self.undelivered: tuple[Undelivered, ...] = ()
        self._lock = threading.Lock()
        self._latest: Reading | None = None
        self._announcement: Announcement | None = None
        self._classified = self._failed = 0
        self._problem: str | None = None
        self._timing: dict[str, float] = {}
        self._rate = RateMeter()
        self._stop = threading.Event()
        self._finished = threading.Event()
        self._thread: threading.Thread | None = None
        self.started_at = time.monotonic()

    def __enter__(self) -> LiveClassifier:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> LiveClassifier:
        """Opens the source and begins. Raises SourceError when it can't be opened, UsageError when started before."""
        if self._thread is not None:
            raise UsageError("this LiveClassifier was started before; make a new one")
        try:
            self.reader.start()
        except BaseException:  # an interrupt, too
            self.reader.stop()
            raise
        self._runners = [SinkRunner(sink) for sink in self._sinks]
        self.started_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="edge-effnet classifier", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends the threads, lets the sinks finish for ten seconds and closes the source; may be called more than
        once. What the sinks didn't take is said in the log, and is in `undelivered`.
        """
        self._stop.set()
        self.reader.stop()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        self.journal.close()
        with self._lock:
            runners, self._runners = self._runners, []
        try:
            self.undelivered += close_runners(runners)
        finally:
            self.undelivered = self.undelivered or tuple(
                left for left in (runner.undelivered for runner in runners) if left.count
            )
            if runners:
                say_undelivered(self.undelivered, self._sinks)
            self._finished.set()

    def latest(self) -> Reading | None:
        """The newest classified frame; None before the first."""
        with self._lock:
            return self._latest

    def events(self) -> Iterator[Event]:
        """Each event since the start, then each new one as it happens; ends when the source does, or at `stop`.

        The last 200 are kept: who is later than that misses some, and sees it by their numbers.
        """
        number = 0
        while True:
            closed = self.journal.closed
            for event in self.journal.after(number, timeout=_TAKE_S):
                number = event.number
                yield event
            if closed:
                return

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the source has ended or `stop` was called; false after `timeout` seconds."""
        return self._finished.wait(timeout)

    @property
    def progress(self) -> Progress:
        """Counts, times and what is announced, of one moment."""
        with self._lock:
            sinks = tuple(runner.state for runner in self._runners)
            return Progress(
                self._latest,
                self._announcement,
                self._classified,
                self._failed,
                self._problem,
                dict(self._timing),
                self._rate_now(),
                sinks,
            )

    def _rate_now(self) -> float:
        return self._rate.rate(time.monotonic())

    def _run(self) -> None:
        evidence, seen_at = Evidence(), time.monotonic()
        while not self._stop.is_set():
            began = time.perf_counter()
            frame = self.reader.take(_TAKE_S)
            if frame is None:
                if self.reader.state.ended:
                    break
                continue
            waited_ms = 1000 * (time.perf_counter() - began)
            if frame.monotonic - seen_at > _GAP_S:
                evidence = forget_frames(evidence)
            seen_at = frame.monotonic
            try:
                evidence = self._classify(frame, evidence, waited_ms)
            except Exception as error:  # one frame, or a weak moment of the engine: said once, counted, and on
                self._fail(error)
        self.journal.close()
        self._finished.set()

    def _classify(self, frame: Frame, evidence: Evidence, waited_ms: float) -> Evidence:
        image = frame.image if self.region is None else self.region.crop(frame.image)
        scores = self.classifier.scores(image)
        began = time.perf_counter()
        if frame.still:
            weighed = weigh_still(self.rule, scores, allowed=self.allowed)
        else:
            weighed = weigh(self.rule, evidence, scores, allowed=self.allowed)
        decide_ms = 1000 * (time.perf_counter() - began)
        timing = {"wait": waited_ms, **self.classifier.timing_ms, "decide": decide_ms}
        self._publish(frame, scores, weighed, timing)
        if weighed.announced != evidence.announced:
            self._announce(weighed, evidence.announced, frame)
        return weighed

    def _publish(
        self, frame: Frame, scores: npt.NDArray[np.float32], weighed: Evidence, timing: Mapping[str, float]
    ) -> None:
        with self._lock:
            self._classified += 1
            self._problem = None
            self._timing = averaged(self._timing, timing)
            self._rate.add(time.monotonic())
            smoothed = scores if weighed.smoothed is None else weighed.smoothed
            self._latest = Reading(
                self._classified,
                frame,
                scores,
                smoothed,
                self.classifier.labels,
                weighed.announced,
                timing,
                why_waiting(self.rule, weighed, allowed=self.allowed),
            )

    def _announce(self, weighed: Evidence, before: int | None, frame: Frame) -> None:
        index, labels = weighed.announced, self.classifier.labels
        event = Event(
            number=self.journal.last_number() + 1,
            label=None if index is None else label_of(index, labels),
            index=index,
            score=None if index is None or weighed.smoothed is None else float(weighed.smoothed[index]),
            previous=None if before is None else label_of(before, labels),
            timestamp=frame.timestamp,
            uptime_s=frame.monotonic - self.started_at,
            frame=self._classified,
        )
        with self._lock:
            self._announcement = None if index is None else Announcement(index, frame.monotonic)
            runners = list(self._runners)
        self.journal.add(event)
        for runner in runners:
            runner.put(event)

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self._failed += 1
            known, self._problem = self._problem is not None, first_line(error)
        if not known:
            _LOG.warning("a frame couldn't be classified: %s", first_line(error))


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a LiveClassifier stands. timing_ms: averages over about ten frames. rate: classified frames a second."""

    latest: Reading | None
    announcement: Announcement | None
    classified: int
    failed: int
    problem: str | None
    timing_ms: Mapping[str, float]
    rate: float
    sinks: tuple[SinkState, ...]


def _mask(
    classifier: Classifier, allow: Iterable[str] | None, deny: Iterable[str] | None
) -> npt.NDArray[np.float32] | None:
    """float32[C] of 1 and 0, or None without lists. Raises UsageError for an unknown label, or when none is left."""
    among = classifier.class_indices(allow=allow, deny=deny)
    if among is None:
        return None
    mask = np.zeros(classifier.num_classes, np.float32)
    mask[sorted(among)] = 1
    return mask


def _opener(source: LiveSource, *, turn: Turn, channels: ChannelOrder, width: int | None) -> SourceOpener:
    if isinstance(source, (str, Path)):
        return source_opener(str(source), turn=turn)
    if isinstance(source, SourceOpener):
        return turned(source, turn)
    if callable(source):
        return turned(SourceOpener("camera", source), turn)
    if not isinstance(source, Iterable):
        raise UsageError(
            f"source is a {type(source).__name__}; expected a name, a function that opens a source, or an iterable of "
            "arrays"
        )
    if hasattr(source, "delivery"):
        opened = cast("FrameSource", source)
    else:
        opened = IterableSource(source, channels=channels, width=width)
    return turned(SourceOpener("frames of the program", lambda: opened), turn)
