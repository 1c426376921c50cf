from __future__ import annotations

import threading

from edge_effnet.live.events import Event, event_text
from edge_effnet.live.journal import KEPT_EVENTS, Journal


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


def test_an_event_as_text_and_as_json() -> None:
    assert event_text(event(1)).endswith("  cat  50 %")
    assert event_text(Event(2, None, None, None, "cat", 0.0, 0.0, 1)).endswith("  nothing  (was cat)")
    fields = event(1).to_dict()
    assert list(fields) == ["time", "number", "label", "index", "score", "previous", "uptime_s", "frame"]
    assert fields["time"].startswith("2023-11-1")
    assert fields["time"][19:23] == ".250"
