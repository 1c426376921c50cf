"""Other libraries' resizing, against the libraries where they are here, and against TensorFlow's rules by hand."""

from __future__ import annotations

import numpy as np
import pytest
from support.photos import synthetic_photo

from edge_effnet import Preprocessing
from edge_effnet.framing import frame_of
from edge_effnet.preprocessing import INTERPOLATIONS
from edge_effnet.resizers import AXES, resize_pixels

SIZES = [((37, 53), (24, 32)), ((20, 31), (45, 64)), ((64, 48), (32, 24)), ((7, 90), (30, 20)), ((1, 5), (4, 4))]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_names_are_the_tables() -> None:
    assert {name: set(kinds) for name, kinds in INTERPOLATIONS.items() if name != "pillow"} == {
        name: set(axes) for name, axes in AXES.items()
    }


@pytest.mark.parametrize(("source", "result"), SIZES)
@pytest.mark.parametrize(("kind", "tolerance"), [("bilinear", 0), ("nearest", 0), ("area", 1), ("bicubic", 1)])
def test_opencv(source: tuple[int, int], result: tuple[int, int], kind: str, tolerance: int) -> None:
    cv2 = pytest.importorskip("cv2")
    methods = {"bilinear": 1, "nearest": 0, "area": 3, "bicubic": 2}
    expected = cv2.resize(picture(*source), result[::-1], interpolation=methods[kind])
    found = resize_pixels(picture(*source), result[::-1], resizer="opencv", interpolation=kind)
    assert np.abs(found.astype(int) - expected).max() <= tolerance


@pytest.mark.torch
@pytest.mark.parametrize(("source", "result"), SIZES)
@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [("bilinear", 0), ("nearest", 0), ("bilinear-antialias", 0), ("bicubic-antialias", 0), ("bicubic", 2)],
)
def test_torch(source: tuple[int, int], result: tuple[int, int], kind: str, tolerance: int) -> None:
    torch = pytest.importorskip("torch")
    options = {} if kind == "nearest" else {"antialias": kind.endswith("antialias")}
    tensor = torch.from_numpy(picture(*source).transpose(2, 0, 1).copy())[None]
    mode = kind.removesuffix("-antialias")
    expected = torch.nn.functional.interpolate(tensor, size=result, mode=mode, **options)[0].numpy().transpose(1, 2, 0)
    found = resize_pixels(picture(*source), result[::-1], resizer="torch", interpolation=kind)
    assert np.abs(found.astype(int) - expected).max() <= tolerance


def _bilinear_at(values: np.ndarray, place: float) -> np.ndarray:
    low = int(np.floor(place))
    first, second = values[max(low, 0)], values[min(int(np.ceil(place)), len(values) - 1)]
    return first + (second - first) * (place - low)


@pytest.mark.parametrize(("source", "result"), SIZES)
def test_tensorflows_bilinear_pixel_by_pixel(source: tuple[int, int], result: tuple[int, int]) -> None:
    image = picture(*source).astype(np.float64)
    expected = np.empty((*result, 3))
    for row in range(result[0]):
        for column in range(result[1]):
            down = (row + 0.5) * source[0] / result[0] - 0.5
            across = (column + 0.5) * source[1] / result[1] - 0.5
            lines = np.stack([_bilinear_at(line, across) for line in image])
            expected[row, column] = _bilinear_at(lines, down)
    found = resize_pixels(picture(*source), result[::-1], resizer="tensorflow", interpolation="bilinear")
    assert np.abs(found - expected).max() <= 0.5001


@pytest.mark.parametrize("kind", ["bilinear", "nearest", "bicubic", "area", "bilinear-antialias"])
def test_a_flat_picture_stays_flat(kind: str) -> None:
    flat = np.full((30, 41, 3), 77, np.uint8)
    found = resize_pixels(flat, (17, 50), resizer="tensorflow", interpolation=kind)
    assert found.shape == (50, 17, 3)
    assert (found == 77).all()


def test_tensorflows_area_of_whole_pixels_is_their_mean() -> None:
    image = picture(12, 20)
    found = resize_pixels(image, (5, 4), resizer="tensorflow", interpolation="area")
    assert np.abs(found - image.reshape(4, 3, 5, 4, 3).mean(axis=(1, 3))).max() <= 0.5001


def test_frames() -> None:
    shorter = frame_of((100, 50), resize=(40, 40), crop=(32, 32), mode="shorter")
    assert (shorter.size, shorter.box) == ((80, 40), (24, 4, 56, 36))
    squashed = frame_of((100, 50), resize=(40, 40), crop=(32, 32), mode="squash")
    assert (squashed.size, squashed.box) == ((40, 40), (4, 4, 36, 36))
    padded = frame_of((100, 50), resize=(32, 32), crop=(32, 32), mode="pad")
    assert (padded.size, padded.box, padded.filled) == ((32, 16), (0, -8, 32, 24), True)
    covering = frame_of((100, 50), resize=(64, 96), crop=(64, 96), mode="shorter")
    assert covering.size == (128, 64)


@pytest.mark.parametrize("mode", ["squash", "pad", "longer"])
@pytest.mark.parametrize("resizer", INTERPOLATIONS)
def test_every_mode_gives_the_networks_size(mode: str, resizer: str) -> None:
    said = Preprocessing((40, 56), (40, 56), "bilinear", mode=mode, resizer=resizer, fill=(9, 8, 7))  # type: ignore[arg-type]
    pixels = said.pixels(synthetic_photo(1, 90, 40))
    assert pixels.shape == (40, 56, 3)
    assert (pixels[0, 0].tolist() == [9, 8, 7]) == (mode != "squash")
    grey = Preprocessing(40, 40, "bilinear", (0.4,), (0.2,), channels="grey", mode=mode, resizer=resizer)  # type: ignore[arg-type]
    assert grey.normalise(grey.pixels(synthetic_photo(1, 90, 40))).shape == (40, 40, 1)
