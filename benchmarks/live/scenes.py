"""A video that is the same every time: four scenes of the example photos, moved, dimmed and noised; cut hard."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import OutputError

#: Width and height of a frame.
FRAME_SIZE = (640, 480)
#: Frames a scene lasts: four scenes are the video of 300 frames.
SCENE_FRAMES = 75
FRAMES_PER_SECOND = 25.0
_NOISE_SIGMA = 8.0


@dataclass(frozen=True)
class Scene:
    """A photo, the part of it that the camera shows on average (left, top, width as fractions) and the labels that are
    right.
    """

    photo: str
    left: float
    top: float
    width: float
    labels: frozenset[str]


_CATS = frozenset({"tabby", "tiger cat", "Egyptian cat"})
#: Three changes of scene; the last one returns to the first.
SCENES: Sequence[Scene] = (
    Scene("coffee", 0.10, 0.05, 0.80, frozenset({"espresso"})),
    Scene("rocket", 0.10, 0.10, 0.80, frozenset({"missile", "projectile"})),
    Scene("chelsea", 0.10, 0.05, 0.80, _CATS),
    Scene("coffee", 0.15, 0.10, 0.75, frozenset({"espresso"})),
)


def video_frames(
    photos: Path, *, scenes: Sequence[Scene] = SCENES, scene_frames: int = SCENE_FRAMES, seed: int = 0
) -> Iterator[npt.NDArray[np.uint8]]:
    """uint8[480, 640, 3] RGB, `scene_frames` for each scene: the view drifts, the light falls and returns, every pixel
    has noise.
    """
    random = np.random.default_rng(seed)
    noise = random.normal(0.0, _NOISE_SIGMA, (2 * FRAME_SIZE[1], 2 * FRAME_SIZE[0], 3)).astype(np.float32)
    for scene in scenes:
        yield from _scene_frames(photos / f"{scene.photo}.jpg", scene, frames=scene_frames, noise=noise, random=random)


def _scene_frames(
    path: Path, scene: Scene, *, frames: int, noise: npt.NDArray[np.float32], random: np.random.Generator
) -> Iterator[npt.NDArray[np.uint8]]:
    from PIL import Image

    with Image.open(path) as opened:
        photo = opened.convert("RGB")
    for number in range(frames):
        phase = 2 * math.pi * number / frames
        left, top = scene.left + 0.06 * math.sin(phase), scene.top + 0.04 * math.sin(2 * phase)
        width = scene.width * photo.width
        height = min(width * FRAME_SIZE[1] / FRAME_SIZE[0], photo.height * (1 - top))
        box = (left * photo.width, top * photo.height, left * photo.width + width, top * photo.height + height)
        view = np.array(photo.resize(FRAME_SIZE, Image.Resampling.BILINEAR, box=box), np.float32)
        light = 0.75 + 0.25 * math.cos(phase)
        down, across = (
            int(random.integers(0, side)) for side in (FRAME_SIZE[1], FRAME_SIZE[0])
        )  # another part of the noise each time
        view *= light
        view += noise[down : down + FRAME_SIZE[1], across : across + FRAME_SIZE[0]]
        yield np.clip(np.rint(view, out=view), 0, 255, out=view).astype(np.uint8)


def write_video(path: Path, frames: Iterable[npt.NDArray[np.uint8]]) -> None:
    """A video file of the frames (Motion JPEG in AVI, which every OpenCV has), 25 a second. Needs OpenCV."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FRAMES_PER_SECOND, FRAME_SIZE)
    if not writer.isOpened():
        raise OutputError(f"OpenCV can't write {path}")
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
