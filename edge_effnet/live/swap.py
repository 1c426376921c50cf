"""Handing a running thread another network, between two frames."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge_effnet.classifier import Classifier
from edge_effnet.errors import UsageError
from edge_effnet.live.judge import Judge

_PATIENCE_S = 30.0


class Exchange:
    """Holds the judge of now, and one that is offered until the thread takes it.

    prepare: makes a judge of an offered classifier.
    """

    def __init__(self, judge: Judge, prepare: Callable[[Classifier], Judge]) -> None:
        self._judge, self._prepare = judge, prepare
        self._offered: Judge | None = None
        self._running = False
        self._changed = threading.Condition()
        self._one_at_a_time = threading.Lock()

    @property
    def judge(self) -> Judge:
        """The one of now."""
        return self._judge

    @property
    def is_offered(self) -> bool:
        """Whether `take` gives another one."""
        return self._offered is not None

    def begin(self) -> None:
        """From now on a thread takes what is offered."""
        self._running = True

    def end(self) -> None:
        """The thread takes nothing any more: what is offered counts at once."""
        with self._changed:
            self._running = False
            if self._offered is not None:
                self._judge, self._offered = self._offered, None
            self._changed.notify_all()

    def take(self) -> Judge:
        """What is offered, which is then the one of now."""
        with self._changed:
            self._judge, self._offered = self._offered or self._judge, None
            self._changed.notify_all()
            return self._judge

    def offer(self, classifier: Classifier, *, patience_s: float = _PATIENCE_S) -> Classifier:
        """Waits until the thread has taken it; the classifier before. Raises UsageError when it doesn't."""
        with self._one_at_a_time:
            judge = self._prepare(classifier)
            with self._changed:
                before = self._judge.classifier
                if not self._running:
                    self._judge = judge
                    return before
                self._offered = judge
                if self._changed.wait_for(lambda: self._judge is judge, patience_s):
                    return before
                self._offered = None
        raise UsageError(f"the camera didn't come to take another network within {patience_s:g} s; try again")
