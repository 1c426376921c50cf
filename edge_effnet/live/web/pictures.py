"""The live picture as JPEG: each frame is encoded once for all viewers, and only when someone asks for it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from edge_effnet.live.frames import Frame
from edge_effnet.live.jpeg import encode_jpeg
from edge_effnet.live.newest import FrameReader


@dataclass(frozen=True, eq=False)
class Picture:
    """A frame and its JPEG."""

    frame: Frame
    jpeg: bytes


class Pictures:
    """The newest picture. most_fps: no more are encoded a second. widest: wider frames are made smaller, by whole
    factors.
    """

    def __init__(self, reader: FrameReader, *, most_fps: float = 10.0, widest: int = 960) -> None:
        self._reader = reader
        self._period_s = 1 / most_fps
        self._widest = widest
        self._lock = threading.Lock()
        self._picture: Picture | None = None
        self._encoded_at = -1e9

    def newer(self, than: Picture | None, timeout: float) -> Picture | None:
        """The newest picture as soon as it is another one than `than`; None when none came within `timeout` seconds.

        One caller waits for the frame and encodes it; the others wait for the same picture.
        """
        with self._lock:
            if self._picture is not None and self._picture is not than:
                return self._picture
            time.sleep(max(0.0, min(self._encoded_at + self._period_s - time.monotonic(), timeout)))
            frame = self._reader.wait_newer(None if self._picture is None else self._picture.frame, timeout)
            if frame is None:
                return None
            self._encoded_at = time.monotonic()
            self._picture = Picture(frame, encode_jpeg(frame, widest=self._widest))
            return self._picture

    def current(self) -> Picture | None:
        """A picture of the last frame that came; None before the first."""
        with self._lock:
            frame = self._reader.newest()
            if frame is not None and (self._picture is None or self._picture.frame is not frame):
                self._picture = Picture(frame, encode_jpeg(frame, widest=self._widest))
            return self._picture
