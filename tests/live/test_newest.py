from __future__ import annotations

import threading
from itertools import count

import numpy as np
import pytest
from support.cameras import Camera, Scripted
from support.chromium import eventually

from edge_effnet.errors import SourceError, UsageError
from edge_effnet.live import Delivery, SourceOpener, newest
from edge_effnet.live.newest import FrameReader
from edge_effnet.live.pacing import BackOff

QUICK = BackOff(0.001, 0.01)


def picture(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def reader_of(source: Scripted, **options: object) -> FrameReader:
    return FrameReader(SourceOpener("scripted", lambda: source), back_off=QUICK, **options)  # type: ignore[arg-type]


def test_the_newest_frame_wins() -> None:
    """Ten frames come while the classifier is busy: it gets the last one, nine are counted as dropped."""
    end = threading.Event()
    reader = reader_of(Scripted([*map(picture, range(10)), lambda: end.wait(30)], delivery=Delivery.NEWEST))
    reader.start()
    eventually(lambda: reader.state.received == 10)
    frame = reader.take()
    assert frame is not None
    assert frame.image[0, 0, 0] == 9
    assert reader.take(0.01) is None
    assert (reader.state.received, reader.state.dropped) == (10, 9)
    end.set()
    reader.stop()


def test_where_every_frame_counts_none_is_dropped() -> None:
    source = Scripted(map(picture, range(50)))
    reader = reader_of(source)
    reader.start()
    values = []
    while (frame := reader.take(60)) is not None:
        values.append(int(frame.image[0, 0, 0]))
    assert values == list(range(50))
    assert reader.state.ended
    assert (reader.state.received, reader.state.dropped) == (50, 0)
    eventually(lambda: source.closed == 1)
    reader.stop()


def test_each_nth_frame_is_classified_and_each_is_shown() -> None:
    reader = reader_of(Scripted(map(picture, range(10))), every=3)
    reader.start()
    values = []
    while (frame := reader.take(60)) is not None:
        values.append(int(frame.image[0, 0, 0]))
    assert values == [0, 3, 6, 9]
    assert (reader.state.received, reader.state.skipped, reader.state.dropped) == (10, 6, 0)
    newest = reader.newest()
    assert newest is not None
    assert newest.image[0, 0, 0] == 9


def test_a_camera_that_vanishes_is_opened_again_until_it_returns(caplog: pytest.LogCaptureFixture) -> None:
    camera = Camera(period_s=0.001)
    reader = FrameReader(camera.opener("the camera"), back_off=QUICK)
    reader.start()
    assert reader.take(60) is not None
    camera.plugged = False
    eventually(lambda: reader.state.problem == "camera can't be opened")
    seen = reader.state.received
    camera.plugged = True
    eventually(lambda: reader.state.received > seen + 3)
    assert reader.state.problem is None
    assert reader.state.reopened == 1
    assert (camera.opened, camera.closed) == (2, 1)
    reader.stop()
    assert camera.closed == 2
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "the camera: camera gives no more frames; trying again until it returns",
        "the camera gives frames again",
    ]


def test_any_exception_of_a_driver_is_survived() -> None:
    sources = iter([Scripted([picture(1), ZeroDivisionError("driver")]), Scripted([picture(2)])])
    reader = FrameReader(SourceOpener("driver", lambda: next(sources)), back_off=QUICK)
    reader.start()
    values = []
    while (frame := reader.take(60)) is not None:
        values.append(int(frame.image[0, 0, 0]))
    assert values == [1, 2]


def test_a_camera_that_is_not_there_at_first_is_said_at_once() -> None:
    camera = Camera()
    camera.plugged = False
    with pytest.raises(SourceError, match="camera can't be opened"):
        FrameReader(camera.opener()).start()


def test_stop_ends_a_wait_for_the_next_frame_of_a_slow_replay() -> None:
    source = Scripted(map(picture, count()))
    source.rate = 0.001
    reader = reader_of(source)
    reader.start()
    assert reader.take(60) is not None
    reader.stop()
    assert source.closed == 1
    assert reader.take() is None


def test_waiting_for_a_picture_is_not_the_classifiers_waiting() -> None:
    camera = Camera(period_s=0.001)
    reader = FrameReader(camera.opener())
    reader.start()
    first = reader.wait_newer(None, 60)
    second = reader.wait_newer(first, 60)
    assert first is not None
    assert second is not None
    assert second is not first
    reader.stop()
    assert reader.wait_newer(reader.newest(), 60) is None


def test_a_driver_that_hangs_is_seen() -> None:
    end = threading.Event()
    reader = reader_of(Scripted([picture(1), lambda: end.wait(30)], delivery=Delivery.NEWEST))
    reader.start()
    eventually(lambda: reader.state.received == 1 and reader.state.reading_since is not None)
    end.set()
    reader.stop()


def test_every_is_at_least_one() -> None:
    with pytest.raises(UsageError, match="every is 0; expected at least 1"):
        FrameReader(Camera().opener(), every=0)


def silent_until(opened: threading.Event, source: Scripted) -> SourceOpener:
    def wait() -> Scripted:
        opened.wait(60)
        return source

    return SourceOpener("silent", wait)


def test_a_silent_source_does_not_hold_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(newest, "_OPEN_S", 0.05)
    opened = threading.Event()
    reader = FrameReader(silent_until(opened, Scripted([np.zeros((2, 2, 3), np.uint8)])))
    reader.start()
    assert caplog.messages == ["silent doesn't open yet; waiting for it"]
    assert reader.state.reading_since is not None, "a driver that hangs here is noticed, too"
    opened.set()
    assert reader.take(30) is not None
    assert reader.state.reopened == 0
    reader.stop()


def test_a_source_that_fails_late_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "_OPEN_S", 0.05)
    tries = [threading.Event()]

    def open_source() -> Scripted:
        if len(tries) == 1:
            tries.append(threading.Event())
            tries[0].wait(60)
            raise SourceError("too late")
        return Scripted([np.zeros((2, 2, 3), np.uint8)])

    reader = FrameReader(SourceOpener("late", open_source), back_off=BackOff(0.01, 0.05))
    reader.start()
    tries[0].set()
    assert reader.take(30) is not None
    reader.stop()
