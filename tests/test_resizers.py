"""Other libraries' resizing, against the libraries where they are here, and against what TensorFlow 2.21 gave."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.photos import synthetic_photo

from edge_effnet import Preprocessing
from edge_effnet.framing import frame_of
from edge_effnet.preprocessing import INTERPOLATIONS
from edge_effnet.products import resize_by_products
from edge_effnet.resizers import resize_pixels
from edge_effnet.taps import AXES, Taps, torch_whole

SIZES = [((37, 53), (24, 32)), ((20, 31), (45, 64)), ((64, 48), (32, 24)), ((7, 90), (30, 20)), ((1, 5), (4, 4))]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_names_are_the_tables() -> None:
    assert {name: set(kinds) for name, kinds in INTERPOLATIONS.items() if name != "pillow"} == {
        name: set(axes) for name, axes in AXES.items()
    }


#: Interpolation → its number in OpenCV, and levels that it may be apart.
OPENCV = {"bilinear": (1, 0), "nearest": (0, 0), "area": (3, 1), "bicubic": (2, 1)}
#: OpenCV takes whole numbers for cells' borders here, which 1 / (18 / 44) misses by a rounding.
WHOLE = [((44, 22), (18, 112)), ((53, 88), (52, 100))]


@pytest.mark.parametrize(("source", "result"), SIZES + WHOLE)
def test_opencv(source: tuple[int, int], result: tuple[int, int]) -> None:
    check_opencv(picture(*source), result)


def check_opencv(photo: np.ndarray, result: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    for kind, (method, tolerance) in OPENCV.items():
        expected = cv2.resize(photo, result[::-1], interpolation=method)
        found = resize_pixels(photo, result[::-1], resizer="opencv", interpolation=kind)
        assert np.abs(found.astype(int) - expected).max() <= tolerance, kind


@pytest.mark.torch
@pytest.mark.parametrize(("source", "result"), SIZES)
def test_torch(source: tuple[int, int], result: tuple[int, int]) -> None:
    check_torch(picture(*source), result)


def check_torch(photo: np.ndarray, result: tuple[int, int]) -> None:
    """torch's own kernels for uint8; without AVX2 it computes in float, which clips bicubic's overshoot at the end."""
    torch = pytest.importorskip("torch")
    own = torch.backends.cpu.get_cpu_capability().startswith("AVX")
    tensor = torch.from_numpy(photo.transpose(2, 0, 1).copy())[None]
    for kind in (kind for kind in INTERPOLATIONS["torch"] if own or not kind.startswith("bicubic")):
        options = {} if kind == "nearest" else {"antialias": kind.endswith("antialias")}
        mode = kind.removesuffix("-antialias")
        made = torch.nn.functional.interpolate(tensor, size=result, mode=mode, **options)
        found = resize_pixels(photo, result[::-1], resizer="torch", interpolation=kind)
        assert np.abs(found.astype(int) - made[0].numpy().transpose(1, 2, 0)).max() <= (0 if own else 1), kind


@pytest.mark.torch
@pytest.mark.parametrize("result", [(50, 60), (30, 100), (50, 100), (1, 99)])
def test_torch_where_a_side_stays_as_long_as_it_is(result: tuple[int, int]) -> None:
    check_torch(picture(50, 100), result)


@pytest.mark.torch
@pytest.mark.parametrize(("source", "result"), [((6, 290), (6, 289)), ((6, 179), (6, 180)), ((281, 241), (61, 238))])
def test_torch_where_weights_are_nearly_one(source: tuple[int, int], result: tuple[int, int]) -> None:
    """A weight's precision is of the largest one, also while those beyond the border are added to others."""
    check_torch(np.random.default_rng(0).integers(0, 256, (*source, 3), dtype=np.uint8), result)


def test_a_product_keeps_its_last_bit() -> None:
    """Weights of 17 bits, and levels above 128: one bit more than float32 has."""
    photo = np.random.default_rng(1).integers(128, 256, (281, 2000, 3), dtype=np.uint8)
    rows, columns = (torch_whole(AXES["torch"]["bilinear-antialias"](*sides)) for sides in ((281, 61), (2000, 2000)))
    assert rows.precision == 17
    found = resize_by_products(photo, rows, columns)
    np.testing.assert_array_equal(found, _summed(_summed(photo, columns, axis=1), rows, axis=0))


#: (height, width) → (height, width); the last by weights too fine for float32.
SHAPES = [((37, 53), (24, 32)), ((20, 31), (45, 64)), ((1, 5), (4, 4)), ((480, 640), (98, 131)), ((60, 900), (5, 31))]


@pytest.mark.parametrize(("source", "result"), SHAPES)
@pytest.mark.parametrize("kind", ["bicubic", "bilinear-antialias", "bicubic-antialias"])
def test_products_are_the_sums_of_whole_numbers(kind: str, source: tuple[int, int], result: tuple[int, int]) -> None:
    photo = picture(*source) // 128 * 255  # black and white: bicubic swings beyond both
    rows, columns = (torch_whole(AXES["torch"][kind](*sides)) for sides in zip(source, result, strict=True))
    wide = _summed(photo, columns, axis=1)
    found = resize_by_products(photo, rows, columns)
    np.testing.assert_array_equal(found, _summed(wide, rows, axis=0))


def _summed(pixels: np.ndarray, taps: Taps, *, axis: int) -> np.ndarray:
    read = np.moveaxis(pixels.astype(np.int64), axis, 0)[taps.indices]
    total = np.einsum("nt...,nt->n...", read, taps.weights.astype(np.int64)) + (1 << (taps.precision - 1))
    return np.moveaxis(np.clip(total >> taps.precision, 0, 255), 0, axis)


GOLDEN = Path(__file__).parent / "golden" / "resize" / "tensorflow.npz"
#: Of the float32 that TensorFlow gives, before it is rounded: 1e-5 of the range.
ROUNDING = 255e-5


@pytest.mark.parametrize(("index", "kind"), [*itertools.product(range(4), INTERPOLATIONS["tensorflow"])])
def test_tensorflow(index: int, kind: str) -> None:
    with np.load(GOLDEN) as golden:
        photo, expected = golden[f"photo.{index}"], golden[f"{kind}.{index}"]
    found = resize_pixels(photo, expected.shape[1::-1], resizer="tensorflow", interpolation=kind)
    assert np.abs(found - np.clip(expected, 0, 255)).max() <= 0.5 + ROUNDING


@pytest.mark.parametrize(("resizer", "kind"), [(name, kind) for name, kinds in AXES.items() for kind in kinds])
def test_a_part_is_cut_from_the_whole(resizer: str, kind: str) -> None:
    whole = resize_pixels(picture(60, 90), (45, 70), resizer=resizer, interpolation=kind)
    part = resize_pixels(picture(60, 90), (45, 70), resizer=resizer, interpolation=kind, box=(3, 9, 40, 66))
    np.testing.assert_array_equal(part, whole[9:66, 3:40])


@pytest.mark.parametrize("resizer", ["opencv", "torch", "tensorflow", "pillow"])
def test_a_photo_that_would_be_too_long_is_cut_first(resizer: str) -> None:
    said = Preprocessing(32, 32, "nearest", resizer=resizer)  # type: ignore[arg-type]
    pixels = said.pixels(Image.new("RGB", (200_000, 2), (5, 6, 7)))
    assert pixels.reshape(-1, 3).tolist() == [[5, 6, 7]] * 32 * 32


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("seed", range(200))
def test_photos_of_odd_sizes(seed: int) -> None:
    random = np.random.default_rng(seed)
    photo = np.asarray(synthetic_photo(seed, *random.integers(20, 320, 2)))
    height, width = (int(side) for side in random.integers(8, 320, 2))
    check_opencv(photo, (height, width))
    check_torch(photo, (height, width))


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
