from __future__ import annotations

import threading
import time

from edge_effnet.live.pacing import BackOff, Pacer


class Clock:
    """Time passes only when someone waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def paced(clock: Clock, rate: float) -> tuple[Pacer, list[float]]:
    pacer, waits = Pacer(rate, clock=clock), []

    def wait(seconds: float) -> bool:
        waits.append(round(seconds, 6))
        clock.now += seconds
        return False

    pacer._stopped.wait = wait  # type: ignore[assignment,method-assign]
    return pacer, waits


def test_frames_come_at_the_rate() -> None:
    clock = Clock()
    pacer, waits = paced(clock, 10)
    for _ in range(4):
        pacer.wait()
    assert waits == [0.1, 0.1, 0.1]
    clock.now += 0.04
    pacer.wait()
    assert waits[3:] == [0.06]


def test_who_is_late_is_not_hurried_afterwards() -> None:
    clock = Clock()
    pacer, waits = paced(clock, 10)
    pacer.wait()
    clock.now += 5
    starts = []
    for _ in range(4):
        pacer.wait()
        starts.append(round(clock.now - 105, 6))
    assert starts[0] == 0
    assert starts[-1] >= 0.2
    assert len(waits) >= 2


def test_stop_ends_the_waiting_of_another_thread() -> None:
    pacer = Pacer(0.001)
    pacer.wait()
    thread = threading.Thread(target=pacer.wait)
    thread.start()
    pacer.stop()
    began = time.monotonic()
    thread.join(30)
    assert not thread.is_alive()
    assert time.monotonic() - began < 30


def test_the_back_off_doubles_up_to_its_limit() -> None:
    assert [BackOff(0.5, 5).delay(failures) for failures in range(1, 7)] == [0.5, 1, 2, 4, 5, 5]
    assert BackOff(0.5, 30).delay(10_000) == 30
