from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_effnet import photo_limits
from edge_effnet.decoding import ImageRules, decode
from edge_effnet.errors import ImageError
from edge_effnet.photo_colours import _bands, to_rgb
from edge_effnet.photo_limits import Budget, TimedFile


def progressive(*, side: int = 64) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(file, "JPEG", progressive=True)
    return file.getvalue()


def with_scans(data: bytes, count: int) -> bytes:
    """The last scan again and again, as libjpeg takes it."""
    last = data.rfind(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def test_scans_have_a_bound() -> None:
    decode(progressive())
    decode(with_scans(progressive(), 50))
    with pytest.raises(ImageError, match="a JPEG of 4,096 pixels in 101 scans or more; expected at most 100, for"):
        decode(with_scans(progressive(), 10_000))


def test_scans_count_with_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_limits, "MOST_SCANNED_PIXELS", 4096 * 20)
    rules = ImageRules(max_pixels=5000)
    decode(progressive(), rules=rules)
    with pytest.raises(ImageError, match=r"4,096 pixels in 6\d scans"):
        decode(with_scans(progressive(), 60), rules=rules)


def test_bytes_are_counted_not_pixels() -> None:
    """Of a file that says what it is and holds nothing: nothing is decoded."""
    file = io.BytesIO()
    Image.new("RGBA", (100, 100), (1, 2, 3, 4)).save(file, "WEBP", lossless=True)
    with pytest.raises(ImageError, match=r"100×100 pixels \(WEBP, RGBA\) take 0 MB to decode; at most 0 MB"):
        decode(file.getvalue(), rules=ImageRules(max_pixels=10_000))
    decode(file.getvalue(), rules=ImageRules(max_pixels=13_000))


@pytest.mark.parametrize("kind", ["RGBA", "I;16"])
def test_what_a_large_photo_takes(tmp_path: Path, kind: str) -> None:
    """24 Mpx, in a process of their own: bands keep it to what the source and the result hold."""
    path = tmp_path / "large.png"
    if kind == "RGBA":
        Image.new("RGBA", (6000, 4000), (9, 8, 7, 100)).save(path, compress_level=1)
    else:
        Image.fromarray(np.full((4000, 6000), 40_000, np.uint16)).save(path, compress_level=1)
    code = (
        "import resource, sys; from edge_effnet.decoding import decode; from PIL import PngImagePlugin; import numpy;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; decode(sys.argv[1]);"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 12 * 24_000_000


def test_a_photo_has_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_limits, "PHOTO_S", 0.0)
    with pytest.raises(ImageError, match="image bytes: decoding takes longer than 0 s"):
        decode(progressive())
    with pytest.raises(ImageError, match="longer than"):
        TimedFile(io.BytesIO(b"x"), "x").read()


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBA", "P", "I", "F", "I;16", "L"])
def test_bands_give_what_the_whole_gives(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    if mode in ("I", "F", "I;16"):
        kind = {"I": np.int32, "F": np.float32, "I;16": np.uint16}[mode]
        image = Image.fromarray(rng.integers(0, 60_000, (37, 23)).astype(kind))
    else:
        source = Image.fromarray(rng.integers(0, 256, (37, 23, 4), np.uint8), "RGBA")
        image = source.convert("LA").convert(mode) if mode in ("La", "PA") else source.convert(mode)
    if mode == "P":
        image.info["transparency"] = 3
    whole = np.asarray(to_rgb(image))
    monkeypatch.setattr("edge_effnet.photo_colours._BAND", 100)
    assert len(list(_bands(image))) == 10
    assert np.array_equal(np.asarray(to_rgb(image)), whole)
    assert whole.shape == (37, 23, 3)


def test_threads_share_a_budget() -> None:
    budget, order = Budget(100), []
    with budget.of(80):
        thread = threading.Thread(target=lambda: (_take(budget, order), None)[1])
        thread.start()
        with budget.of(20):
            time.sleep(0.05)
            order.append("small")
    thread.join(30)
    assert order == ["small", "large"]
    with budget.of(1000):  # what is more than all may go alone
        pass


def _take(budget: Budget, order: list[str]) -> None:
    with budget.of(50):
        order.append("large")


@pytest.mark.parametrize("length", [0, 1, 4, 7, 8])
def test_a_broken_exif_chunk_leaves_the_picture_whole(length: int) -> None:
    import zlib

    file = io.BytesIO()
    Image.new("RGB", (3, 2), (1, 2, 3)).save(file, "PNG")
    chunk = b"eXIf" + b"II*\0\xff\xff\xff\xff"[:length]
    whole = len(chunk[4:]).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    data = file.getvalue()
    image = decode(data[:33] + whole + data[33:])
    assert np.asarray(image).tolist() == [[[1, 2, 3]] * 3] * 2
