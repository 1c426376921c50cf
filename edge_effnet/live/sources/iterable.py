"""Arrays from one's own program as a source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy.typing as npt

from edge_effnet.live.frames import Delivery, Frame, taken_now
from edge_effnet.live.sources.base import Source
from edge_effnet.pixel_arrays import ChannelOrder, rgb_array


class IterableSource(Source):
    """Frames from any iterable of arrays. channels, width: what they hold (`edge_effnet.pixel_arrays`).

    delivery: EVERY waits until each array is classified; NEWEST is for a generator that itself waits for a camera.
    A generator's `close` is called when the source is closed. `__next__` raises ImageError for an array of another
    shape.
    """

    def __init__(
        self,
        images: Iterable[npt.NDArray[Any]],
        *,
        delivery: Delivery = Delivery.EVERY,
        channels: ChannelOrder = "rgb",
        width: int | None = None,
    ) -> None:
        self._images = iter(images)
        self._channels: ChannelOrder = channels
        self._width = width
        self.delivery = delivery

    def __next__(self) -> Frame:
        return taken_now(rgb_array(next(self._images), self._channels, width=self._width))

    def close(self) -> None:
        """Closes a generator."""
        close = getattr(self._images, "close", None)
        if close is not None:
            close()
