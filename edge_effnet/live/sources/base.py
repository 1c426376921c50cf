"""What all sources have alike."""

from __future__ import annotations

import abc
from collections.abc import Iterator

from edge_effnet.live.frames import Delivery, Frame


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
