"""Results come in order, as they come, and never more than a few items ahead."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from edge_effnet.errors import UsageError
from edge_effnet.parallel import map_in_order

WORKERS = (1, 2, 7)


def uneven(number: int) -> int:
    """The earlier of two items takes longer."""
    time.sleep(0.002 * (number % 3 == 0))
    return number * number


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_results_are_in_order(workers: int, count: int) -> None:
    assert list(map_in_order(uneven, range(count), workers=workers)) == [number**2 for number in range(count)]


@pytest.mark.parametrize("workers", WORKERS)
def test_endless_items_are_taken_a_few_ahead(workers: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    results = map_in_order(uneven, items(), workers=workers)
    for number in range(30):
        assert next(results) == number**2
        assert len(taken) <= number + 1 + 2 * workers
    time.sleep(0.02)
    assert len(taken) <= 30 + 2 * workers


@pytest.mark.parametrize("workers", WORKERS)
def test_a_result_does_not_wait_for_the_next_item(workers: int) -> None:
    """The items' source gives the next one only when it has seen the result of the one before."""
    seen = threading.Semaphore(1)

    def items() -> Iterator[int]:
        for number in range(5):
            assert seen.acquire(timeout=10)
            yield number

    for number, result in enumerate(map_in_order(uneven, items(), workers=workers)):
        assert result == number**2
        seen.release()
    assert number == 4


@pytest.mark.parametrize("workers", WORKERS)
def test_what_the_function_raises_stands_in_its_place(workers: int) -> None:
    def third_fails(number: int) -> int:
        if number == 3:
            raise KeyError("third")
        return uneven(number)

    results = map_in_order(third_fails, itertools.count(), workers=workers)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    with pytest.raises(KeyError, match="third"):
        next(results)


@pytest.mark.parametrize("workers", WORKERS)
def test_what_the_items_raise_stands_in_its_place(workers: int) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("the disk is gone")

    results = map_in_order(uneven, items(), workers=workers)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


@pytest.mark.parametrize("workers", [2, 7])
def test_nothing_is_worked_on_after_closing(workers: int) -> None:
    before = threading.active_count()
    working: set[int] = set()

    def slow(number: int) -> int:
        working.add(number)
        time.sleep(0.005)
        working.remove(number)
        return number

    results = map_in_order(slow, itertools.count(), workers=workers)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert not working
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.001)
    assert threading.active_count() == before


def test_closing_does_not_wait_for_items_that_never_come() -> None:
    blocked = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        blocked.wait(60)

    results = map_in_order(uneven, items(), workers=2)
    assert next(results) == 1
    started = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 30
    blocked.set()


def test_workers_work_at_the_same_time() -> None:
    """Each waits until the others are there, too."""
    meeting = threading.Barrier(3, timeout=30)
    assert len(list(map_in_order(lambda _: meeting.wait(), range(6), workers=3))) == 6


@pytest.mark.parametrize("workers", [0, -1, 257, 100_000])
def test_so_many_workers_cannot_be_meant(workers: int) -> None:
    with pytest.raises(UsageError, match=f"{workers} workers; expected 1 to 256, and best one a core"):
        map_in_order(uneven, [], workers=workers)
