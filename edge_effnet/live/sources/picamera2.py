"""A Raspberry Pi's own camera through picamera2.

"BGR888" is RGB in numpy (picamera2 issues 191, 848). Where the image processor gives its low-resolution stream in RGB
(Pi 5) that is taken; a Pi 4 and before has it in YUV alone ("lores stream must be YUV"), so there the main stream is
asked for at the low resolution instead: the same hardware scales it.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Sequence
from typing import Any

from edge_effnet.errors import MissingDependencyError, SourceError, first_line
from edge_effnet.live.frames import UNTURNED, Frame, Turn, taken_now
from edge_effnet.live.sources.base import Source

_FORMAT = "BGR888"
#: A frame that takes longer than this many seconds won't come: the camera is opened anew.
_TIMEOUT_S = 10.0
_BUFFERS = 3


class Picamera2Source(Source):
    """Frames of the low-resolution stream. size: width and height, even numbers. turn: how the camera is mounted.

    Half turns and mirrors are the camera's own transform, which costs nothing; quarter turns are made of each frame.
    Raises SourceError when there is no camera, MissingDependencyError without picamera2.
    """

    def __init__(self, *, size: tuple[int, int] = (640, 480), turn: Turn = UNTURNED) -> None:
        module = _picamera2()
        try:
            self._camera = module.Picamera2()
        except (
            RuntimeError,
            IndexError,
            OSError,
        ) as error:  # IndexError: picamera2's way to say that none is connected
            raise SourceError(
                f"picamera2 finds no camera ({first_line(error)}); is its cable in, and does rpicam-hello show it?"
            ) from error
        try:
            self._stream = _configure(self._camera, size, turn)
            self._camera.start()
        except (RuntimeError, OSError) as error:
            self._camera.close()
            raise SourceError(f"picamera2 can't start the camera: {first_line(error)}") from error
        self._turn = turn if turn.mirrors is None else UNTURNED
        self._closed = False

    def __next__(self) -> Frame:
        try:
            image = self._camera.capture_array(self._stream, wait=_TIMEOUT_S)
        except (TimeoutError, concurrent.futures.TimeoutError) as error:  # two classes up to Python 3.10
            raise SourceError(f"the camera gave no frame for {_TIMEOUT_S:.0f} s") from error
        return taken_now(self._turn.apply(image))

    def close(self) -> None:
        """Stops the camera and lets go of it."""
        if not self._closed:
            self._closed = True
            self._camera.stop()
            self._camera.close()


def _configure(camera: Any, size: tuple[int, int], turn: Turn) -> str:
    """Name of the stream that gives RGB at the low resolution."""
    small, large = {"size": size, "format": _FORMAT}, {"size": (2 * size[0], 2 * size[1]), "format": "YUV420"}
    common = {"buffer_count": _BUFFERS, "queue": False, **_whole_view(camera.sensor_modes, large["size"])}
    common |= _transform(turn)
    try:
        camera.configure(camera.create_video_configuration(main=large, lores=small, **common))
        return "lores"
    except RuntimeError as error:
        if "YUV" not in str(error):
            raise
    camera.configure(camera.create_video_configuration(main=small, **common))
    return "main"


def _transform(turn: Turn) -> dict[str, Any]:
    """What libcamera, which picamera2 itself needs, calls the turn; nothing for none and for quarter turns."""
    if turn.mirrors is None or not any(turn.mirrors):
        return {}
    import libcamera

    return {"transform": libcamera.Transform(hflip=turn.mirrors[0], vflip=turn.mirrors[1])}


def _whole_view(modes: Sequence[dict[str, Any]], size: Any) -> dict[str, Any]:
    """The smallest sensor mode that shows all of the sensor and gives `size`; some small modes show only its middle."""
    widest = max((mode["crop_limits"][2] * mode["crop_limits"][3] for mode in modes), default=0)
    whole = [
        mode
        for mode in modes
        if mode["crop_limits"][2] * mode["crop_limits"][3] == widest
        and mode["size"][0] >= size[0]
        and mode["size"][1] >= size[1]
    ]
    if not whole:
        return {}
    smallest = min(whole, key=lambda mode: (mode["size"][0] * mode["size"][1], mode["bit_depth"]))
    return {"sensor": {"output_size": smallest["size"], "bit_depth": smallest["bit_depth"]}}


def _picamera2() -> Any:
    """The module; raises MissingDependencyError naming what to install."""
    try:
        import picamera2
    except ImportError as error:
        raise MissingDependencyError(
            "a Raspberry Pi's camera needs picamera2: apt install python3-picamera2, and a venv made with "
            "--system-site-packages "
            "(USB cameras: --source 0 with pip install 'edge-effnet[camera]')"
        ) from error
    return picamera2
