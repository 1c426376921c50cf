"""Resizing, cropping and normalising, against PIL and arithmetic written out here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.photos import synthetic_photo

from edge_effnet import Preprocessing, cropping
from edge_effnet.cropping import resize_and_crop
from edge_effnet.decoding import Photo, read_photo
from edge_effnet.errors import UsageError
from edge_effnet.framing import shorter_side
from edge_effnet.preprocessing import IMAGENET_MEAN, IMAGENET_STD, resize_for_crop_pct

HALF = (0.5, 0.5, 0.5)


def torchvision_transform(image: Image.Image, resize: int, crop: int, method: Image.Resampling) -> Image.Image:
    """transforms.functional.resize and center_crop of torchvision 0.28, for images at least as large as the crop."""
    width, height = image.size
    size = (resize, int(resize * height / width)) if width <= height else (int(resize * width / height), resize)
    image = image.resize(size, method)
    top, left = round((image.height - crop) / 2.0), round((image.width - crop) / 2.0)
    return image.crop((left, top, left + crop, top + crop))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("size", "resize", "crop"),
    [
        ((80, 64), 40, 32),
        ((100, 67), 40, 32),
        ((64, 80), 40, 32),
        ((64, 64), 64, 32),
        ((61, 47), 37, 32),
        ((47, 61), 37, 30),
        ((333, 91), 32, 32),
        ((20, 30), 64, 64),
    ],
)
def test_the_same_pixels_as_pil(size: tuple[int, int], resize: int, crop: int, interpolation: str) -> None:
    image = synthetic_photo(1, *size)
    method = Image.Resampling.BICUBIC if interpolation == "bicubic" else Image.Resampling.BILINEAR
    expected = np.asarray(torchvision_transform(image, resize, crop, method))
    found = Preprocessing(resize, crop, interpolation).pixels(image)  # type: ignore[arg-type]
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def test_the_two_interpolations_differ() -> None:
    image = synthetic_photo(1)
    assert (Preprocessing(32, 32, "bilinear").pixels(image) != Preprocessing(32, 32, "bicubic").pixels(image)).any()


def test_it_is_antialiased() -> None:
    """Shrinking a checkerboard gives grey; without antialiasing single pixels would survive."""
    board = Image.fromarray(np.kron(np.indices((128, 128)).sum(0) % 2, np.ones((1, 1))).astype(np.uint8) * 255).convert(
        "RGB"
    )
    pixels = Preprocessing(32, 32, "bilinear").pixels(board)
    assert np.abs(pixels.astype(int) - 128).max() <= 8


@pytest.mark.parametrize(("margin", "offset"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (7, 4)])
def test_crop_offsets_round_half_to_even(margin: int, offset: int) -> None:
    """torchvision: int(round((side - crop) / 2)); round(0.5) is 0, round(1.5) is 2, round(2.5) is 2."""
    columns = np.arange(32 + margin, dtype=np.uint8)
    image = Image.fromarray(np.repeat(np.repeat(columns[None, :, None], 32, 0), 3, 2))
    pixels = np.asarray(resize_and_crop(image, resize=32, crop=32, interpolation="bicubic"))
    assert pixels[0, 0, 0] == offset
    assert pixels[0, -1, 0] == offset + 31


@given(st.integers(1, 300), st.integers(1, 300), st.integers(8, 48), st.integers(0, 16))
@settings(max_examples=40, deadline=None)
def test_any_photo_gives_the_crop(width: int, height: int, crop: int, more: int) -> None:
    assert (
        Preprocessing(crop + more, crop).pixels(Image.new("RGB", (width, height), (10, 20, 30))).tolist()
        == [[[10, 20, 30]] * crop] * crop
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 1), (3000, 40), (2, 2)])
def test_extreme_shapes(size: tuple[int, int]) -> None:
    pixels = Preprocessing(36, 32).pixels(Image.new("RGB", size, (200, 100, 50)))
    assert pixels.shape == (32, 32, 3)
    assert (pixels == (200, 100, 50)).all()


@pytest.mark.parametrize(
    ("size", "pct", "expected"),
    [(224, 0.875, 256), (240, 0.882, 272), (260, 0.89, 292), (300, 0.904, 331), (380, 0.92, 413), (224, 1.0, 224)],
)
def test_timms_resize_is_the_floor(size: int, pct: float, expected: int) -> None:
    assert resize_for_crop_pct(size, pct) == math.floor(size / pct) == expected


@pytest.mark.parametrize("pct", [0.0, -0.5, 1.01, math.nan])
def test_an_impossible_share(pct: float) -> None:
    with pytest.raises(UsageError, match=r"crop-pct .* is not from 0.01 to 1"):
        resize_for_crop_pct(224, pct)


@pytest.mark.parametrize(("mean", "std"), [(IMAGENET_MEAN, IMAGENET_STD), (HALF, HALF)])
def test_normalising(mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    expected = (pixels.astype(np.float64) / 255 - np.array(mean)) / np.array(std)
    found = Preprocessing(7, 5, mean=mean, std=std).normalise(pixels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_a_bgr_network_gets_its_channels_and_their_statistics() -> None:
    """mean and std are those of R, G, B whatever the network's order."""
    image = Image.new("RGB", (32, 32), (255, 0, 51))
    settings_bgr = Preprocessing(32, 32, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0), channels="bgr")
    pixels = settings_bgr.pixels(image)
    assert pixels[0, 0].tolist() == [51, 0, 255]
    np.testing.assert_allclose(settings_bgr.normalise(pixels)[0, 0], [(0.2 - 0.3) / 4, -0.1, 0.9], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": 0}, "resize 64 and crop 0 don't fit; expected resize ≥ crop ≥ 1"),
        ({"resize": 31, "crop": 32}, "resize 31 and crop 32 don't fit"),
        (
            {"interpolation": "cubic"},
            "pillow's interpolation 'cubic'; expected nearest, box, bilinear, hamming, bicubic or lanczos",
        ),
        ({"channels": "rgba"}, "channels 'rgba'; expected rgb, bgr or grey"),
        ({"std": (1.0, 0.0, 1.0)}, "expected finite numbers, std above 0"),
        ({"std": (1.0, math.inf, 1.0)}, "expected finite numbers"),
        ({"mean": (math.nan, 0.0, 0.0)}, "expected finite numbers"),
    ],
)
def test_values_that_cannot_be_meant(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Preprocessing(**{"resize": 64, "crop": 64, **changes})


def test_a_photo_too_long_to_resize_whole() -> None:
    """1 × 400,000 to a side of 260 would be 27 Gpx; only what the crop keeps is computed."""
    column = np.repeat(np.arange(400_000)[:, None] // 100_000 * 60, 1, 1).astype(np.uint8)
    pixels = Preprocessing(260, 224).pixels(Image.fromarray(column).convert("RGB"))
    assert pixels.shape == (224, 224, 3)
    assert set(np.unique(pixels)) <= set(range(60, 121))


@pytest.mark.parametrize("size", [(300, 12), (12, 300)])
def test_resizing_only_the_crop_gives_the_same(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    image, preprocessing = synthetic_photo(2, *size), Preprocessing(37, 32)
    whole = preprocessing.pixels(image)
    monkeypatch.setattr("edge_effnet.cropping.MAX_PIXELS", 1)
    assert np.abs(preprocessing.pixels(image).astype(int) - whole).max() <= 1


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@given(st.integers(20, 300), st.integers(20, 300), st.integers(12, 48), st.integers(0, 16), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_computing_the_crop_alone_is_at_most_one_level_off(
    interpolation: str, width: int, height: int, crop: int, more: int, seed: int
) -> None:
    """PIL's float32 box may tip a value that lies on the edge between two levels, never more."""
    preprocessing, image = Preprocessing(crop + more, crop, interpolation), synthetic_photo(seed, width, height)  # type: ignore[arg-type]
    off = np.abs(preprocessing.quick_pixels(read_photo(image)).astype(int) - preprocessing.pixels(image))
    assert off.shape == (crop, crop, 3)
    assert off.max() <= 1


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (511, 333), (300, 300)])
def test_computing_the_crop_alone_hardly_changes_a_pixel(size: tuple[int, int]) -> None:
    preprocessing, image = Preprocessing(256, 224), synthetic_photo(3, *size)
    off = preprocessing.quick_pixels(read_photo(image)) != preprocessing.pixels(image)
    assert off.mean() < 0.002


@pytest.mark.parametrize("size", [(300, 100), (100, 300), (40, 44), (20, 30)])
def test_long_and_small_photos_are_resized_whole(size: tuple[int, int]) -> None:
    preprocessing, image = Preprocessing(37, 32), synthetic_photo(2, *size)
    np.testing.assert_array_equal(preprocessing.quick_pixels(read_photo(image)), preprocessing.pixels(image))


@pytest.mark.parametrize(
    ("size", "whole"),
    [
        ((180, 100), False),
        ((100, 180), False),
        ((181, 100), True),
        ((100, 181), True),
        ((53, 53), False),
        ((52, 53), True),
        ((53, 52), True),
    ],
)
def test_which_photos_are_resized_whole(size: tuple[int, int], whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 1.8 times as long as wide, or less than 16 pixels larger than the resize."""
    calls: list[str] = []
    monkeypatch.setattr(cropping, "resize_and_crop", lambda image, **_: calls.append("whole") or image)
    Preprocessing(37, 32).quick_pixels(read_photo(synthetic_photo(2, *size)))
    assert calls == ["whole"] * whole


@pytest.mark.parametrize(
    ("size", "reduced", "columns_first"),
    [((90, 99), 1, True), ((99, 90), 1, False), ((90, 90), 1, False), ((90, 99), 2, False)],
)
def test_only_tall_photos_of_full_size_need_their_columns_first(
    size: tuple[int, int], reduced: int, columns_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(cropping, "_columns_first", lambda image, *_: calls.append("columns") or image)
    extent = (0.0, 0.0, float(size[0]), float(size[1]))
    Preprocessing(37, 32).quick_pixels(Photo(synthetic_photo(2, *size), (size[0] * reduced, size[1] * reduced), extent))
    assert calls == ["columns"] * columns_first


@pytest.mark.parametrize("method", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize(
    ("top", "bottom"), [(100, 132), (100, 148), (100, 164), (97, 193), (3, 99), (0, 64), (240, 300)]
)
def test_the_rows_that_the_crop_needs_are_enough(method: Image.Resampling, top: int, bottom: int) -> None:
    """Against all rows of noise, where a missing one would show."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 40, 3), np.uint8))
    found = cropping._columns_first(image, (4.0, top, 36.0, bottom), 32, method)
    narrow = image.resize((32, 300), method, box=(4.0, 0, 36.0, 300))
    np.testing.assert_array_equal(found, narrow.resize((32, 32), method, box=(0, top, 32, bottom)))


@pytest.mark.parametrize("size", [(300, 12), (12, 300), (40, 40)])
def test_from_which_size_on_only_the_crop_is_resized(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    boxes: list[Any] = []
    real = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, *words, box=None: boxes.append(box) or real(self, *words, box=box)
    )
    pixels = math.prod(shorter_side(size, 37))
    for limit, whole in ((pixels, True), (pixels - 1, False)):
        monkeypatch.setattr(cropping, "MAX_PIXELS", limit)
        resize_and_crop(synthetic_photo(2, *size), resize=37, crop=32, interpolation="bicubic")
        assert (boxes.pop() is None) == whole


def test_a_table_holds_every_pixel() -> None:
    assert Preprocessing(8, 8).tables().shape == (3, 256)


def test_to_and_from_the_document() -> None:
    original = Preprocessing(37, 32, "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bgr")
    assert Preprocessing.from_dict(original.to_dict()) == original
    assert original.to_dict()["mean"] == [0.1, 0.2, 0.3]
    without = {key: value for key, value in original.to_dict().items() if key != "channels"}
    assert Preprocessing.from_dict(without).channels == "rgb"


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [1, 2]},
        {"mean": None},
        {"std": "abc"},
        {"resize": "x"},
        {"crop": None},
        {"resize": math.inf},
        {"interpolation": ["bicubic"]},
    ],
)
def test_a_document_with_wrong_values(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="preprocessing: "):
        Preprocessing.from_dict({**Preprocessing(32, 32).to_dict(), **change})
    with pytest.raises(UsageError, match="preprocessing: 'mean' in "):
        Preprocessing.from_dict({"resize": 32, "crop": 32, "interpolation": "bicubic"})


def test_the_published_statistics() -> None:
    """torchvision's and timm's; a checkpoint's training depends on every digit."""
    assert IMAGENET_MEAN == (0.485, 0.456, 0.406)
    assert IMAGENET_STD == (0.229, 0.224, 0.225)


def test_the_largest_input_that_statistics_may_make() -> None:
    Preprocessing(8, 8, std=(1e-6, 1.0, 1.0), mean=(0.0, 0.0, 0.0))
    Preprocessing(8, 8, std=(0.51e-6, 1.0, 1.0), mean=(0.5, 0.0, 0.0))
    for std, mean in ((1 / 1_000_000.5, 0.0), (1 / 1_000_000.5, 1.0), (1.99e-6, -1.0)):
        with pytest.raises(UsageError, match="make inputs above"):
            Preprocessing(8, 8, std=(1.0, std, 1.0), mean=(0.0, mean, 0.0))


def test_preprocessing_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        Preprocessing(8, 8).crop = 4  # type: ignore[misc]


@pytest.mark.parametrize("extent", [(0, 0, 60, 48), (4, 0, 64, 48), (0, 3, 60, 51), (5, 2, 65, 50)])
def test_a_photo_that_begins_inside_its_image(extent: tuple[int, int, int, int]) -> None:
    """As a reduced JPEG that was turned: the same as the part of the image that is the photo, at most one level
    apart.
    """
    image = synthetic_photo(4, 66, 52)
    part = image.crop(extent)
    found = Preprocessing(24, 20).quick_pixels(Photo(image, (120, 96), tuple(map(float, extent))))  # type: ignore[arg-type]
    expected = Preprocessing(24, 20).quick_pixels(Photo(part, (120, 96), (0.0, 0.0, 60.0, 48.0)))
    assert np.abs(found.astype(int) - expected).max() <= 1
