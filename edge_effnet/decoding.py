"""From what a caller has (a file, bytes, a PIL image, a frame) to an upright RGB image."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.addresses import refuse_address
from edge_effnet.arguments import real_numbers, texts
from edge_effnet.contents import HEAD_BYTES
from edge_effnet.errors import ImageError, UsageError, first_line
from edge_effnet.photo_formats import EXTRA_FORMATS, IMAGE_FORMATS, TIFF, formats_to_try, why_unidentified
from edge_effnet.photo_limits import BYTES_A_PIXEL, Budget, TimedFile, check_cost
from edge_effnet.photo_upright import BROKEN, Photo, upright_rgb, whole
from edge_effnet.pixel_arrays import CHANNEL_ORDERS, ChannelOrder, image_from_array

__all__ = [
    "CHANNEL_ORDERS",
    "DEFAULT_RULES",
    "IMAGE_FORMATS",
    "TIFF",
    "ChannelOrder",
    "Decoding",
    "ImageRules",
    "ImageSource",
    "Photo",
    "decode",
    "read_photo",
]

if TYPE_CHECKING:
    from PIL import Image

#: What `predict` takes; BinaryIO: an open file, or io.BytesIO.
ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO | Image.Image | npt.NDArray[np.uint8]"
Decoding: TypeAlias = Literal["scaled", "full", "quick"]

#: Largest image that is decoded, in pixels; about 150 MB as RGB.
MAX_PIXELS = 50_000_000
#: Above this PIL itself refuses.
MOST_PIXELS = 178_956_970
#: Largest file that is read; the largest honest photo of 50 Mpx, an uncompressed BMP, has 150 MB.
MAX_BYTES = 200_000_000
#: What all threads together take for decoding; one photo alone may take what its rules allow.
_BUDGET = Budget(BYTES_A_PIXEL * MAX_PIXELS)
#: PIL's switch for truncated files is one for the whole process.
_TRUNCATED_LOCK = threading.Lock()


@dataclass(frozen=True)
class ImageRules:
    """What may be decoded. formats: PIL's names, tried in this order (HEIF and AVIF where something reads them).

    truncated: what becomes of a file cut off early.

    max_pixels: width · height of the file, 1 to 178,956,970; max_bytes: of the file. "accept" fills what is missing of
    a truncated photo with grey, as decoders do; meanwhile other threads that use PIL accept truncated files, too.
    Raises UsageError for limits that can't be meant.
    """

    formats: tuple[str, ...] = (*IMAGE_FORMATS, *EXTRA_FORMATS)
    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES
    truncated: Literal["refuse", "accept"] = "refuse"

    def __post_init__(self) -> None:
        real_numbers("image limits", self.max_pixels, self.max_bytes)
        texts(self.formats, "image formats")
        if not 1 <= self.max_pixels <= MOST_PIXELS or self.max_bytes < 1:
            raise UsageError(
                f"image limits {self.max_pixels} pixels, {self.max_bytes} bytes; expected 1 to {MOST_PIXELS:,} pixels "
                "and at least 1 byte"
            )
        known = (*IMAGE_FORMATS, *EXTRA_FORMATS, TIFF)
        unknown = set(self.formats) - set(known)
        if unknown or not self.formats:
            raise UsageError(f"image formats {sorted(unknown)}; expected some of {', '.join(known)}")
        if self.truncated not in ("refuse", "accept"):
            raise UsageError(f"truncated is {self.truncated!r}; expected refuse or accept")


DEFAULT_RULES = ImageRules()


def decode(source: ImageSource, *, channels: ChannelOrder = "rgb", rules: ImageRules = DEFAULT_RULES) -> Image.Image:
    """The photo as an upright RGB PIL image, in full size.

    source: a path, the bytes of an image file, an open file, a PIL image, or an array that `channels` describes (see
    `pixel_arrays`). EXIF orientation is applied, transparency laid on white, 16-bit depth reduced to 8.
    Raises ImageError with the reason when it can't be decoded.
    """
    image = read_photo(source, channels=channels, rules=rules).image
    return image.copy() if image is source else image


def read_photo(
    source: ImageSource,
    *,
    shortest: int | None = None,
    channels: ChannelOrder = "rgb",
    width: int | None = None,
    rules: ImageRules = DEFAULT_RULES,
) -> Photo:
    """The photo as `decode` has it, but a JPEG only as large as needed: `shortest` pixels or more on the shorter side.

    shortest: a larger JPEG is decoded at 1/2, 1/4 or 1/8, which takes less than half the time of a full decode
    (libjpeg's scaled inverse DCT); None decodes all of it. An upright RGB PIL image is passed on, not copied: don't
    change it. Raises ImageError as `decode` does.
    """
    if isinstance(source, np.ndarray):
        return whole(image_from_array(source, channels, width=width))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(source, shortest, rules)
    if isinstance(source, (str, os.PathLike)):
        refuse_address(source)
        return _from_path(_path(source), shortest, rules)
    if hasattr(source, "getexif"):
        return _from_pil(source)
    if hasattr(source, "read"):
        return _from_file(source, shortest, rules)
    several = "; for several images call predict_many" if isinstance(source, (list, tuple)) else ""
    raise ImageError(
        f"can't read an image from {type(source).__name__}; expected a path, bytes, an open file, a PIL image or "
        f"uint8[H, W, 3]{several}"
    )


def _from_bytes(source: Any, shortest: int | None, rules: ImageRules) -> Photo:
    """A view with gaps is copied; one that is too large isn't."""
    try:
        size = memoryview(source).nbytes
        data = source if size > rules.max_bytes or not isinstance(source, memoryview) else source.tobytes()
        file = io.BytesIO(b"" if size > rules.max_bytes else data)
    except (BufferError, ValueError) as error:  # ValueError: a view that was released
        raise ImageError(f"the bytes can't be read ({first_line(error)})") from error
    return _open(_File(file, "image bytes", size), shortest, rules)


def _path(source: Any) -> Path:
    try:
        return Path(source)
    except TypeError as error:
        raise ImageError(f"can't read an image from {type(source).__name__}; expected a path of text") from error


def _from_pil(image: Any) -> Photo:
    from PIL import Image

    if not isinstance(image, Image.Image):
        raise ImageError(f"can't read an image from {type(image).__name__}; expected one of PIL's")
    if 0 in image.size:
        raise ImageError(f"image is {image.width}×{image.height}; expected at least one pixel")
    try:
        return upright_rgb(image, whole(image).extent)
    except BROKEN as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"image can't be made RGB ({first_line(error)})") from error


def _from_file(file: Any, shortest: int | None, rules: ImageRules) -> Photo:
    """From where the file stands; no more of it is read than shows that it is too large."""
    try:
        data = file.read(rules.max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: closed, or not open for reading
        raise ImageError(f"the open file can't be read ({first_line(error)})") from error
    if not isinstance(data, bytes):
        raise ImageError("the file is open as text; open it with mode 'rb'")
    return _open(_File(io.BytesIO(data), str(getattr(file, "name", "open file")), len(data)), shortest, rules)


def _from_path(path: Path, shortest: int | None, rules: ImageRules) -> Photo:
    try:
        if not path.exists():
            raise ImageError(f"{path}: no such file")
        if not path.is_file():
            raise ImageError(f"{path}: not a regular file; expected an image file")
        with open(path, "rb") as file:
            return _open(_File(file, str(path), os.fstat(file.fileno()).st_size), shortest, rules)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        if isinstance(error, ImageError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ImageError(f"{path}: can't be read ({reason})") from error


@dataclass(frozen=True)
class _File:
    """An open image file: `name` for messages, `size` in bytes."""

    file: Any
    name: str
    size: int


def _open(source: _File, shortest: int | None, rules: ImageRules) -> Photo:
    from PIL import Image, UnidentifiedImageError

    name = source.name
    if source.size == 0:
        raise ImageError(f"{name}: empty (0 bytes); expected an image file")
    if source.size > rules.max_bytes:
        raise ImageError(f"{name}: {source.size:,} bytes; at most {rules.max_bytes:,} are read")
    try:
        with (
            _truncated_as_told(rules),
            Image.open(TimedFile(source.file, name), formats=formats_to_try(_head(source), rules.formats)) as image,
        ):
            size = image.size
            if size[0] * size[1] > rules.max_pixels:
                raise ImageError(f"{name}: {size[0]}×{size[1]} pixels; at most {rules.max_pixels:,} are decoded")
            if 0 in size:
                raise ImageError(f"{name}: {size[0]}×{size[1]} pixels; expected at least one")
            cost = check_cost(image, source.file, name, max_pixels=rules.max_pixels)
            with _BUDGET.of(cost):
                reduced = image.draft(None, (shortest, shortest)) if shortest else None  # None for what isn't a JPEG
                return upright_rgb(image, reduced[1] if reduced else whole(image).extent, size)
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: {why_unidentified(_head(source), rules.formats)}") from error
    except (*BROKEN, Image.DecompressionBombError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name}: broken image ({first_line(error)})") from error


def _head(source: _File) -> bytes:
    """The first bytes; the file stands at its beginning again."""
    with contextlib.suppress(OSError, ValueError):
        source.file.seek(0)
        head: bytes = source.file.read(HEAD_BYTES)
        source.file.seek(0)
        return head
    return b""


@contextlib.contextmanager
def _truncated_as_told(rules: ImageRules) -> Iterator[None]:
    """Sets PIL's switch for truncated files, and back."""
    if rules.truncated == "refuse":
        yield
        return
    from PIL import ImageFile

    with _TRUNCATED_LOCK:
        before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before
