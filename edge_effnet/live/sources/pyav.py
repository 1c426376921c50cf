"""Video files through PyAV, which, unlike OpenCV, tells the frames that its decoder calls damaged."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_effnet.errors import SourceError, first_line
from edge_effnet.live.frames import Frame, check_frame_size, taken_now
from edge_effnet.live.sources.base import Source, delivery_at

_LOG = logging.getLogger("edge_effnet.live")
#: For video files that don't say their rate.
_USUAL_RATE = 25.0


def has_pyav() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


class PyavFileSource(Source):
    """A video file, played at its own rate like a camera, at `rate` frames a second, or with `every_frame` without a
    clock. Frames that the decoder calls damaged are left out, and counted in `damaged`.

    loop: begin anew at the end. Raises SourceError for a file without a picture that can be read.
    """

    def __init__(self, path: Path, *, rate: float | None = None, every_frame: bool = False, loop: bool = False) -> None:
        self._path, self._loop = path, loop
        self._container: Any = None
        self.damaged = 0
        self._errors: tuple[type[Exception], ...] = ()
        self._frames = self._all()
        self._next: Frame | None = next(self._frames, None)
        if self._next is None:
            self.close()
            raise SourceError(f"{path} holds no undamaged picture that PyAV can read")
        own = float(self._stream().average_rate or 0)
        self.rate = None if every_frame else rate or (own if 0 < own <= 1000 else _USUAL_RATE)
        self.delivery = delivery_at(self.rate)

    def __next__(self) -> Frame:
        first, self._next = self._next, None
        return next(self._frames) if first is None else taken_now(first.image, name=first.name)

    def close(self) -> None:
        """Closes the file; may be called more than once."""
        if self._container is not None:
            self._container.close()

    def _stream(self) -> Any:
        return self._container.streams.video[0]

    def _all(self) -> Iterator[Frame]:
        given = True
        while given:
            self._open()
            given = False
            for image in self._images():
                given = self._loop
                yield taken_now(image, name=str(self._path))
            if self.damaged:
                _LOG.warning("%s: %d damaged frames left out", self._path.name, self.damaged)

    def _open(self) -> None:
        """Anew, from the beginning."""
        import av

        av.logging.set_level(None)  # what a damaged file makes it say is ours to say
        self._errors = (av.error.FFmpegError, OSError, ValueError)
        self.close()
        try:
            self._container = av.open(str(self._path))
            size = self._stream().codec_context
        except (*self._errors, IndexError) as error:
            raise SourceError(
                f"{self._path} is no video that PyAV can read ({first_line(error)}); for photos name their folder"
            ) from error
        check_frame_size(size.width, size.height, str(self._path))
        self._stream().thread_type = "AUTO"

    def _images(self) -> Iterator[Any]:
        """uint8[H, W, 3], RGB, of each frame that isn't damaged."""
        for packet in self._packets():
            try:
                frames = packet.decode()
            except self._errors:
                self.damaged += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.damaged += 1
                else:
                    yield frame.to_ndarray(format="rgb24")

    def _packets(self) -> Iterator[Any]:
        """Until the end, or where the file can't be followed any further."""
        packets = self._container.demux(self._stream())
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except self._errors:
                return
