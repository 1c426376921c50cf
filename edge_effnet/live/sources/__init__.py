"""Where frames come from, one file a kind; nothing is imported or opened before it's asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_effnet.arguments import one_of, real_numbers
from edge_effnet.errors import UsageError
from edge_effnet.live.frames import UNTURNED, FrameSource, Turn
from edge_effnet.live.sources.base import TurnedSource
from edge_effnet.live.sources.folder import FolderSource, Photos
from edge_effnet.live.sources.iterable import IterableSource
from edge_effnet.live.sources.opencv import CameraSource, VideoFileSource
from edge_effnet.live.sources.picamera2 import Picamera2Source
from edge_effnet.live.sources.pictures import PicturesSource, open_stream
from edge_effnet.live.sources.pyav import PyavFileSource, has_pyav

__all__ = [
    "CameraSource",
    "FolderSource",
    "IterableSource",
    "Picamera2Source",
    "PicturesSource",
    "PyavFileSource",
    "Replay",
    "SourceOpener",
    "VideoFileSource",
    "source_opener",
    "turned",
]


@dataclass(frozen=True)
class Replay:
    """How files and folders are played. rate: frames a second; None is a video's own, and each photo of a folder at
    once.

    every_frame: without a clock, each frame as soon as the one before is classified. loop: begin anew at the end.
    photos: whether those of a folder are "scenes", each of its own, or "frames" that follow each other.
    """

    rate: float | None = None
    every_frame: bool = False
    loop: bool = False
    photos: Photos = "scenes"

    def __post_init__(self) -> None:
        real_numbers("rate", 1 if self.rate is None else self.rate)
        if self.rate is not None and not 0 < self.rate <= 1000:
            raise UsageError(f"{self.rate:g} frames a second; expected above 0, at most 1000")


@dataclass(frozen=True)
class SourceOpener:
    """A named source that can be opened any number of times."""

    name: str
    open: Callable[[], FrameSource]


def source_opener(
    name: str, *, size: tuple[int, int] | None = None, replay: Replay | None = None, turn: Turn = UNTURNED
) -> SourceOpener:
    """What a name on the command line stands for.

    name: "picamera2", a number (camera of OpenCV), a device, an address like rtsp://… or http://…, a video file or
    a folder of photos. size: width and height to ask a camera for. turn: how it is mounted. Raises UsageError for a
    name that is none of these.
    """
    one_of(name, str, "source")
    if name == "picamera2":
        return SourceOpener(name, lambda: Picamera2Source(size=size or (640, 480), turn=turn))
    return turned(_opener(name, size, replay or Replay()), turn)


def turned(source: SourceOpener, turn: Turn) -> SourceOpener:
    """The source with its pictures turned."""
    return source if turn == UNTURNED else SourceOpener(source.name, lambda: TurnedSource(source.open(), turn))


def _opener(name: str, size: tuple[int, int] | None, replay: Replay) -> SourceOpener:
    if name.isdecimal():
        return SourceOpener(f"camera {name}", lambda: CameraSource(int(name), size=size))
    if name.startswith(("http://", "https://")):
        return SourceOpener(_without_password(name), lambda: open_stream(name, lambda: CameraSource(name, size=size)))
    if name.startswith("/dev/") or re.match(r"[a-z][a-z0-9+]*://", name):
        return SourceOpener(_without_password(name), lambda: CameraSource(name, size=size))
    path = Path(name)
    if path.is_dir():
        return SourceOpener(
            path.resolve().name, lambda: FolderSource(path, rate=replay.rate, loop=replay.loop, photos=replay.photos)
        )
    if path.is_file():
        return SourceOpener(path.name, lambda: _video_file(path, replay))
    raise UsageError(
        f"source {name!r}: no such file; expected picamera2, a camera's number, /dev/video…, rtsp://…, a video file "
        "or a folder of photos"
    )


def _video_file(path: Path, replay: Replay) -> FrameSource:
    """Through PyAV, which tells damaged frames, where it is installed; otherwise through OpenCV."""
    kind = PyavFileSource if has_pyav() else VideoFileSource
    return kind(path, rate=replay.rate, every_frame=replay.every_frame, loop=replay.loop)


def _without_password(address: str) -> str:
    """The address as it may be shown: a camera's address often holds its password."""
    return re.sub(r"(://)[^/@]*@", r"\1…@", address)
