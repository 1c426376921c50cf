"""From what a caller has (a file, bytes, a PIL image, a frame) to an upright RGB image."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[np.uint8]"
ChannelOrder: TypeAlias = Literal["rgb", "bgr"]
Decoding: TypeAlias = Literal["scaled", "full"]

#: Formats PIL may try; anything else is refused before a decoder sees it.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
#: Largest image that is decoded, in pixels; about 150 MB as RGB.
MAX_PIXELS = 50_000_000
#: EXIF orientation → (what PIL calls the turn that undoes it, whether it swaps the axes, and then mirrors x, y).
_TURNS: Mapping[int, tuple[str, bool, bool, bool]] = MappingProxyType(
    {
        2: ("FLIP_LEFT_RIGHT", False, True, False),
        3: ("ROTATE_180", False, True, True),
        4: ("FLIP_TOP_BOTTOM", False, False, True),
        5: ("TRANSPOSE", True, False, False),
        6: ("ROTATE_270", True, True, False),
        7: ("TRANSVERSE", True, True, True),
        8: ("ROTATE_90", True, False, True),
    }
)
_ORIENTATION = 0x0112  # EXIF 2.3


@dataclass(frozen=True)
class Photo:
    """A decoded photo: `image`, upright and RGB, perhaps smaller than the photo was.

    size: (width, height) of the photo itself, upright. extent: (left, top, right, bottom), where the photo lies in the
    image, in the image's pixels. An image of the photo's own size holds it from edge to edge; a reduced one is rounded up
    to whole pixels, so that the last column and row may reach past the photo.
    """

    image: Image.Image
    size: tuple[int, int]
    extent: tuple[float, float, float, float]


def decode(source: ImageSource, *, channels: ChannelOrder = "rgb") -> Image.Image:
    """The photo as an upright RGB PIL image, in full size.

    source: a path, the bytes of an image file, a PIL image, or uint8[H, W, 3] in the order `channels` names.
    EXIF orientation is applied, transparency laid on white, 16-bit depth reduced to 8.
    Raises ImageError with the reason when it can't be decoded.
    """
    image = read_photo(source, channels=channels).image
    return image.copy() if image is source else image


def read_photo(source: ImageSource, *, shortest: int | None = None, channels: ChannelOrder = "rgb") -> Photo:
    """The photo as `decode` has it, but a JPEG only as large as needed: `shortest` pixels or more on the shorter side.

    shortest: a larger JPEG is decoded at 1/2, 1/4 or 1/8, which takes less than half the time of a full decode (libjpeg's
    scaled inverse DCT); None decodes all of it. An upright RGB PIL image is passed on, not copied: don't change it.
    Raises ImageError as `decode` does.
    """
    if isinstance(source, np.ndarray):
        return _whole(_from_array(source, channels))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _open(io.BytesIO(source), "image bytes", shortest)
    if isinstance(source, (str, os.PathLike)):
        return _from_path(Path(source), shortest)
    if hasattr(source, "getexif"):
        return _upright_rgb(source, _whole(source).extent)
    raise ImageError(f"can't read an image from {type(source).__name__}; expected a path, bytes, a PIL image or uint8[H, W, 3]")


def _whole(image: Image.Image) -> Photo:
    return Photo(image, image.size, (0.0, 0.0, float(image.width), float(image.height)))


def _from_array(array: npt.NDArray[Any], channels: ChannelOrder) -> Image.Image:
    """PIL's own copy of the frame; one that is a view turned round is read as it lies in memory, which is faster to copy."""
    from PIL import Image

    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageError(f"frame is {array.dtype}{list(array.shape)}; expected uint8[height, width, 3]")
    height, width, _ = array.shape
    upwards, mirrored, reversed_channels = (stride < 0 for stride in array.strides)
    lying = np.ascontiguousarray(array[:: -1 if upwards else 1, :: -1 if mirrored else 1, :: -1 if reversed_channels else 1])
    order = "BGR" if (channels == "bgr") != reversed_channels else "RGB"
    image = Image.frombuffer("RGB", (width, height), lying, "raw", order, 0, -1 if upwards else 1)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image


def _from_path(path: Path, shortest: int | None) -> Photo:
    if not path.exists():
        raise ImageError(f"{path}: no such file")
    if not path.is_file():
        raise ImageError(f"{path}: not a regular file; expected an image file")
    try:
        with open(path, "rb") as file:
            return _open(file, str(path), shortest)
    except OSError as error:
        raise ImageError(f"{path}: can't be read ({error.strerror or error})") from error


def _open(file: Any, name: str, shortest: int | None) -> Photo:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            size = image.size
            if size[0] * size[1] > MAX_PIXELS:
                raise ImageError(f"{name}: {size[0]}×{size[1]} pixels; at most {MAX_PIXELS:,} are decoded")
            reduced = image.draft(None, (shortest, shortest)) if shortest else None  # None for what isn't a JPEG
            return _upright_rgb(image, reduced[1] if reduced else _whole(image).extent, size)
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not a {', '.join(IMAGE_FORMATS)} image") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name}: broken image ({error})") from error


def _upright_rgb(image: Image.Image, extent: tuple[float, float, float, float], size: tuple[int, int] | None = None) -> Photo:
    """`size`: of the photo as it is stored; `extent`: of the photo in the stored image."""
    from PIL import Image

    width, height = size or image.size
    image.load()
    turn = _TURNS.get(_orientation(image))
    if turn is None:
        return Photo(_rgb(image), (width, height), extent)
    method, swaps, mirrors_x, mirrors_y = turn
    image = image.transpose(Image.Transpose[method])
    left, top, right, bottom = (extent[1], extent[0], extent[3], extent[2]) if swaps else extent
    if mirrors_x:
        left, right = image.width - right, image.width - left
    if mirrors_y:
        top, bottom = image.height - bottom, image.height - top
    return Photo(_rgb(image), (height, width) if swaps else (width, height), (left, top, right, bottom))


def _orientation(image: Image.Image) -> int:
    with contextlib.suppress(SyntaxError, ValueError, KeyError, TypeError, OSError):  # broken EXIF: the picture is whole
        found = image.getexif().get(_ORIENTATION)
        return found if isinstance(found, int) else 1
    return 1


def _rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _from_deep(np.asarray(image, np.float64)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _from_deep(values: npt.NDArray[np.float64]) -> Image.Image:
    """8-bit grey from 16-bit (or deeper) grey: 65535 becomes 255; values that fit 8 bits stay as they are."""
    from PIL import Image

    if not np.isfinite(values).all():
        raise ImageError("image holds NaN or infinite pixels")
    top = float(values.max(initial=0.0))
    scale = 1.0 if top <= 255 else 257.0 if top <= 65535 else top / 255.0
    return Image.fromarray(np.clip(np.rint(values / scale), 0, 255).astype(np.uint8))
