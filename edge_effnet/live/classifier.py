"""The class behind `edge-effnet camera`: a camera classified in the background, its newest result, its events."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

import numpy as np
import numpy.typing as npt

from edge_effnet.arguments import one_of, texts
from edge_effnet.classifier import Classifier
from edge_effnet.errors import UsageError, first_line
from edge_effnet.labels import label_of
from edge_effnet.live.decisions import DecisionRule, Evidence, forget_frames, weigh, weigh_still, why_waiting
from edge_effnet.live.delivery import SinkRunner, Undelivered, close_runners, say_undelivered
from edge_effnet.live.events import Event, EventSink
from edge_effnet.live.frames import UNTURNED, Frame, Region, Turn
from edge_effnet.live.journal import Journal
from edge_effnet.live.jpeg import KEPT_QUALITY, encode_jpeg
from edge_effnet.live.judge import ForeignLabels, Judge, Judging, RuleFor
from edge_effnet.live.motion import MotionGate
from edge_effnet.live.newest import FrameReader
from edge_effnet.live.opening import LiveSource, live_opener
from edge_effnet.live.pacing import BackOff
from edge_effnet.live.readings import Announcement, Progress, Reading
from edge_effnet.live.swap import Exchange
from edge_effnet.live.tally import Tally
from edge_effnet.live.watchers import Watcher
from edge_effnet.pixel_arrays import ChannelOrder

_LOG = logging.getLogger("edge_effnet.live")
#: After this many seconds without a frame, older ones say nothing about what is in view now.
_GAP_S = 5.0
_TAKE_S = 0.5
_JOIN_S = 5.0
#: Of pictures that go with events, in pixels.
_WIDEST = 1920


class LiveClassifier:
    """Classifies a source in background threads; `start`, `latest`, `events`, `stop`, or a `with` block.

    classifier: an open Classifier; it belongs to the background thread until `stop`, and isn't closed by it. source: a
    name ("picamera2", "0", a file, a folder), a FrameSource or a function that opens one (it alone can be opened
    again), or an iterable of arrays, which channels and width describe (`edge_effnet.pixel_arrays`).
    rule: when labels are announced, or what makes a rule for a classifier; by default what suits its head and number of
    classes. turn: how the camera is mounted; picture and region are those after it. region: the part of the picture
    that counts. every: classify each n-th frame. allow, deny: labels that may, or may not, be announced. sinks: where
    events go. back_off: how a lost camera is retried. motion: classifies only what moves. watchers: see each reading.
    foreign_labels: what becomes of labels in allow and deny that the network hasn't. All methods may be called from any
    thread.
    """

    def __init__(
        self,
        classifier: Classifier,
        source: LiveSource,
        *,
        rule: RuleFor = None,
        region: Region | None = None,
        every: int = 1,
        allow: Iterable[str] | None = None,
        deny: Iterable[str] | None = None,
        sinks: Sequence[EventSink] = (),
        back_off: BackOff | None = None,
        turn: Turn = UNTURNED,
        channels: ChannelOrder = "rgb",
        width: int | None = None,
        motion: MotionGate | None = None,
        watchers: Sequence[Watcher] = (),
        foreign_labels: ForeignLabels = "refuse",
    ) -> None:
        self.region, self.every, self.motion = region, every, motion
        allowed = None if allow is None else texts(allow, "allow")
        denied = None if deny is None else texts(deny, "deny")
        judging = Judging(rule, allowed, denied, foreign_labels)
        self._exchange = Exchange(judging.judge(one_of(classifier, Classifier, "classifier")), judging.judge_next)
        opener = live_opener(source, turn=turn, channels=channels, width=width)
        self.reader = FrameReader(opener, every=every, back_off=back_off)
        self.journal = Journal()
        self._sinks, self._watchers = list(sinks), tuple(watchers)
        self._runners: list[SinkRunner] = []
        #: Of each sink, what it hadn't taken when `stop` left it behind.
        self.undelivered: tuple[Undelivered, ...] = ()
        self._lock = threading.Lock()
        self._tally = Tally()
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

    @property
    def judge(self) -> Judge:
        """The classifier of now, its rule and the labels that it may announce."""
        return self._exchange.judge

    @property
    def classifier(self) -> Classifier:
        """The one of now."""
        return self.judge.classifier

    @property
    def rule(self) -> DecisionRule:
        """When labels of the classifier of now are announced."""
        return self.judge.rule

    @property
    def allowed(self) -> npt.NDArray[np.float32] | None:
        """float32[C] of 1 and 0; None where all labels may be announced."""
        return self.judge.allowed

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
        self._exchange.begin()
        self._thread.start()
        return self

    def swap(self, classifier: Classifier) -> Classifier:
        """Each frame from now on is classified by another network; none is lost. The one before, which is the caller's
        again and may be closed.

        The label that holds stays where the new network has it, and may announce it; otherwise it is given up. Raises
        UsageError when the thread doesn't come to it within half a minute.
        """
        return self._exchange.offer(one_of(classifier, Classifier, "classifier"))

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
        return self._tally.latest()

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
            runners = list(self._runners)
        return self._tally.progress(tuple(runner.state for runner in runners))

    def _run(self) -> None:
        evidence, seen_at = Evidence(), time.monotonic()
        try:
            while not self._stop.is_set():
                began = time.perf_counter()
                frame = self.reader.take(_TAKE_S)
                if self._exchange.is_offered:
                    evidence = self._take_over(evidence, frame)
                if frame is None:
                    if self.reader.state.ended:
                        break
                    continue
                waited_ms = 1000 * (time.perf_counter() - began)
                if frame.monotonic - seen_at > _GAP_S:
                    evidence = forget_frames(evidence)
                seen_at = frame.monotonic
                try:
                    evidence = self._look(frame, evidence, waited_ms)
                except Exception as error:  # one frame, or a weak moment of the engine: said once, counted, and on
                    if self._tally.fail(first_line(error)):
                        _LOG.warning("a frame couldn't be classified: %s", first_line(error))
        finally:
            self._exchange.end()
        self.journal.close()
        self._finished.set()

    def _take_over(self, evidence: Evidence, frame: Frame | None) -> Evidence:
        """With the network that was offered: what old frames said counts no longer."""
        before = evidence.announced
        label = None if before is None else label_of(before, self.classifier.answers)
        judge = self._exchange.take()
        index = None if label is None else judge.index_of(label)
        if self.motion is not None:
            self.motion.reset()
        weighed = Evidence(announced=index)
        if index is not None and label is not None:
            held = self._tally.progress(()).announcement
            self._tally.announce(Announcement(index, label, time.monotonic() if held is None else held.since))
        elif label is not None:
            self._announce(weighed, label, frame)
        return weighed

    def _look(self, frame: Frame, evidence: Evidence, waited_ms: float) -> Evidence:
        image = frame.image if self.region is None else self.region.crop(frame.image)
        if self.motion is not None and not self.motion.lets_pass(image, frame.monotonic):
            self._tally.spare(frame.monotonic)
            return evidence
        judge = self.judge
        scores = judge.classifier.answer_scores(image)
        began = time.perf_counter()
        if frame.still:
            weighed = weigh_still(judge.rule, scores, allowed=judge.allowed)
        else:
            weighed = weigh(judge.rule, evidence, scores, allowed=judge.allowed)
        decide_ms = 1000 * (time.perf_counter() - began)
        timing = {"wait": waited_ms, **judge.classifier.timing_ms, "decide": decide_ms}
        reading = Reading(
            self._tally.classified + 1,
            frame,
            scores,
            scores if weighed.smoothed is None else weighed.smoothed,
            judge.classifier.answers,
            weighed.announced,
            timing,
            why_waiting(judge.rule, weighed, allowed=judge.allowed),
            judge.allowed,
            judge.classifier.head.kind == "sigmoid",
            judge.classifier.unknown,
        )
        self._tally.read(reading, timing)
        if weighed.announced != evidence.announced:
            labels, before = judge.classifier.answers, evidence.announced
            self._announce(weighed, None if before is None else label_of(before, labels), frame)
        for watcher in self._watchers:
            watcher.see(reading)
        return weighed

    def _announce(self, weighed: Evidence, before: str | None, frame: Frame | None) -> None:
        """One event. frame: the one that decided, None where the network's exchange did."""
        index, moment = weighed.announced, time.monotonic() if frame is None else frame.monotonic
        label = None if index is None else label_of(index, self.classifier.answers)
        with self._lock:
            runners = list(self._runners)
        wanted = frame is not None and any(runner.wants_pictures for runner in runners)
        event = Event(
            number=self.journal.last_number() + 1,
            label=label,
            index=index,
            score=None if index is None or weighed.smoothed is None else float(weighed.smoothed[index]),
            previous=before,
            timestamp=time.time() if frame is None else frame.timestamp,
            uptime_s=moment - self.started_at,
            frame=self._tally.classified,
            picture=encode_jpeg(frame, widest=_WIDEST, quality=KEPT_QUALITY) if wanted and frame is not None else None,
        )
        self._tally.announce(None if index is None or label is None else Announcement(index, label, moment))
        self.journal.add(event.bare)
        for runner in runners:
            runner.put(event)
