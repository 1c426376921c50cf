"""Progress bars on standard error, silent when it isn't a terminal or tqdm isn't installed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
_DELAY_SECONDS = 1.0


def with_progress(items: Iterable[T], *, total: int | None, what: str) -> Iterator[T]:
    """The items, with a bar when they take longer than a second."""
    bar = _bar(total, what)
    for item in items:
        yield item
        if bar is not None:
            bar.update()
    if bar is not None:
        bar.close()


class StageBars:
    """A callable `(stage, done, total)` that shows one bar for each stage in turn; use it in a `with`."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: Any = None

    def __enter__(self) -> StageBars:
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Moves the stage's bar on."""
        if stage != self._stage:
            self._finish()
            self._stage, self._bar = stage, _bar(total, stage)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def _finish(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def _bar(total: int | None, what: str) -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, desc=what, unit="", leave=False, delay=_DELAY_SECONDS, file=sys.stderr)
