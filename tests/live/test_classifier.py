from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import cycle, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cameras import PHOTOS, Camera, view
from support.chromium import eventually
from support.classes import class_photo

from edge_effnet import Classifier
from edge_effnet.benchmarks.live.measure import announcements, judge
from edge_effnet.benchmarks.live.scenes import video_frames, write_video
from edge_effnet.errors import SourceError, UsageError
from edge_effnet.live import DecisionRule, Event, LiveClassifier, Region
from edge_effnet.live.pacing import BackOff
from edge_effnet.live.state import is_healthy, live_state

pytestmark = pytest.mark.litert
QUICK = BackOff(0.001, 0.01)
AT_ONCE = DecisionRule(smoothing=1, enter=0.2, leave=0.1, agree=1, window=1)


def labels(live: LiveClassifier) -> list[str | None]:
    return [event.label for event in live.events()]


class Collecting:
    name = "collecting"

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.closed = 0

    def send(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        self.closed += 1


def test_three_changes_of_scene(bundled: Classifier, tmp_path: Path) -> None:
    """300 frames of a video file: exactly the right announcements, in order, each within 10 frames, none else."""
    pytest.importorskip("cv2")
    write_video(tmp_path / "scenes.avi", video_frames(PHOTOS))
    events = announcements(bundled, tmp_path / "scenes.avi")
    assert judge(events) == []
    assert [event.number for event in events] == [1, 2, 3, 4]
    assert [event.previous for event in events] == [None, *(event.label for event in events[:-1])]


def test_start_latest_events_stop(bundled: Classifier) -> None:
    camera, sink = Camera("coffee"), Collecting()
    others = set(threading.enumerate())
    live = LiveClassifier(bundled, camera.opener(), sinks=[sink])
    assert live.latest() is None
    assert live.start() is live
    events = live.events()
    first = next(events)
    assert (first.label, first.previous, first.number) == ("espresso", None, 1)
    reading = live.latest()
    assert reading is not None
    assert (reading.announced, reading.top(1)[0].label) == ("espresso", "espresso")
    assert reading.scores.shape == reading.smoothed.shape == (1000,)
    assert list(reading.timing_ms) == ["wait", "decode", "preprocess", "inference", "postprocess", "decide"]
    np.testing.assert_array_equal(reading.frame.image, view("coffee"))
    camera.scene = "rocket"
    assert next(events).label == "missile"
    live.stop()
    assert list(events) == []
    assert live.wait(0)
    assert [event.label for event in sink.events] == ["espresso", "missile"]
    assert (sink.closed, camera.closed) == (1, 1)
    live.stop()
    begun = set(threading.enumerate()) - others
    assert not [thread for thread in begun if thread.name.startswith("edge-effnet")]
    bundled.predict(view("coffee"))  # it is the caller's again
    with pytest.raises(UsageError, match="was started before"):
        live.start()


def test_the_end_of_the_frames_ends_the_events(bundled: Classifier) -> None:
    with LiveClassifier(bundled, [view("coffee")] * 4 + [view("rocket")] * 8) as live:
        assert labels(live) == ["espresso", "missile"]
        assert live.wait(60)
        assert live.progress.classified == 12
        assert labels(live) == ["espresso", "missile"]  # who comes late gets them, too


def test_a_slow_model_never_builds_a_queue(bundled: Classifier) -> None:
    camera = Camera(period_s=0.0005)
    with LiveClassifier(bundled, camera.opener()) as live:
        eventually(lambda: live.progress.classified >= 5)
        newest, latest = live.reader.newest(), live.latest()
        assert newest is not None
        assert latest is not None
        state = live.reader.state
        assert state.dropped > 0
        assert state.received - state.dropped <= live.progress.classified + 3


def test_the_region_decides(bundled: Classifier) -> None:
    """Coffee to the left, a rocket to the right."""
    both = np.concatenate([view("coffee"), view("rocket")], axis=1)
    for region, label in ((Region(0, 0, 0.5, 1), "espresso"), (Region(0.5, 0, 0.5, 1), "missile")):
        with LiveClassifier(bundled, [both] * 6, region=region) as live:
            assert labels(live) == [label]


def test_allow_and_deny(bundled: Classifier) -> None:
    with LiveClassifier(bundled, [view("coffee")] * 4, rule=AT_ONCE, deny=["espresso"]) as live:
        assert labels(live) == []
    with LiveClassifier(bundled, [view("chelsea")] * 4, rule=AT_ONCE, allow=["tabby", "espresso"]) as live:
        assert labels(live) == []
        reading = live.latest()
        assert reading is not None
        best = reading.top(1)[0].label  # true scores of all
        assert best not in ("tabby", "espresso")
        assert reading.waiting is not None
        assert (reading.waiting.reason, bundled.labels[reading.waiting.index]) == ("enter", "tabby")  # type: ignore[index]
        shown = {found["label"]: found["allowed"] for found in live_state(live, top_k=1)["top"]}
        assert shown == {best: False, "tabby": True, "espresso": True}
    with pytest.raises(UsageError, match="label 'esspresso' is not among"):
        LiveClassifier(bundled, [], allow=["esspresso"])
    with pytest.raises(UsageError, match="leave no label"):
        LiveClassifier(bundled, [], allow=["espresso"], deny=["espresso"])


def test_a_camera_that_vanishes_and_returns(bundled: Classifier) -> None:
    """Nothing is lost but the frames: what was announced stays, and the next change is announced once."""
    camera = Camera("coffee")
    with LiveClassifier(bundled, camera.opener(), back_off=QUICK) as live:
        events = live.events()
        assert next(events).label == "espresso"
        camera.plugged = False
        eventually(lambda: live_state(live)["source"]["problem"] == "camera can't be opened")
        state = live_state(live, stale_s=0.01)
        assert (state["status"], state["announced"]["label"]) == ("stale", "espresso")
        assert state["no_frames_since"] is not None
        assert not is_healthy(live, stale_s=0.01)
        camera.scene, camera.plugged = "rocket", True
        assert next(events).label == "missile"
        state = live_state(live)
        assert (state["status"], state["source"]["problem"], state["source"]["reopened"]) == ("live", None, 1)
        assert is_healthy(live)
    assert [event.number for event in live.events()] == [1, 2]


def test_a_camera_that_is_not_there(bundled: Classifier) -> None:
    camera = Camera()
    camera.plugged = False
    with pytest.raises(SourceError), LiveClassifier(bundled, camera.opener()):
        pass


class Failing(Classifier):
    """Takes a Classifier's place for the frames that `fails` names; the others go to the Classifier."""

    def __init__(self, classifier: Classifier, fails: set[int]) -> None:
        self._classifier, self._fails, self._count = classifier, fails, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._classifier, name)

    def answer_scores(self, image: Any) -> Any:
        self._count += 1
        if self._count in self._fails:
            raise RuntimeError("a weak moment")
        return self._classifier.answer_scores(image)


def test_a_weak_moment_of_the_engine_is_counted_and_said_once(
    bundled: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    weak: Any = Failing(bundled, {2, 3, 4})
    with LiveClassifier(weak, [view("coffee")] * 8) as live:
        assert labels(live) == ["espresso"]
        assert (live.progress.classified, live.progress.failed, live.progress.problem) == (5, 3, None)
    assert [record.getMessage() for record in caplog.records] == ["a frame couldn't be classified: a weak moment"]


def test_a_jumping_clock_changes_no_duration(bundled: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Pi without a battery starts in 1970 and is put right by the network."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    with LiveClassifier(bundled, Camera("coffee").opener()) as live:
        eventually(lambda: live.journal.last_number() == 1)
        assert live_state(live)["time"].startswith("1970-01-01T")
        monkeypatch.setattr(time, "time", real)
        state = live_state(live)
        assert state["status"] == "live"
        assert state["uptime_s"] < 60
        assert 0 <= state["announced"]["for_s"] < 60
        assert state["announced"]["since"] > "2020", "times of day follow the clock that was put right"
        assert is_healthy(live)
        monkeypatch.setattr(time, "time", lambda: real() - 1e6)
        seen = live.progress.classified
        eventually(lambda: live.progress.classified > seen + 3)
        assert live_state(live)["status"] == "live"
        monkeypatch.setattr(time, "time", real)


def test_what_old_frames_said_does_not_count_after_a_gap(bundled: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two coffees, a minute without frames, two more: not three of five, as four in a row are."""
    minute = [0.0]
    real = time.monotonic
    monkeypatch.setattr("edge_effnet.live.frames.time.monotonic", lambda: real() + minute[0])

    def images() -> Iterator[np.ndarray]:
        yield from repeat(view("coffee"), 2)
        minute[0] = 60
        yield from repeat(view("coffee"), 2)
        yield view("astronaut")

    with LiveClassifier(bundled, images(), rule=DecisionRule(smoothing=1)) as live:
        assert labels(live) == []
        assert live.progress.classified == 5
    with LiveClassifier(bundled, [view("coffee")] * 4 + [view("astronaut")], rule=DecisionRule(smoothing=1)) as live:
        assert labels(live) == ["espresso"]


def test_every_source_that_it_takes(bundled: Classifier) -> None:
    for source in (
        PHOTOS,
        str(PHOTOS),
        lambda: Camera().opener().open(),
        cycle([view("coffee")]),
        Camera().opener(),
        Camera().opener().open(),
    ):
        with LiveClassifier(bundled, source) as live:
            eventually(lambda live=live: live.progress.classified >= 1)
    with pytest.raises(UsageError, match="source is a int; expected a name"):
        LiveClassifier(bundled, 7)  # type: ignore[arg-type]


def test_what_is_like_nothing_learned_is_announced_as_unknown(taught: Any) -> None:
    frames = [view("coffee")] * 12 + [np.asarray(class_photo("sea", 100))] * 12
    with Classifier(taught.path, threads=1) as classifier, LiveClassifier(classifier, frames) as live:
        events = list(live.events())
        assert [event.label for event in events if event.label] == ["unknown", "sea"]
        latest = live.latest()
        assert latest is not None
        assert latest.unknown is not None
        assert not latest.unknown.is_unknown
        assert live_state(live)["unknown"]["threshold"] == latest.unknown.threshold
