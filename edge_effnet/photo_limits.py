"""What a photo may cost before it is decoded: bytes instead of pixels, scans, and time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edge_effnet.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

#: Bytes that decoding may take for each pixel that is allowed: 800 MB for 50 Mpx. A plain RGB photo takes 4.
BYTES_A_PIXEL = 16
#: Scans of a JPEG; encoders make 1 to 10, each goes over the whole picture. And scans · pixels, 30 scans of 50 Mpx.
MOST_SCANS = 100
MOST_SCANNED_PIXELS = 1_500_000_000
#: Seconds for reading and decoding one photo, as far as its decoder asks for more of the file meanwhile.
PHOTO_S = 20.0
#: What PIL holds of a pixel by mode; 4 where it isn't named here.
_HELD = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
#: What a decoder holds beside that: two canvases in RGBA; GIF: the picture before.
_BESIDE = {"WEBP": 8, "AVIF": 8, "HEIF": 8, "GIF": 4}
#: Coefficients of a JPEG of several scans, 2 bytes for each of 3 channels (libjpeg, "full-image coefficient buffer").
_COEFFICIENTS = 6
_PIECE = 1 << 20
_SCAN = b"\xff\xda"


def check_cost(image: Image.Image, file: Any, name: str, *, max_pixels: int) -> int:
    """Bytes that decoding an opened, not yet loaded image takes at most.

    file: what it was opened from; stands where it stood afterwards. Raises ImageError for more than 16 bytes for each
    pixel that may be decoded, or more scans than an encoder makes.
    """
    pixels = image.width * image.height
    scans = _scans(file) if image.format in ("JPEG", "MPO") else 1
    if scans > MOST_SCANS or scans * pixels > max(MOST_SCANNED_PIXELS, 30 * max_pixels):
        raise ImageError(
            f"{name}: a JPEG of {pixels:,} pixels in {scans} scans or more; expected at most {MOST_SCANS}, for 50 Mpx "
            "30; save it anew"
        )
    held = _HELD.get(image.mode, 4) + (4 if image.mode != "RGB" else 0) + _BESIDE.get(image.format or "", 0)
    cost = pixels * (held + 4 + (_COEFFICIENTS if scans > 1 else 0))  # 4: turned upright
    if cost > BYTES_A_PIXEL * max_pixels:
        raise ImageError(
            f"{name}: {image.width}×{image.height} pixels ({image.format}, {image.mode}) take {cost / 1e6:,.0f} MB to "
            f"decode; at most {BYTES_A_PIXEL * max_pixels / 1e6:,.0f} MB are taken (--max-pixels allows more)"
        )
    return cost


def _scans(file: Any) -> int:
    """How often a scan's marker stands in a JPEG; within a scan it can't (ITU T.81, B.1.1.5)."""
    place = file.tell()
    file.seek(0)
    count, kept = 0, b""
    while count <= MOST_SCANS and (piece := file.read(_PIECE)):
        count = min(count + (kept + piece).count(_SCAN), MOST_SCANS + 1)
        kept = piece[-1:]
    file.seek(place)
    return count


class TimedFile:
    """An open file that refuses to be read once decoding takes too long; decoders read as they go."""

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name = file, name
        self._until = time.monotonic() + PHOTO_S

    def read(self, count: int = -1) -> bytes:
        """As the file does. Raises ImageError after 20 seconds."""
        if time.monotonic() > self._until:
            raise ImageError(f"{self._name}: decoding takes longer than {PHOTO_S:.0f} s; save it anew")
        data: bytes = self._file.read(count)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Budget:
    """Bytes that threads share: one waits until what it needs is free, or nobody has any."""

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def of(self, count: int) -> Iterator[None]:
        """Within the block, `count` bytes are taken."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + count <= self._most)
            self._taken += count
        try:
            yield
        finally:
            with self._changed:
                self._taken -= count
                self._changed.notify_all()
