"""Stands in for the hardware module picamera2: real photos through the same calls, and the same refusals.

FAKE_PICAMERA2 in the environment: "pisp" (a Pi 5, the default), "vc4" (before it: the small stream is YUV alone),
"none" (no camera), "hangs" (no frame ever comes).
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image

PHOTO = Path(__file__).parents[3] / "examples" / "photos" / "coffee.jpg"
#: What was asked for, for tests in the same process.
CONFIGURATIONS: list[dict] = []
CLOSED: list["Picamera2"] = []


class Picamera2:
    def __init__(self) -> None:
        self.kind = os.environ.get("FAKE_PICAMERA2", "pisp")
        if self.kind == "none":
            [][0]
        self.configuration = None
        self.started = False

    def __enter__(self) -> "Picamera2":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def sensor_modes(self) -> list[dict]:
        """Those of the Camera Module 2: its two small ones show the middle only."""
        return [
            {"size": (640, 480), "bit_depth": 10, "crop_limits": (1000, 752, 1280, 960)},
            {"size": (1640, 1232), "bit_depth": 10, "crop_limits": (0, 0, 3280, 2464)},
            {"size": (1920, 1080), "bit_depth": 10, "crop_limits": (680, 692, 1920, 1080)},
            {"size": (3280, 2464), "bit_depth": 10, "crop_limits": (0, 0, 3280, 2464)},
        ]

    def create_video_configuration(
        self, main=None, lores=None, buffer_count=6, queue=True, sensor=None, transform=None
    ):
        return {
            "main": main,
            "lores": lores,
            "buffer_count": buffer_count,
            "queue": queue,
            "sensor": sensor,
            "transform": transform,
        }

    def configure(self, configuration: dict) -> None:
        assert not self.started
        if (
            configuration["lores"] is not None
            and self.kind == "vc4"
            and not configuration["lores"]["format"].startswith("YUV")
        ):
            raise RuntimeError("lores stream must be YUV")
        CONFIGURATIONS.append(configuration)
        self.configuration = configuration

    def start(self) -> None:
        assert self.configuration is not None
        self.started = True

    def capture_array(self, name: str = "main", wait: object = None) -> np.ndarray:
        assert self.started
        if self.kind == "hangs":
            assert isinstance(wait, float)
            raise TimeoutError("timed out")
        stream = self.configuration[name]
        assert stream["format"] in ("BGR888", "RGB888"), "another format has another shape"
        rgb = np.asarray(Image.open(PHOTO).convert("RGB").resize(stream["size"]))
        transform = self.configuration.get("transform")
        if transform is not None:
            rgb = np.ascontiguousarray(rgb[:: -1 if transform.vflip else 1, :: -1 if transform.hflip else 1])
        return rgb if stream["format"] == "BGR888" else np.ascontiguousarray(rgb[:, :, ::-1])

    def stop(self) -> None:
        self.started = False

    def close(self) -> None:
        assert not self.started
        CLOSED.append(self)
