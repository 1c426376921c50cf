"""Every kind of photo becomes an upright RGB image (`decoding.decode`), or an error that says why not."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.photos import synthetic_photo

from edge_effnet import Preprocessing
from edge_effnet.decoding import decode, read_photo
from edge_effnet.errors import ImageError

#: EXIF orientation → what undoes it (EXIF 2.3, tag 0x0112).
TRANSPOSED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(source: Any, **options: Any) -> Any:
    image = decode(source, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("orientation", TRANSPOSED)
def test_exif_orientation_is_applied(orientation: int) -> None:
    photo = synthetic_photo(0, 24, 16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    undo = TRANSPOSED[orientation]
    expected = photo if undo is None else photo.transpose(undo)
    np.testing.assert_array_equal(pixels(encoded(photo, exif=exif)), np.asarray(expected))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b""])
def test_broken_exif_is_ignored(exif: bytes) -> None:
    photo = synthetic_photo(0, 24, 16)
    assert pixels(encoded(photo, "JPEG", exif=exif)).shape == (16, 24, 3)


def slope(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards: a shifted or turned photo shows at once."""
    across, down = np.linspace(0, 255, width), np.linspace(0, 255, height)
    red, green = np.broadcast_to(across, (height, width)), np.broadcast_to(down[:, None], (height, width))
    return Image.fromarray(np.stack([red, green, np.full((height, width), 90.0)], -1).round().astype(np.uint8))


@pytest.mark.parametrize(
    ("size", "shortest", "expected", "scale"),
    [
        ((400, 304), 150, (200, 152), 2),
        ((400, 304), 153, (400, 304), 1),
        ((400, 304), 76, (100, 76), 4),
        ((400, 304), 38, (50, 38), 8),
        ((401, 307), 38, (51, 39), 8),
        ((304, 4000), 1, (38, 500), 8),
        ((400, 304), None, (400, 304), 1),
    ],
)
def test_a_jpeg_is_decoded_no_larger_than_needed(
    size: tuple[int, int], shortest: int | None, expected: tuple[int, int], scale: int
) -> None:
    photo = read_photo(encoded(slope(*size), "JPEG"), shortest=shortest)
    assert (photo.size, photo.image.size, photo.image.mode) == (size, expected, "RGB")
    assert photo.extent == (0, 0, size[0] / scale, size[1] / scale)


def test_only_jpegs_are_reduced() -> None:
    image = slope(400, 304)
    for source in (encoded(image), encoded(image, "WEBP"), image, np.asarray(image)):
        photo = read_photo(source, shortest=20)
        assert (photo.size, photo.image.size, photo.extent) == ((400, 304), (400, 304), (0, 0, 400, 304))


@pytest.mark.parametrize("size", [(401, 305), (305, 401), (391, 391)])
@pytest.mark.parametrize("orientation", TRANSPOSED)
def test_a_reduced_photo_is_upright_and_in_its_place(orientation: int, size: tuple[int, int]) -> None:
    """At 1/8 a pixel of the reduced JPEG spans 5 levels of the slope, and up to 7/8 of the last one lies outside the
    photo.
    """
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(slope(*size), "JPEG", exif=exif, quality=95)
    preprocessing = Preprocessing(19, 16)
    photo = read_photo(data, shortest=38)
    assert photo.image.size != photo.size == decode(data).size
    expected, found = preprocessing.pixels(decode(data)), preprocessing.quick_pixels(photo)
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_grey_and_cmyk_jpegs_are_reduced_too() -> None:
    for mode in ("L", "CMYK"):
        data = encoded(slope(400, 304).convert(mode), "JPEG", quality=95)
        reduced, whole = read_photo(data, shortest=76).image, decode(data)
        assert (reduced.size, reduced.mode) == ((100, 76), "RGB")
        assert (
            np.abs(np.asarray(reduced).astype(int) - np.asarray(whole.resize((100, 76), Image.Resampling.BOX))).max()
            <= 4
        )


def test_files_bytes_pil_and_arrays_are_one(tmp_path: Path) -> None:
    photo = synthetic_photo(0)
    expected = np.asarray(photo)
    (tmp_path / "a.png").write_bytes(encoded(photo))
    for source in (
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        encoded(photo),
        bytearray(encoded(photo)),
        memoryview(encoded(photo)),
        photo,
        expected,
    ):
        np.testing.assert_array_equal(pixels(source), expected)


def test_bgr_frames() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pixels(frame, channels="bgr"), frame[:, :, ::-1])
    np.testing.assert_array_equal(pixels(frame[::2, ::-1]), frame[::2, ::-1])


VIEWS = {
    "upside down": np.s_[::-1],
    "mirrored": np.s_[:, ::-1],
    "turned round": np.s_[::-1, ::-1, ::-1],
    "cut out": np.s_[1:4, 2:],
    "thinned": np.s_[::2, ::-2],
}


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("view", VIEWS)
def test_frames_that_are_views(view: str, channels: str) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)[VIEWS[view]]
    expected = frame if channels == "rgb" else frame[:, :, ::-1]
    np.testing.assert_array_equal(pixels(frame, channels=channels), expected)
    np.testing.assert_array_equal(pixels(np.asfortranarray(frame), channels=channels), expected)


def test_a_frame_may_be_overwritten_afterwards() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    kept, image = frame.copy(), decode(frame)
    frame[:] = 0
    np.testing.assert_array_equal(np.asarray(image), kept)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_formats(kind: str) -> None:
    assert (
        np.abs(pixels(encoded(Image.new("RGB", (8, 8), (200, 100, 50)), kind)).astype(int) - (200, 100, 50)).max() <= 3
    )


def test_the_ending_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(synthetic_photo(0)))
    assert pixels(tmp_path / "a.jpg").shape == (64, 80, 3)


def test_black_and_white_and_grey() -> None:
    assert pixels(encoded(Image.new("1", (2, 2), 1))).tolist() == [[[255] * 3] * 2] * 2
    assert (pixels(encoded(Image.new("L", (2, 2), 77))) == 77).all()


def test_transparency_is_laid_on_white() -> None:
    assert pixels(encoded(Image.new("RGBA", (1, 1), (255, 0, 0, 0)))).tolist() == [[[255, 255, 255]]]
    assert pixels(encoded(Image.new("RGBA", (1, 1), (255, 0, 0, 255)))).tolist() == [[[255, 0, 0]]]
    half = pixels(encoded(Image.new("RGBA", (1, 1), (255, 0, 0, 128))))[0, 0]
    assert np.abs(half.astype(int) - (255, 127, 127)).max() <= 1
    assert (pixels(encoded(Image.new("LA", (1, 1), (0, 0)))) == 255).all()
    assert (pixels(encoded(Image.new("LA", (1, 1), (9, 255)))) == 9).all()


def test_palettes() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    assert pixels(encoded(image)).tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert pixels(encoded(image, transparency=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    assert pixels(image.convert("PA")).tolist() == [[[10, 20, 30], [200, 100, 50]]]


def test_an_rgb_file_with_a_transparent_colour() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    found = pixels(encoded(image, transparency=(9, 9, 9)))
    assert found[0, 0].tolist() == [1, 2, 3]


def test_other_colour_spaces() -> None:
    red = Image.new("RGB", (8, 8), (250, 20, 30))
    for mode, options in (("CMYK", {"quality": 100}), ("YCbCr", {"quality": 100, "subsampling": 0})):
        found = pixels(encoded(red.convert(mode), "JPEG", **options))
        assert np.abs(found.astype(int) - (250, 20, 30)).max() <= 4, mode
        np.testing.assert_allclose(pixels(red.convert(mode)), np.asarray(red), atol=2)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_sixteen_bit_grey(dtype: str) -> None:
    """65535 is white; simply clipping would make everything above 255 white."""
    values = np.array([[0, 257, 32896, 65535]], dtype)
    mode = "I;16" if dtype == "<u2" else "I;16B"
    image = Image.frombytes(mode, (4, 1), values.tobytes())
    assert pixels(image)[0, :, 0].tolist() == [0, 1, 128, 255]
    if mode == "I;16":
        assert pixels(encoded(image))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_deep_grey() -> None:
    assert pixels(Image.fromarray(np.array([[0, 65535, 257 * 7]], np.int32)))[0, :, 0].tolist() == [0, 255, 7]
    assert pixels(Image.fromarray(np.array([[0, 128, 255]], np.int32)))[0, :, 0].tolist() == [0, 128, 255]
    assert pixels(Image.fromarray(np.array([[0.0, 127.6, 255.0]], np.float32)))[0, :, 0].tolist() == [0, 128, 255]
    assert pixels(Image.fromarray(np.array([[-5.0, 0.0, 1e6]], np.float32)))[0, :, 0].tolist() == [0, 0, 255]
    with pytest.raises(ImageError, match="image holds NaN or infinite pixels"):
        decode(Image.fromarray(np.array([[np.nan, 1.0]], np.float32)))


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    assert (pixels(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (255, 0, 0)).all()


def test_the_callers_image_stays_as_it_is() -> None:
    image = synthetic_photo(0).convert("RGBA")
    image.putalpha(100)
    before = image.tobytes()
    decode(image)
    assert (image.mode, image.tobytes()) == ("RGBA", before)
    upright = synthetic_photo(0)
    assert decode(upright) is not upright


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"image bytes: empty \(0 bytes\)"),
        (b"hello", "image bytes: not a JPEG"),
        (b"%PDF-1.4", "image bytes: not a JPEG"),
        (encoded(synthetic_photo(0))[:200], "image bytes: broken image"),
        (encoded(synthetic_photo(0), "JPEG")[:300], "image bytes: broken image"),
        (encoded(synthetic_photo(0), "PPM"), "image bytes: not a JPEG"),
    ],
)
def test_broken_files(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        decode(data)


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    """A bomb: 7072² black-and-white pixels in 800 kB would be 150 MB as RGB."""
    with pytest.raises(ImageError, match="7072×7072 pixels; at most 50,000,000 are decoded"):
        decode(encoded(Image.new("1", (7072, 7072))))


def test_pils_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="broken image"):
        decode(encoded(synthetic_photo(0)))


def test_what_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.jpg: no such file"):
        decode(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="not a regular file; expected an image file"):
        decode(tmp_path)
    with pytest.raises(ImageError, match="can't read an image from int; expected a path"):
        decode(3)  # type: ignore[arg-type]


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.png").write_bytes(encoded(synthetic_photo(0)))
    monkeypatch.setattr("edge_effnet.decoding.open", refuse, raising=False)
    with pytest.raises(ImageError, match=r"a\.png: can't be read \(Permission denied\)"):
        decode(tmp_path / "a.png")


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
)
def test_frames_of_another_shape(frame: Any) -> None:
    with pytest.raises(ImageError, match=r"frame is .*; expected uint8\[height, width, 3\]"):
        decode(frame)
