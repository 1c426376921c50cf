"""What files are, told by their first bytes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from support.photos import synthetic_photo

from edge_effnet.contents import AVIF, HEIF, TIFF, what_is

MODEL = Path(__file__).parents[1] / "edge_effnet" / "models" / "lite0-int8.tflite"


def photo(kind: str) -> bytes:
    buffer = io.BytesIO()
    synthetic_photo(0, 24, 16).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "what"),
    [("JPEG", "a JPEG photo"), ("PNG", "a PNG photo"), ("GIF", "a GIF photo"), ("WEBP", "a WebP photo")],
)
def test_photos(kind: str, what: str) -> None:
    found = what_is(photo(kind))
    assert found is not None
    assert (found.name, found.what) == ("photo", what)


def test_photos_that_something_must_bring() -> None:
    assert what_is(photo("TIFF")) is TIFF
    assert what_is(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") is HEIF
    assert what_is(b"\0\0\0\x20ftypmif1\0\0\0\0mif1heic") is HEIF
    assert what_is(b"\0\0\0\x20ftypmif1\0\0\0\0mif1avif") is AVIF
    assert what_is(b"\0\0\0\x20ftypavif\0\0\0\0") is AVIF


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (MODEL.read_bytes()[:64], "model"),
        (b"PK\x03\x04", "weights"),
        (b"\x80\x02}q", "weights"),
        (b'\0\1\0\0\0\0\0\0{"a":', "weights"),
        (b"\x89HDF\r\n", "weights"),
        (b"%PDF-1.4", "other"),
        (b"\0\0\0\x18ftypisom", "other"),
    ],
)
def test_other_files(head: bytes, name: str) -> None:
    found = what_is(head)
    assert found is not None
    assert found.name == name


def test_bytes_that_do_not_tell() -> None:
    assert what_is(b"") is None
    assert what_is(b"hello") is None
