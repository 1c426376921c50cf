from __future__ import annotations

import threading

import pytest
from support.chromium import eventually

from edge_effnet.live.events import Event, event_text
from edge_effnet.live.journal import KEPT_EVENTS, Journal, SinkRunner


def event(number: int, label: str | None = "cat") -> Event:
    return Event(
        number, label, None if label is None else 1, None if label is None else 0.5, None, 1_700_000_000.25, 1.5, 7
    )


def test_who_waits_is_woken() -> None:
    journal = Journal()
    found: list[list[Event]] = []
    thread = threading.Thread(target=lambda: found.append(journal.after(0, timeout=30)))
    thread.start()
    journal.add(event(1))
    thread.join(30)
    assert found == [[event(1)]]
    assert journal.after(1) == []
    assert journal.after(1, timeout=0.01) == []


def test_it_does_not_grow() -> None:
    journal = Journal()
    for number in range(1, 1001):
        journal.add(event(number))
    kept = journal.after(0)
    assert [kept[0].number, kept[-1].number, len(kept)] == [1001 - KEPT_EVENTS, 1000, KEPT_EVENTS]


def test_close_lets_everyone_go() -> None:
    journal = Journal()
    thread = threading.Thread(target=lambda: journal.after(0, timeout=600))
    thread.start()
    journal.close()
    thread.join(30)
    assert not thread.is_alive()


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


def test_an_event_as_text_and_as_json() -> None:
    assert event_text(event(1)).endswith("  cat  50 %")
    assert event_text(Event(2, None, None, None, "cat", 0.0, 0.0, 1)).endswith("  nothing  (was cat)")
    fields = event(1).to_dict()
    assert list(fields) == ["time", "number", "label", "index", "score", "previous", "uptime_s", "frame"]
    assert fields["time"].startswith("2023-11-1")
    assert fields["time"][19:23] == ".250"
