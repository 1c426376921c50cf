"""Cameras, network streams and video files through OpenCV."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_effnet.errors import MissingDependencyError, SourceError
from edge_effnet.live.frames import Frame, check_frame_size, taken_now
from edge_effnet.live.sources.base import Source, delivery_at
from edge_effnet.live.sources.pictures import SILENCE_S

#: For video files that don't say their rate.
_USUAL_RATE = 25.0
#: FFmpeg's names.
_BOUNDED_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,flv,hls,asf,ogg"


class CameraSource(Source):
    """A camera by number, a device like /dev/video0, or a stream's address (rtsp://…).

    size: width and height to ask for; the camera may give another. Raises SourceError when it can't be opened and,
    while iterating, when it gives no more frames; MissingDependencyError without OpenCV.
    """

    def __init__(self, device: int | str, *, size: tuple[int, int] | None = None) -> None:
        self._cv2 = _opencv()
        self._name = f"camera {device}" if isinstance(device, int) else device.rsplit("@", 1)[-1]
        is_address = isinstance(device, str) and "://" in device
        self._capture = _open_address(self._cv2, str(device)) if is_address else self._cv2.VideoCapture(device)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(f"{self._name} can't be opened; is it connected, and not in use by another program?")
        _check_size(self._cv2, self._capture, self._name)
        self._capture.set(self._cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not the one of a second ago
        if size is not None:
            self._capture.set(self._cv2.CAP_PROP_FRAME_WIDTH, size[0])
            self._capture.set(self._cv2.CAP_PROP_FRAME_HEIGHT, size[1])

    def __next__(self) -> Frame:
        there, image = self._capture.read()
        if not there:
            raise SourceError(f"{self._name} gives no more frames")
        return taken_now(self._cv2.cvtColor(image, self._cv2.COLOR_BGR2RGB))

    def close(self) -> None:
        """Lets go of the camera."""
        self._capture.release()


class VideoFileSource(Source):
    """A video file, played at its own rate like a camera, at `rate` frames a second, or with `every_frame` without a
    clock.

    loop: begin anew at the end. Raises SourceError for a file without a picture that can be read,
    MissingDependencyError without OpenCV.
    """

    def __init__(self, path: Path, *, rate: float | None = None, every_frame: bool = False, loop: bool = False) -> None:
        self._cv2 = _opencv()
        self._path = path
        self._loop = loop
        self._capture = self._opened()
        own = self._capture.get(self._cv2.CAP_PROP_FPS)
        self.rate = None if every_frame else rate or (own if 0 < own <= 1000 else _USUAL_RATE)
        self.delivery = delivery_at(self.rate)
        there, self._next = self._capture.read()
        if not there:
            self._capture.release()
            raise SourceError(f"{path} holds no picture that OpenCV can read")

    def __next__(self) -> Frame:
        image, self._next = self._next, None
        if image is None:
            image = self._read()
        return taken_now(self._cv2.cvtColor(image, self._cv2.COLOR_BGR2RGB), name=str(self._path))

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()

    def _opened(self) -> Any:
        capture = self._cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            capture.release()
            raise SourceError(f"{self._path} is no video that OpenCV can read; for photos name their folder")
        _check_size(self._cv2, capture, str(self._path))
        return capture

    def _read(self) -> Any:
        there, image = self._capture.read()
        if not there and self._loop:
            self._capture.release()
            self._capture = self._opened()
            there, image = self._capture.read()
        if not there:
            raise StopIteration
        return image


def _open_address(cv2: Any, address: str) -> Any:
    """A network stream, with a bound on how long its server may be silent; FFmpeg's own is half a minute."""
    silence_ms = round(1000 * SILENCE_S)
    bounds = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, silence_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, silence_ms]
    with _only_bounded_formats(address):
        return cv2.VideoCapture(address, cv2.CAP_FFMPEG, bounds)


@contextlib.contextmanager
def _only_bounded_formats(address: str) -> Iterator[None]:
    """Over HTTP, formats alone whose pieces say how long they are: a server may change its mind about what it sends."""
    name = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    if not address.startswith(("http://", "https://")) or name in os.environ:
        yield
        return
    os.environ[name] = f"format_whitelist;{_BOUNDED_FORMATS}"
    try:
        yield
    finally:
        del os.environ[name]


def _check_size(cv2: Any, capture: Any, name: str) -> None:
    try:
        check_frame_size(capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT), name)
    except SourceError:
        capture.release()
        raise


def _opencv() -> Any:
    """The module cv2, quiet; raises MissingDependencyError naming what to install."""
    try:
        import cv2
    except ImportError as error:
        raise MissingDependencyError(
            "cameras, streams and video files need OpenCV: pip install 'edge-effnet[camera]', or apt install "
            "python3-opencv "
            "(a Raspberry Pi's own camera: --source picamera2)"
        ) from error
    quiet = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel  # the first was in OpenCV 4 alone
    quiet(0)  # its warnings about a missing camera come as our error
    return cv2
