"""One learning at a time, in the background, with its progress and a way to stop it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from edge_effnet.errors import EdgeEffnetError, UsageError, first_line

_LOG = logging.getLogger("edge_effnet.live")
Phase: TypeAlias = Literal["idle", "learning", "done", "failed", "stopped"]
#: Is told (stage, share of it that is done, 0..1).
Progress: TypeAlias = Callable[[str, float], None]
_JOIN_S = 5.0


class StoppedError(Exception):
    """Somebody wanted it to stop."""


@dataclass(frozen=True)
class LessonState:
    """phase: where it is; stage and share (0..1): of the learning; problem: why it failed; result: what it gave."""

    phase: Phase = "idle"
    stage: str = ""
    share: float = 0.0
    problem: str | None = None
    result: Any = None


class Lesson:
    """Runs what it is given in a thread of its own. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state = LessonState()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> LessonState:
        """As of now."""
        return self._state

    def start(self, work: Callable[[Progress], Any]) -> None:
        """Begins. Raises UsageError while another runs."""
        with self._lock:
            if self._state.phase == "learning":
                raise UsageError("it is learning already; wait, or stop it")
            self._stop.clear()
            self._state = LessonState("learning")
            self._thread = threading.Thread(target=self._run, args=(work,), name="edge-effnet lesson", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """At the next step; nothing that was written is changed."""
        self._stop.set()

    def forget(self) -> None:
        """The result was taken, or isn't wanted."""
        with self._lock:
            if self._state.phase != "learning":
                self._state = LessonState()

    def close(self) -> None:
        """Stops and waits for a few seconds."""
        self.stop()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _run(self, work: Callable[[Progress], Any]) -> None:
        try:
            result = work(self._tell)
        except StoppedError:
            self._state = LessonState("stopped")
        except EdgeEffnetError as error:
            self._state = LessonState("failed", problem=str(error))
        except Exception as error:  # said on the page and in the log; the camera goes on
            _LOG.warning("learning failed: %s", first_line(error))
            self._state = LessonState("failed", problem=first_line(error))
        else:
            self._state = LessonState("done", share=1.0, result=result)

    def _tell(self, stage: str, share: float) -> None:
        if self._stop.is_set():
            raise StoppedError
        self._state = LessonState("learning", stage, min(max(share, 0.0), 1.0))
