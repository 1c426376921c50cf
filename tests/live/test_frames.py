from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_effnet.errors import ImageError, SourceError, UsageError
from edge_effnet.live import Region
from edge_effnet.live.frames import check_frame_size, taken_now


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3), (4, 4, 1)])
def test_a_frame_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"frame is uint8\[.*\]; expected uint8\[height, width, 3\]"):
        taken_now(np.zeros(shape, np.uint8))


def test_a_frame_of_another_type() -> None:
    with pytest.raises(ImageError, match="frame is float32"):
        taken_now(np.zeros((4, 4, 3), np.float32))


def test_a_region_is_a_view() -> None:
    image = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)
    part = Region(0.25, 0.5, 0.5, 0.5).crop(image)
    assert part.base is not None
    np.testing.assert_array_equal(part, image[5:10, 5:15])
    np.testing.assert_array_equal(Region(0, 0, 1, 1).crop(image), image)


@given(*[st.floats(0, 1)] * 2, *[st.floats(0.001, 1)] * 2, st.integers(1, 50), st.integers(1, 50))
def test_a_region_has_at_least_one_pixel(
    left: float, top: float, width: float, height: float, rows: int, columns: int
) -> None:
    left, top = left * (1 - width), top * (1 - height)
    part = Region(left, top, width, height).crop(np.zeros((rows, columns, 3), np.uint8))
    assert 1 <= part.shape[0] <= rows
    assert 1 <= part.shape[1] <= columns


@pytest.mark.parametrize(
    "values", [(0.5, 0, 0.6, 1), (0, 0, 0, 1), (-0.1, 0, 0.5, 0.5), (0, 0, 1, float("nan")), (0, 0, 640, 480)]
)
def test_a_region_outside_the_picture(values: tuple[float, float, float, float]) -> None:
    with pytest.raises(UsageError, match="is not inside the picture; expected left,top,width,height as fractions"):
        Region(*values)


def test_frames_have_a_bound() -> None:
    with pytest.raises(ImageError, match="frame has 10000×5001 pixels; at most 50,000,000 are taken"):
        taken_now(np.broadcast_to(np.zeros(3, np.uint8), (5001, 10000, 3)))
    with pytest.raises(SourceError, match="film has frames of 16000×16000 pixels; at most 16,777,216 are decoded"):
        check_frame_size(16000, 16000, "film")
    check_frame_size(4096, 4096, "film")
