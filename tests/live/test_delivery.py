from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from support.chromium import eventually

from edge_effnet.live import delivery
from edge_effnet.live.delivery import SinkRunner, Undelivered, close_runners, say_undelivered
from edge_effnet.live.events import Event
from edge_effnet.live.sinks import FileSink


def event(number: int) -> Event:
    return Event(number, "cat", 1, 0.5, None, 1_700_000_000.25, 1.5, 7)


class Broken:
    name = "broken"

    def __init__(self) -> None:
        self.broken = True
        self.sent: list[int] = []

    def send(self, event: Event) -> None:
        if self.broken:
            raise OSError(f"no way for {event.number}")
        self.sent.append(event.number)

    def close(self) -> None:
        raise OSError("not even closing")


def test_a_broken_sink_loses_its_own_events_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    sink = Broken()
    runner = SinkRunner(sink)
    for number in (1, 2, 3):
        runner.put(event(number))
    eventually(lambda: runner.state.lost == 3)
    assert runner.state.problem == "no way for 3"
    sink.broken = False
    runner.put(event(4))
    runner.close()
    assert (runner.state.sent, runner.state.lost, runner.state.problem, sink.sent) == (1, 3, None, [4])
    assert [record.getMessage() for record in caplog.records] == [
        "broken: no way for 1; events are lost until it works again",
        "broken works again; 3 events were lost",
        "broken: not even closing",
    ]


class Stuck:
    name = "stuck"

    def __init__(self) -> None:
        self.end = threading.Event()

    def send(self, _: Event) -> None:
        self.end.wait(60)

    def close(self) -> None:
        pass


def test_a_stuck_sink_stops_nobody_and_fills_no_memory() -> None:
    sink = Stuck()
    runner = SinkRunner(sink)
    for number in range(1, 1201):
        runner.put(event(number))
    assert runner.state.lost >= 199
    assert runner.state.problem == "1000 events are waiting"
    sink.end.set()
    runner.close()


def test_the_state_says_how_many_wait_and_since_when() -> None:
    sink = Stuck()
    runner = SinkRunner(sink)
    assert (runner.state.waiting, runner.state.waiting_s) == (0, None)
    for number in (1, 2, 3):
        runner.put(event(number))
    time.sleep(0.05)
    assert runner.state.waiting == 3
    assert 0.05 <= (runner.state.waiting_s or 0) < 60
    sink.end.set()
    assert runner.close() == Undelivered("stuck", 0, ())
    assert (runner.state.sent, runner.state.waiting, runner.state.waiting_s) == (3, 0, None)


class Later:
    """Takes events over at once, and delivers them in its own time."""

    name = "later"
    waiting_since = None

    def __init__(self) -> None:
        self.taken: list[Event] = []

    def send(self, event: Event) -> None:
        self.taken.append(event)

    def pending(self) -> list[Event]:
        return self.taken[1:]

    def close(self) -> None:
        pass


def test_what_a_sink_took_over_is_not_delivered_yet() -> None:
    runner = SinkRunner(Later())
    for number in (1, 2, 3):
        runner.put(event(number))
    found = runner.close()
    assert (found.count, [left.number for left in found.events]) == (2, [2, 3])
    assert (runner.state.sent, runner.state.waiting) == (1, 2)


def test_the_end_has_one_bound_for_all_sinks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "CLOSE_S", 0.3)
    sinks = [Stuck() for _ in range(4)]
    runners = [SinkRunner(sink) for sink in sinks]
    for runner in runners:
        runner.put(event(1))
        runner.put(event(2))
    began = time.monotonic()
    found = close_runners(runners)
    assert time.monotonic() - began < 2
    assert [left.count for left in found] == [2, 2, 2, 2]
    for sink in sinks:
        sink.end.set()


def test_lost_events_are_undelivered_at_the_end() -> None:
    runner = SinkRunner(Broken())
    runner.put(event(1))
    assert runner.close() == Undelivered("broken", 1, (event(1),))


def test_undelivered_events_are_kept_beside_the_events_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    left = (Undelivered("stuck", 3, (event(2), event(3))), Undelivered("later", 1, (event(3),)))
    say_undelivered(left, [Stuck(), FileSink(tmp_path / "events.jsonl")])
    kept = tmp_path / "events.jsonl.undelivered"
    assert caplog.messages == [f"4 events were not delivered: 3 to stuck, 1 to later; kept in {kept}"]
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [(line["number"], line["sink"]) for line in lines] == [(2, "stuck"), (3, "stuck"), (3, "later")]
    say_undelivered((), [])
    say_undelivered(left[1:], [Stuck()])
    assert caplog.messages[1:] == ["1 event was not delivered: 1 to later"]


def test_where_they_cannot_be_kept_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "events.jsonl.undelivered").mkdir()
    say_undelivered((Undelivered("stuck", 1, (event(1),)),), [FileSink(tmp_path / "events.jsonl")])
    assert "nor could they be kept in" in caplog.text


def test_a_file_that_another_process_keeps_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(delivery, "CLOSE_S", 0.3)
    path = tmp_path / "events.jsonl"
    with path.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        runner = SinkRunner(FileSink(path))
        runner.put(event(1))
        (found,) = close_runners([runner])
        assert [left.number for left in found.events] == [1]
    eventually(lambda: not runner._thread.is_alive())
    assert path.read_bytes() == b"", "what is called undelivered doesn't arrive later"
