"""From a photo to the network's input, exactly as training did it with PIL: decode, resize, centre crop, normalise.

Sources: torchvision's `resize` and `center_crop` (shorter side to N, longer to int(N·long/short); offsets rounded
half to even), timm's `create_transform` (shorter side to floor(size / crop_pct)).
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import ImageError, UsageError

if TYPE_CHECKING:
    from PIL import Image

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[np.uint8]"
Triple: TypeAlias = tuple[float, float, float]
Interpolation: TypeAlias = Literal["bilinear", "bicubic"]
ChannelOrder: TypeAlias = Literal["rgb", "bgr"]

#: Mean and standard deviation of ImageNet's RGB pixels in 0..1 (torchvision, timm).
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
#: The (x - 0.5) / 0.5 of TensorFlow's checkpoints (timm: IMAGENET_INCEPTION_MEAN).
HALF: Triple = (0.5, 0.5, 0.5)
#: Formats PIL may try; anything else is refused before a decoder sees it.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
#: File endings that folders and globs are searched for.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
#: Largest image that is decoded, in pixels; about 150 MB as RGB.
MAX_PIXELS = 50_000_000


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes the network's input.

    resize: pixels of the shorter side after the resize; crop: side of the centre square, the network's input size.
    mean, std: of RGB pixels scaled to 0..1. channels: the order the network expects.
    Raises UsageError for values that can't be meant.
    """

    resize: int
    crop: int
    interpolation: Interpolation = "bicubic"
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    channels: ChannelOrder = "rgb"

    def __post_init__(self) -> None:
        if self.crop < 1 or self.resize < self.crop:
            raise UsageError(f"preprocessing: resize {self.resize} and crop {self.crop} don't fit; expected resize ≥ crop ≥ 1")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise UsageError(f"preprocessing: interpolation {self.interpolation!r}; expected bilinear or bicubic")
        if self.channels not in ("rgb", "bgr"):
            raise UsageError(f"preprocessing: channels {self.channels!r}; expected rgb or bgr")
        if not all(math.isfinite(value) for value in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise UsageError(f"preprocessing: mean {self.mean}, std {self.std}; expected finite numbers, std above 0")

    def pixels(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """uint8[crop, crop, 3] in the network's channel order, from an RGB image of any size."""
        cropped = np.asarray(resize_and_crop(image, resize=self.resize, crop=self.crop, interpolation=self.interpolation))
        return cropped if self.channels == "rgb" else cropped[:, :, ::-1]

    def normalise(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """float32[H, W, 3], (pixel / 255 - mean) / std per channel, from uint8[H, W, 3]."""
        columns = [table[pixels[:, :, channel]] for channel, table in enumerate(self._tables())]
        return np.stack(columns, axis=-1)

    def _tables(self) -> npt.NDArray[np.float32]:
        """float32[3, 256]: every possible pixel, normalised; statistics follow the channel order."""
        order = slice(None) if self.channels == "rgb" else slice(None, None, -1)
        mean, std = (np.asarray(values, np.float64)[order, None] for values in (self.mean, self.std))
        return ((np.arange(256) / 255.0 - mean) / std).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """The document's `preprocessing` object."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Preprocessing:
        """From the document's `preprocessing` object; raises UsageError naming the field that is wrong."""
        try:
            return cls(
                resize=int(fields["resize"]),
                crop=int(fields["crop"]),
                interpolation=fields["interpolation"],
                mean=triple(fields["mean"]),
                std=triple(fields["std"]),
                channels=fields.get("channels", "rgb"),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"preprocessing: {error} in {dict(fields)!s:.200}") from error


def triple(values: Any) -> Triple:
    """Three floats from a sequence; raises ValueError otherwise."""
    first, second, third = (float(value) for value in values)
    return first, second, third


def resize_for_crop_pct(image_size: int, crop_pct: float) -> int:
    """Shorter side before the crop: floor(image_size / crop_pct), as timm does it."""
    if not 0 < crop_pct <= 1:
        raise UsageError(f"crop-pct {crop_pct} is not in (0, 1]")
    return math.floor(image_size / crop_pct)


def resize_and_crop(image: Image.Image, *, resize: int, crop: int, interpolation: Interpolation) -> Image.Image:
    """The centre crop of the image resized to `resize` on its shorter side (PIL, antialiased)."""
    from PIL import Image

    width, height = image.size
    short, long = min(width, height), max(width, height)
    longer = int(resize * long / short)
    size = (resize, longer) if width <= height else (longer, resize)
    method = Image.Resampling.BICUBIC if interpolation == "bicubic" else Image.Resampling.BILINEAR
    left, top = (round((side - crop) / 2.0) for side in size)
    if size[0] * size[1] > MAX_PIXELS:  # a very long photo: only what the crop keeps is computed
        across, down = width / size[0], height / size[1]
        return image.resize((crop, crop), method, box=(left * across, top * down, (left + crop) * across, (top + crop) * down))
    resized = image if image.size == size else image.resize(size, method)
    return resized.crop((left, top, left + crop, top + crop))


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
