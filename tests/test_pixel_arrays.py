"""Frames as cameras give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_effnet.decoding import decode
from edge_effnet.errors import ImageError, UsageError
from edge_effnet.pixel_arrays import rgb_array

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
FOURTH = np.zeros((6, 8, 1), np.uint8)
FRAMES = {
    "rgb": RGB,
    "bgr": RGB[:, :, ::-1],
    "rgba": np.concatenate((RGB, FOURTH), axis=2),
    "bgra": np.concatenate((RGB[:, :, ::-1], FOURTH), axis=2),
}


@pytest.mark.parametrize("channels", FRAMES)
@pytest.mark.parametrize(
    "lying", [np.ascontiguousarray, np.asfortranarray, lambda array: array[::-1, ::-1][::-1, ::-1]]
)
def test_colours(channels: Any, lying: Any) -> None:
    frame = lying(FRAMES[channels])
    np.testing.assert_array_equal(np.asarray(decode(frame, channels=channels)), RGB)
    np.testing.assert_array_equal(rgb_array(frame, channels), RGB)


def test_grey() -> None:
    grey = RGB[:, :, 0]
    for frame in (grey, grey[:, :, None]):
        for found in (np.asarray(decode(frame, channels="grey")), rgb_array(frame, "grey")):
            np.testing.assert_array_equal(found, np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize("padding", [0, 24])
def test_yuv420_as_opencv_has_it(padding: int) -> None:
    """Within one level: OpenCV computes in fixed point."""
    cv2 = pytest.importorskip("cv2")
    random = np.random.default_rng(1)
    height, width = 16, 40
    y = random.integers(0, 256, (height, width), np.uint8)
    u, v = random.integers(0, 256, (2, height // 2, width // 2), np.uint8)
    packed = np.concatenate((y.ravel(), u.ravel(), v.ravel())).reshape(3 * height // 2, width)
    expected = cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420)
    stride = width + padding
    luma = np.pad(y, ((0, 0), (0, padding)))
    chroma = [np.pad(plane, ((0, 0), (0, padding // 2))).reshape(-1, stride) for plane in (u, v)]
    frame = np.concatenate((luma, *chroma))
    assert frame.shape == (3 * height // 2, stride)
    found = rgb_array(frame, "yuv420", width=width)
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("frame", "channels", "message"),
    [
        (np.zeros((6, 8, 4), np.uint8), "rgb", r"expected uint8\[height, width, 3\] for channels='rgb'; this may be "),
        (np.zeros((6, 8, 4), np.uint8), "rgb", "channels='rgba' or 'bgra'"),
        (np.zeros((6, 8), np.uint8), "rgb", "channels='grey' or 'yuv420'"),
        (np.zeros((5, 7), np.uint8), "yuv420", "this may be channels='grey'"),
        (np.zeros((6, 8, 3), np.float32), "rgb", r"frame is float32\[6, 8, 3\]; expected uint8"),
        (np.zeros((0, 8, 3), np.uint8), "rgb", r"frame is uint8\[0, 8, 3\]"),
    ],
)
def test_another_shape_names_the_argument(frame: Any, channels: Any, message: str) -> None:
    for convert in (lambda: decode(frame, channels=channels), lambda: rgb_array(frame, channels)):
        with pytest.raises(ImageError, match=message):
            convert()


def test_an_unknown_order_and_a_width_that_does_not_fit() -> None:
    with pytest.raises(UsageError, match="channels is 'gbr'; expected one of rgb, bgr, rgba, bgra, grey, yuv420"):
        decode(RGB, channels="gbr")  # type: ignore[arg-type]
    for width in (7, 10):
        with pytest.raises(ImageError, match=f"with width {width}; expected an even width"):
            rgb_array(np.zeros((6, 8), np.uint8), "yuv420", width=width)
