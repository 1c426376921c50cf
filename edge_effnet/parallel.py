"""One function over many items on several threads, with the results in the items' order.

Threads suffice: Pillow's decoders and resizes, LiteRT, ONNX Runtime and numpy's larger operations let go of the
interpreter's lock while they work (measured: docs/performance.md).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edge_effnet.arguments import integer
from edge_effnet.errors import UsageError

Item = TypeVar("Item")
Result = TypeVar("Result")
#: Items per worker that are taken, worked on or done before the first of them is asked for: one in work, one waiting.
_AHEAD = 2
#: A worker is a thread and, for photos, an engine of its own; more than this is a mistake that ends in no memory.
MOST_WORKERS = 256
#: Seconds; Windows hears of Ctrl-C between two waits alone.
_WAKE_S = 0.5


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Generator[Result, None, None]:
    """`function` of each item, each given as soon as it and all before it are there.

    workers: threads, 1 to `MOST_WORKERS`; with 1 everything happens in the caller's. Items are taken when there is
    room for them, at most 2 per worker ahead of the results, one at a time and in order, but in the workers' threads;
    so `items` may be endless, and may wait. What `function` or `items` raises is raised in its place and ends the rest.
    Closing the iterator waits for the items that are being worked on, and takes no more. Raises UsageError.
    """
    check_workers(workers)
    return _one_by_one(function, items) if workers == 1 else _Crew(function, items, workers).results()


def check_workers(workers: int) -> None:
    """Raises UsageError for a number of workers that can't be meant."""
    if not 1 <= integer(workers, "workers") <= MOST_WORKERS:
        raise UsageError(f"{workers} workers; expected 1 to {MOST_WORKERS}, and best one a core")


def _one_by_one(function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
    for item in items:
        yield function(item)


@dataclass(eq=False)
class _Ticket:
    """An item's place in the row. outcome: what returns or raises its result, once it is there."""

    outcome: Callable[[], Any] | None = None


class _Crew(Generic[Item, Result]):
    """Threads that take items one after the other, and what is known of those."""

    def __init__(self, function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> None:
        self._function, self._items = function, iter(items)
        self._changed = threading.Condition()
        self._pulling = threading.Lock()
        self._tickets: deque[_Ticket] = deque()
        self._room = workers * _AHEAD
        self._ended = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]

    def results(self) -> Generator[Result, None, None]:
        """The results in order."""
        try:
            for thread in self._threads:
                thread.start()
            while (outcome := self._first()) is not None:
                yield outcome()
        finally:
            self._stop()

    def _first(self) -> Callable[[], Result] | None:
        """The outcome of the first ticket, which makes room for another; None after the last."""
        with self._changed:
            self._wait(lambda: self._tickets[0].outcome is not None if self._tickets else self._ended)
            if not self._tickets:
                return None
            outcome = self._tickets.popleft().outcome
            self._changed.notify_all()
            return outcome

    def _stop(self) -> None:
        """Returns when nothing is worked on. A thread that waits for its next item ends with the process."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            self._wait(lambda: all(ticket.outcome is not None for ticket in self._tickets))
            self._tickets.clear()

    def _wait(self, until: Callable[[], bool]) -> None:
        while not until():
            self._changed.wait(_WAKE_S)

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            ticket, work = taken
            outcome = _outcome(work)
            with self._changed:
                ticket.outcome = outcome
                self._changed.notify_all()
            del taken, work, outcome  # nothing of this item is kept while the next one is waited for

    def _take(self) -> tuple[_Ticket, Callable[[], Result]] | None:
        """The next item's ticket and work; None when there is nothing more to do."""
        with self._pulling:
            with self._changed:
                self._wait(lambda: self._ended or len(self._tickets) < self._room)
                if self._ended:
                    return None
            work = self._next_work()
            with self._changed:
                if work is None or self._ended:
                    self._ended = True
                    self._changed.notify_all()
                    return None
                self._tickets.append(ticket := _Ticket())
                return ticket, work

    def _next_work(self) -> Callable[[], Result] | None:
        try:
            item = next(self._items)
        except StopIteration:
            return None
        except BaseException as error:
            self._items = iter(())
            return _raiser(error)
        return lambda: self._function(item)


def _outcome(work: Callable[[], Result]) -> Callable[[], Result]:
    try:
        result = work()
    except BaseException as error:
        return _raiser(error)
    return lambda: result


def _raiser(error: BaseException) -> Callable[[], Any]:
    def outcome() -> Any:
        raise error

    return outcome
