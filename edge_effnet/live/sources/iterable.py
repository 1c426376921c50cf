"""Arrays from one's own program as a source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy.typing as npt

from edge_effnet.live.frames import Delivery, Frame, taken_now
from edge_effnet.live.sources.base import Source


class IterableSource(Source):
    """Frames from any iterable of uint8[H, W, 3] RGB arrays.

    delivery: EVERY waits until each array is classified; NEWEST is for a generator that itself waits for a camera.
    A generator's `close` is called when the source is closed. `__next__` raises ImageError for an array of another
    shape.
    """

    def __init__(self, images: Iterable[npt.NDArray[Any]], *, delivery: Delivery = Delivery.EVERY) -> None:
        self._images = iter(images)
        self.delivery = delivery

    def __next__(self) -> Frame:
        return taken_now(next(self._images))

    def close(self) -> None:
        """Closes a generator."""
        close = getattr(self._images, "close", None)
        if close is not None:
            close()
