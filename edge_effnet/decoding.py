"""From what a caller has (a file, bytes, a PIL image, a frame) to an upright RGB image."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[np.uint8]"
ChannelOrder: TypeAlias = Literal["rgb", "bgr"]

#: Formats PIL may try; anything else is refused before a decoder sees it.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
#: Largest image that is decoded, in pixels; about 150 MB as RGB.
MAX_PIXELS = 50_000_000


def decode(source: ImageSource, *, channels: ChannelOrder = "rgb") -> Image.Image:
    """The photo as an upright RGB PIL image.

    source: a path, the bytes of an image file, a PIL image, or uint8[H, W, 3] in the order `channels` names.
    EXIF orientation is applied, transparency laid on white, 16-bit depth reduced to 8.
    Raises ImageError with the reason when it can't be decoded.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, channels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _open(io.BytesIO(source), "image bytes")
    if isinstance(source, (str, os.PathLike)):
        return _from_path(Path(source))
    if hasattr(source, "getexif"):
        return _upright_rgb(source)
    raise ImageError(f"can't read an image from {type(source).__name__}; expected a path, bytes, a PIL image or uint8[H, W, 3]")


def _from_array(array: npt.NDArray[Any], channels: ChannelOrder) -> Image.Image:
    from PIL import Image

    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageError(f"frame is {array.dtype}{list(array.shape)}; expected uint8[height, width, 3]")
    return Image.fromarray(np.ascontiguousarray(array if channels == "rgb" else array[:, :, ::-1]))


def _from_path(path: Path) -> Image.Image:
    if not path.exists():
        raise ImageError(f"{path}: no such file")
    if not path.is_file():
        raise ImageError(f"{path}: not a regular file; expected an image file")
    try:
        with open(path, "rb") as file:
            return _open(file, str(path))
    except OSError as error:
        raise ImageError(f"{path}: can't be read ({error.strerror or error})") from error


def _open(file: Any, name: str) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"{name}: {image.width}×{image.height} pixels; at most {MAX_PIXELS:,} are decoded")
            return _upright_rgb(image)
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not a {', '.join(IMAGE_FORMATS)} image") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name}: broken image ({error})") from error


def _upright_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image, ImageOps

    image.load()
    with contextlib.suppress(SyntaxError, ValueError, KeyError, TypeError, OSError):  # broken EXIF: the picture is whole
        image = ImageOps.exif_transpose(image)
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
