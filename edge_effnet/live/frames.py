"""Frames and where they come from: the one small protocol that every camera, file and folder fulfils."""

from __future__ import annotations

import enum
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.arguments import real_numbers
from edge_effnet.decoding import MAX_PIXELS
from edge_effnet.errors import ImageError, SourceError, UsageError
from edge_effnet.pixel_arrays import check_array

#: Largest frame of a stream or video, width · height: twice 4K. A decoder holds a dozen of them.
MAX_FRAME_PIXELS = 1 << 24


def check_frame_size(width: float, height: float, name: str) -> None:
    """Raises SourceError for frames that no decoder shall begin with, once a stream has said how large they are."""
    if width * height > MAX_FRAME_PIXELS:
        raise SourceError(
            f"{name} has frames of {width:.0f}×{height:.0f} pixels; at most {MAX_FRAME_PIXELS:,} are decoded"
        )


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a camera.

    image: uint8[H, W, 3], RGB. timestamp: seconds since 1970 by the wall clock, which may jump. monotonic: seconds of
    `time.monotonic`, which never does: durations are measured with it. name: the file, where the picture has one.
    still: a picture of its own, as each photo of a folder is: what frames before it said doesn't count.
    """

    image: npt.NDArray[np.uint8]
    timestamp: float
    monotonic: float
    name: str = ""
    still: bool = False


def taken_now(image: npt.NDArray[Any], *, name: str = "") -> Frame:
    """A frame of this moment. Raises ImageError unless image is uint8[H, W, 3], not empty and of at most 50 Mpx."""
    check_array(image, "rgb")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise ImageError(f"frame has {image.shape[1]}×{image.shape[0]} pixels; at most {MAX_PIXELS:,} are taken")
    return Frame(image, time.time(), time.monotonic(), name)


Flip: TypeAlias = Literal["horizontal", "vertical"]


@dataclass(frozen=True)
class Turn:
    """How a camera is mounted: its picture is turned clockwise by `rotate` degrees (0, 90, 180, 270), then mirrored.

    flip: "horizontal" exchanges left and right, "vertical" top and bottom. Raises UsageError for anything else.
    """

    rotate: int = 0
    flip: Flip | None = None

    def __post_init__(self) -> None:
        if self.rotate not in (0, 90, 180, 270) or self.flip not in (None, "horizontal", "vertical"):
            raise UsageError(
                f"rotate is {self.rotate}, flip {self.flip}; expected 0, 90, 180 or 270, and horizontal or vertical"
            )

    def apply(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """uint8[H, W, 3] or, a quarter turned, uint8[W, H, 3]; a view."""
        turned = np.rot90(image, -(self.rotate // 90)) if self.rotate else image
        if self.flip is None:
            return turned
        return turned[:, ::-1] if self.flip == "horizontal" else turned[::-1]

    @property
    def mirrors(self) -> tuple[bool, bool] | None:
        """(left-right, up-down) that do the same, as sensors can; None for quarter turns."""
        if self.rotate in (90, 270):
            return None
        half = self.rotate == 180
        return half != (self.flip == "horizontal"), half != (self.flip == "vertical")


#: As the camera gives it.
UNTURNED = Turn()


class Delivery(enum.Enum):
    """What happens to frames that come faster than they are classified."""

    NEWEST = "the newest frame wins, older ones are dropped"
    EVERY = "every frame is waited for: files, where none should be missed"


class FrameSource(Protocol):
    """An iterator of frames that can be closed.

    `__next__` blocks until there is a frame, raises StopIteration when there will be no more, and any other exception
    when the camera is gone: it is then closed and opened anew.
    """

    @property
    def delivery(self) -> Delivery:
        """What happens to frames that come too fast."""
        ...

    @property
    def rate(self) -> float | None:
        """Frames a second at which it wants to be read, as files do; None: a frame is there when it is there."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def __next__(self) -> Frame: ...

    def close(self) -> None:
        """Lets go of the camera; may be called more than once, from the thread that iterates."""
        ...


@dataclass(frozen=True)
class Region:
    """The part of the picture that is classified; all values are fractions of the picture's width and height, 0..1."""

    left: float
    top: float
    width: float
    height: float

    def __post_init__(self) -> None:
        values = (self.left, self.top, self.width, self.height)
        real_numbers("region", *values)
        inside = (
            all(0 <= value <= 1 for value in values)
            and self.left + self.width <= 1 + 1e-9
            and self.top + self.height <= 1 + 1e-9
        )
        if not inside or min(self.width, self.height) <= 0:
            said = ",".join(f"{value:g}" for value in values)
            raise UsageError(
                f"region {said} is not inside the picture; expected left,top,width,height as fractions of it"
            )

    def crop(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """uint8[h, w, 3], a view of uint8[H, W, 3]; at least one pixel."""
        height, width = image.shape[:2]
        top, left = min(int(self.top * height), height - 1), min(int(self.left * width), width - 1)
        bottom, right = (
            max(round((self.top + self.height) * height), top + 1),
            max(round((self.left + self.width) * width), left + 1),
        )
        return image[top:bottom, left:right]
