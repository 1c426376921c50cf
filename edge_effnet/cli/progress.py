"""Progress on standard error: how much of it, how fast, how long still; nothing when that is no terminal."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Literal, TypeAlias, TypeVar

from edge_effnet.cli.console import remark

T = TypeVar("T")
#: What is counted: things, or parts of a whole, of which a percentage is shown.
Counted: TypeAlias = Literal["things", "parts"]
#: Seconds: shorter work shows nothing, and a line stands at least so long.
_DELAY_S, _STEP_S = 1.0, 0.1


class Bar:
    """One line for `total` things (None: nobody knows), for a `with`: "photos 120/400  31.2/s  0:09 left"."""

    def __init__(self, what: str, *, total: int | None, counted: Counted = "things") -> None:
        self._what, self._total, self._counted = what, total, counted
        self._done = 0
        self._started = time.monotonic()
        self._next = self._started + _DELAY_S
        self._shown = 0
        self._wanted = sys.stderr.isatty()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.hide()

    def say(self, what: str) -> None:
        """Another name from now on."""
        self._what = what

    def step(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        now = time.monotonic()
        if self._wanted and now >= self._next:
            self._next = now + _STEP_S
            seconds = now - self._started
            self._show(line(self._what, self._done, self._total, seconds=seconds, counted=self._counted))

    def hide(self) -> None:
        """Takes the line away, so that another can be written in its place."""
        if self._shown:
            self._write("\r" + " " * self._shown + "\r")
            self._shown = 0

    def _show(self, text: str) -> None:
        text = text[: shutil.get_terminal_size().columns - 1]
        self._write("\r" + text.ljust(self._shown))
        self._shown = len(text)

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def line(what: str, done: int, total: int | None, *, seconds: float, counted: Counted = "things") -> str:
    """ "photos 120/400  31.2/s  0:09 left" after so many seconds; of parts "features 30 %  0:09 left"."""
    rate = done / seconds if seconds > 0 else 0.0
    left = f"  {_clock((total - done) / rate)} left" if total and rate else ""
    if counted == "parts" and total:
        return f"{what} {100 * done // total} %{left}"
    count = f"{what} {done}" + (f"/{total}" if total else "")
    return f"{count}  {rate:.1f}/s{left}"


def _clock(seconds: float) -> str:
    """1:05, or 1:00:05."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def with_progress(items: Iterable[T], *, total: int | None, what: str) -> Iterator[T]:
    """The items, with a line that gives way while one is dealt with."""
    with Bar(what, total=total) as bar:
        for item in items:
            bar.hide()
            yield item
            bar.step()


class StageBars:
    """A callable `(stage, done, total)` that shows one line for each stage in turn; use it in a `with`.

    What a stage is called behind a comma may change while it lasts: "refinement, 19.0 → 21.4 dB".

    elsewhere: where standard error is no terminal, "lines" says what each stage that took a second took.
    """

    def __init__(self, *, elsewhere: Literal["nothing", "lines"] = "nothing", counted: Counted = "things") -> None:
        self._counted = counted
        self._lines = elsewhere == "lines" and not sys.stderr.isatty()
        self._started = time.monotonic()
        self._stage = ""
        self._bar: Bar | None = None
        self._done = 0

    def __enter__(self) -> StageBars:
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Moves the stage's line on."""
        name = stage.partition(",")[0]
        if name != self._stage or self._bar is None:
            self._finish()
            self._stage, self._bar, self._done = name, Bar(stage, total=total, counted=self._counted), 0
            self._started = time.monotonic()
        self._bar.say(stage)
        self._bar.step(done - self._done)
        self._done = done

    def _finish(self) -> None:
        if self._bar is not None:
            self._bar.hide()
            seconds = time.monotonic() - self._started
            if self._lines and seconds >= _DELAY_S:
                remark(f"{self._stage}: {seconds:.0f} s")
        self._bar = None
