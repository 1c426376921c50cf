"""Photos that are broken, strange or hostile: each becomes an RGB image or one clear error."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile
from support.photos import synthetic_photo

from edge_effnet import Classifier
from edge_effnet.decoding import IMAGE_FORMATS, MOST_PIXELS, TIFF, ImageRules, decode
from edge_effnet.errors import ImageError, UsageError

ROOT = Path(__file__).parents[1]


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PHOTO = synthetic_photo(0, 24, 16)
PIXELS = np.asarray(PHOTO)


def pixels(source: Any, **options: Any) -> Any:
    image = decode(source, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


def refused(source: Any, message: str, **options: Any) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        decode(source, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


# Formats -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"big_tiff": True}])
def test_tiff_on_request(options: dict[str, Any]) -> None:
    data = encoded(PHOTO, TIFF, **options)
    refused(data, "image bytes: a TIFF, which is read on request alone: --allow-tiff")
    np.testing.assert_array_equal(pixels(data, rules=ImageRules(formats=(*IMAGE_FORMATS, TIFF))), PIXELS)


def test_big_endian_tiff_is_named_too() -> None:
    refused(b"MM\0*" + bytes(100), "a TIFF, which is read on request alone")


@pytest.mark.parametrize(
    "kind", ["PPM", "ICO", "TGA", "PCX", "SGI", "DDS", "JPEG2000", "EPS", "PDF", "IM", "MSP", "XBM", "SPIDER"]
)
def test_formats_that_pil_knows_and_this_refuses(kind: str) -> None:
    image = {"MSP": PHOTO.convert("1"), "XBM": PHOTO.convert("1"), "SPIDER": PHOTO.convert("F")}.get(kind, PHOTO)
    try:
        data = encoded(image, kind)
    except (KeyError, OSError):
        pytest.skip(f"this PIL can't write {kind}")
    refused(data, "image bytes: not a JPEG, PNG, WEBP, BMP, GIF image")


def test_svg_html_and_text() -> None:
    for data in (b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<!DOCTYPE html>", b"", b"\0" * 5000, b"\xff" * 5000):
        refused(data, "image bytes: (not a JPEG|broken image|empty)")


# Limits --------------------------------------------------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    """A PNG of that size whose pixels are missing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"")
        + chunk(b"IEND", b"")
    )


def test_the_pixel_limit_stands_before_the_decoder() -> None:
    refused(png_header(8000, 6251), "image bytes: 8000×6251 pixels; at most 50,000,000 are decoded")
    refused(png_header(11, 10), "11×10 pixels; at most 100 are decoded", rules=ImageRules(max_pixels=100))
    refused(png_header(8000, 6250), "broken image")


def test_sizes_beyond_pils_own_limit() -> None:
    refused(png_header(2_000_000_000, 2_000_000_000), "broken image|pixels; at most")


def test_the_file_size_limit(tmp_path: Path) -> None:
    data = encoded(PHOTO)
    rules = ImageRules(max_bytes=len(data) - 1)
    refused(data, f"image bytes: {len(data):,} bytes; at most {len(data) - 1:,} are read", rules=rules)
    (tmp_path / "a.png").write_bytes(data)
    refused(tmp_path / "a.png", rf"a\.png: {len(data):,} bytes; at most", rules=rules)
    assert pixels(data, rules=ImageRules(max_bytes=len(data))).shape == (16, 24, 3)


def test_a_huge_sparse_file_is_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / "a.jpg", "wb") as file:
        file.truncate(1 << 40)
    refused(tmp_path / "a.jpg", r"a\.jpg: 1,099,511,627,776 bytes; at most 200,000,000 are read")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_pixels": 0}, "image limits 0 pixels, 200000000 bytes; expected 1 to 178,956,970 pixels"),
        ({"max_pixels": MOST_PIXELS + 1}, "image limits 178956971 pixels"),
        ({"max_bytes": 0}, "0 bytes; expected .* at least 1 byte"),
        ({"formats": ("JPEG", "PSD")}, r"image formats \['PSD'\]; expected some of JPEG, PNG, WEBP, BMP, GIF, AVIF, "),
        ({"formats": ()}, r"image formats \[\]; expected some of"),
        ({"truncated": "maybe"}, "truncated is 'maybe'; expected refuse or accept"),
    ],
)
def test_rules_that_can_not_be_meant(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ImageRules(**options)


# Truncated files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_truncated_files_are_an_error_by_default(kind: str, share: float) -> None:
    data = encoded(synthetic_photo(0, 200, 150), kind)
    refused(data[: int(len(data) * share)], "image bytes: (broken image|not a JPEG)")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF"])
def test_truncated_files_on_request(kind: str) -> None:
    """The upper rows are the photo's."""
    photo = synthetic_photo(0, 200, 150)
    data = encoded(photo, kind)
    accept = ImageRules(truncated="accept")
    found, whole = pixels(data[: int(len(data) * 0.7)], rules=accept), pixels(data)
    top, bottom = (slice(-20, None), slice(0, 20)) if kind == "BMP" else (slice(0, 20), slice(-20, None))
    np.testing.assert_array_equal(found[top], whole[top])
    assert (found[bottom] != whole[bottom]).any()
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_what_holds_no_image_is_refused_even_then() -> None:
    accept = ImageRules(truncated="accept")
    refused(b"\xff\xd8", "broken image|not a JPEG", rules=accept)
    refused(b"hello", "not a JPEG", rules=accept)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_pils_switch_comes_back_from_several_threads() -> None:
    data = encoded(synthetic_photo(0, 200, 150), "JPEG")[:3000]
    threads = [
        threading.Thread(target=decode, args=(data,), kwargs={"rules": ImageRules(truncated="accept")})
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


# Sizes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_images_without_pixels(size: tuple[int, int]) -> None:
    refused(Image.new("RGB", size), f"image is {size[0]}×{size[1]}; expected at least one pixel")
    refused(png_header(*size), "broken image|expected at least one|not a JPEG")


@pytest.mark.litert
@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (3, 7000), (2, 2)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("decoding", ["scaled", "full"])
def test_tiny_and_very_long_photos_are_classified(size: tuple[int, int], kind: str, decoding: Any) -> None:
    data = encoded(synthetic_photo(1, *size), kind)
    assert pixels(data).shape == (size[1], size[0], 3)
    with Classifier(threads=1, decoding=decoding) as classifier:
        assert len(classifier.predict(data)) == 5


# Modes ---------------------------------------------------------------------------------------------------------------

#: Every mode of PIL 10 and later that Image.new can make, with what mid-grey is in it.
MODES: dict[str, Any] = {
    "1": 1, "L": 128, "P": 128, "RGB": (128, 128, 128), "RGBA": (128, 128, 128, 255), "CMYK": (0, 0, 0, 127), "YCbCr": (128, 128, 128),
    "HSV": (0, 0, 128), "I": 128, "F": 128.0, "LA": (128, 255), "PA": (128, 255), "RGBX": (128, 128, 128, 0), "RGBa": (128, 128, 128, 255),
    "La": (128, 255), "I;16": 128 * 257, "I;16L": 128 * 257, "I;16B": 128 * 257,
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_grey(mode: str) -> None:
    image = Image.new(mode, (4, 3), MODES[mode])
    if mode in ("P", "PA"):
        image.putpalette([value for level in range(256) for value in (level,) * 3])
    expected = 255 if mode == "1" else 128
    if mode.startswith("I;16"):
        image.putpixel((0, 0), 65535)  # otherwise nothing tells 16 bits from 15
    assert np.abs(pixels(image)[2].astype(int) - expected).max() <= 1


def test_lab_goes_through_its_profile() -> None:
    """L = 53.6 of 100 is mid-grey; a and b have their zero at 128."""
    assert np.abs(pixels(Image.new("LAB", (4, 3), (137, 128, 128))).astype(int) - 128).max() <= 4


def test_what_pil_can_not_convert(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("conversion from HSV to RGB not supported\nsecond line")

    image = Image.new("HSV", (4, 3))
    monkeypatch.setattr(type(image), "convert", refuse)
    refused(image, r"image can't be made RGB \(conversion from HSV to RGB not supported\)")


# EXIF, ICC, animations ----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\xff\xff\0\0\0\0\0\0",  # orientation 65535
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x04abc\0\0\0\0\0",  # orientation as text
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x05\0\0\0\x01\0\0\0\x1a\0\0\0\0\0\0\0\x01\0\0\0\0",  # as a fraction
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\x06\0\0\0\0\0\0\0",  # a count of four billion
    ],
)
def test_broken_exif_leaves_the_photo_as_it_is(kind: str, exif: bytes) -> None:
    assert pixels(encoded(PHOTO, kind, exif=exif)).shape == (16, 24, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("profile", [b"garbage", b"\0" * 4, b"\xff" * 100_000])
def test_icc_profiles_are_left_alone_and_broken_ones_do_no_harm(kind: str, profile: bytes) -> None:
    np.testing.assert_array_equal(pixels(encoded(PHOTO, kind, icc_profile=profile)), pixels(encoded(PHOTO, kind)))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animated_file(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255), (0, 255, 0))]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=40, **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert (pixels(data) == (255, 0, 0)).all()


def test_a_png_with_a_text_that_unpacks_to_gigabytes() -> None:
    bomb = zlib.compress(bytes(100_000_000), 9)
    body = b"Comment\0\0" + bomb
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    data = encoded(PHOTO)
    refused(data[:33] + chunk + data[33:], "image bytes: broken image")


# Damage --------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", TIFF])
@pytest.mark.parametrize(
    "rules",
    [ImageRules(formats=(*IMAGE_FORMATS, TIFF)), ImageRules(formats=(*IMAGE_FORMATS, TIFF), truncated="accept")],
)
def test_damaged_files_are_an_image_or_an_error_of_ours(kind: str, rules: ImageRules) -> None:
    data = encoded(PHOTO, kind)
    random = np.random.default_rng(2)
    for _ in range(150):
        copy = bytearray(data)
        for _ in range(int(random.integers(1, 6))):
            copy[int(random.integers(min(len(copy), 400)))] = int(random.integers(256))
        try:
            decode(
                bytes(copy[: int(random.integers(1, len(copy) + 1))] if random.integers(3) == 0 else copy), rules=rules
            )
        except ImageError:
            continue


# Places --------------------------------------------------------------------------------------------------------------


def test_names_with_any_bytes(tmp_path: Path) -> None:
    """A name that isn't UTF-8, with a line break, and one as long as the system allows."""
    for name in (b"\xff\xfe.png", b"a\nb.png", b" ", b"-", b"%s{}", b"x" * 251 + b".png", "Köln 東京.png".encode()):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        path.write_bytes(encoded(PHOTO))
        np.testing.assert_array_equal(pixels(path), PIXELS)


@pytest.mark.parametrize(
    ("name", "message"),
    [("a\0b.png", "no such file|can't be read"), ("x" * 300, "can't be read .*name too long|no such file")],
)
def test_names_that_no_file_has(name: str, message: str) -> None:
    refused(name, message)


def test_fifos_sockets_devices_and_folders(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for path in (tmp_path / "fifo.jpg", tmp_path / "folder.jpg", Path("/dev/zero")):
        refused(path, f"{path}: not a regular file; expected an image file")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "none")
    refused(tmp_path / "dangling.jpg", r"dangling\.jpg: no such file")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    refused(tmp_path / "loop.jpg", r"loop\.jpg: (no such file|can't be read)")


_AS_NOBODY = """
import os, sys
import numpy as np
from edge_effnet import Classifier
from edge_effnet.cli import main
main(["predict", sys.argv[2] + "/a.png", "--threads", "1", "--format", "csv"])  # imports what this user may not read
os.setuid(65534)
print("----", flush=True)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.litert
@pytest.mark.skipif(os.geteuid() != 0, reason="another user can be played by root alone")
def test_files_without_permission_among_readable_ones(tmp_path: Path) -> None:
    """As a user who may not read one of them: reported in its place, the run goes on."""
    shared = Path(os.path.realpath(tmp_path))
    for parent in (shared, *shared.parents):
        if parent.stat().st_mode & 0o005 != 0o005:
            if parent.name.startswith(("pytest-", "test_")):
                parent.chmod(0o755)
            else:
                pytest.skip("the temporary folder is closed to others")
    for name in ("a.png", "b.png", "c.png"):
        (shared / name).write_bytes(encoded(PHOTO))
    (shared / "b.png").chmod(0)
    command = [
        sys.executable,
        "-c",
        _AS_NOBODY,
        "predict",
        str(shared),
        "--format",
        "csv",
        "--top-k",
        "1",
        "--threads",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=shared)
    assert done.returncode == 2
    first, last = done.stderr.splitlines()
    assert first == f"edge-effnet: error: {shared / 'b.png'}: can't be read (Permission denied)"
    assert last == "edge-effnet: 1 of 3 failed"
    assert [line.split(",")[0] for line in done.stdout.split("----\n")[1].splitlines()[1:]] == [
        str(shared / name) for name in ("a.png", "b.png", "c.png")
    ]


Run = Callable[..., Any]


@pytest.mark.litert
def test_the_command_line_goes_on_past_what_is_unreadable(tmp_path: Path) -> None:
    good, cut, tiff, fifo = (tmp_path / name for name in ("good.jpg", "cut.jpg", "t.tif", "fifo.jpg"))
    photo = encoded(synthetic_photo(3, 300, 200), "JPEG")
    good.write_bytes(photo)
    cut.write_bytes(photo[: len(photo) // 2])
    tiff.write_bytes(encoded(PHOTO, TIFF))
    os.mkfifo(fifo)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.jpg"))
    odd.write_bytes(photo)

    def run(*words: Any) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "edge_effnet",
            "predict",
            *map(str, words),
            "--threads",
            "1",
            "--top-k",
            "1",
            "--format",
            "jsonl",
        ]
        return subprocess.run(
            command, capture_output=True, text=True, errors="surrogateescape", timeout=120, check=False, cwd=tmp_path
        )

    done = run(good, cut, tiff, fifo, tmp_path / "none.jpg", odd)
    assert done.returncode == 2
    assert done.stdout.count('"predictions"') == 2
    *reasons, last = done.stderr.splitlines()
    assert last == "edge-effnet: 4 of 6 failed"
    for reason, expected in zip(
        reasons,
        (
            f"{cut}: broken image",
            f"{tiff}: a TIFF, which is read on request alone",
            f"{fifo}: not a regular file",
            f"{tmp_path}/none.jpg: no such file",
        ),
        strict=True,
    ):
        assert reason.startswith(f"edge-effnet: error: {expected}")
    assert run(good, cut, tiff, odd, "--allow-truncated", "--allow-tiff").returncode == 0
    assert "300×200 pixels; at most 59,999 are decoded" in run(good, "--max-pixels", "59999").stderr
    assert f"{len(photo):,} bytes; at most 100 are read" in run(good, "--max-bytes", "100").stderr


@pytest.mark.litert
def test_standard_input_is_read_up_to_the_limit() -> None:
    command = [sys.executable, "-m", "edge_effnet", "predict", "-", "--max-bytes", "1000", "--threads", "1"]
    with open("/dev/zero", "rb") as endless:
        done = subprocess.run(command, stdin=endless, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stdout == "-\n    error: image bytes: 1,001 bytes; at most 1,000 are read\n"
    assert done.stderr == "edge-effnet: 1 of 1 failed\n"
