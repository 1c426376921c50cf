"""What all sources have alike."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import replace

from edge_effnet.live.frames import Delivery, Frame, FrameSource, Turn


class Source(Iterator[Frame]):
    """A `FrameSource` that delivers as cameras do, at its own rate, unless it says otherwise. A subclass adds
    `__next__` and `close`.
    """

    delivery: Delivery = Delivery.NEWEST
    rate: float | None = None

    @abc.abstractmethod
    def close(self) -> None:
        """Lets go of the camera or file; may be called more than once."""


def delivery_at(rate: float | None) -> Delivery:
    """Of files: with a rate they are played like a camera, without one no frame is missed."""
    return Delivery.EVERY if rate is None else Delivery.NEWEST


class TurnedSource(Source):
    """Another source whose pictures are turned, for a camera that isn't mounted upright."""

    def __init__(self, source: FrameSource, turn: Turn) -> None:
        self._source, self._turn = source, turn
        self.delivery, self.rate = source.delivery, source.rate

    def __next__(self) -> Frame:
        frame = self._source.__next__()
        return replace(frame, image=self._turn.apply(frame.image))

    def close(self) -> None:
        """Closes the other one."""
        self._source.close()
