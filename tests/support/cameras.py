"""Cameras that do what the test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_effnet.errors import SourceError
from edge_effnet.live import Delivery, Frame, SourceOpener
from edge_effnet.live.frames import taken_now

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"


@lru_cache
def view(name: str) -> npt.NDArray[np.uint8]:
    """uint8[240, 320, 3] of an example photo, read-only."""
    image = np.array(Image.open(PHOTOS / f"{name}.jpg").convert("RGB").resize((320, 240)))
    image.setflags(write=False)
    return image


class Camera:
    """Shows what `scene` says as long as it is plugged in; a frame each `period_s`, whether taken or not."""

    def __init__(self, scene: str = "coffee", *, period_s: float = 0.01) -> None:
        self.scene = scene
        self.plugged = True
        self.opened = self.closed = 0
        self.period_s = period_s
        self._tick = threading.Event()

    def opener(self, name: str = "camera") -> SourceOpener:
        return SourceOpener(name, lambda: _Opened(self))


class _Opened:
    delivery = Delivery.NEWEST
    rate = None

    def __init__(self, camera: Camera) -> None:
        if not camera.plugged:
            raise SourceError("camera can't be opened")
        camera.opened += 1
        self._camera = camera

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        self._camera._tick.wait(self._camera.period_s)
        if not self._camera.plugged:
            raise SourceError("camera gives no more frames")
        return taken_now(view(self._camera.scene))

    def close(self) -> None:
        self._camera.closed += 1


class Scripted:
    """A source whose frames a test gives: arrays, exceptions to raise, functions to call."""

    delivery = Delivery.EVERY
    rate: float | None = None

    def __init__(self, script: Iterable[Any], *, delivery: Delivery = Delivery.EVERY) -> None:
        self._script = iter(script)
        self.delivery = delivery
        self.closed = 0

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        step = next(self._script)
        while isinstance(step, Callable):  # type: ignore[arg-type]
            step()
            step = next(self._script)
        if isinstance(step, BaseException):
            raise step
        return taken_now(step)

    def close(self) -> None:
        self.closed += 1
