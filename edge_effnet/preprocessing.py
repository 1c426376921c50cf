"""From a photo to the network's input, exactly as training did it with PIL: decode, resize, centre crop, normalise.

Sources: torchvision's `resize` and `center_crop` (shorter side to N, longer to int(N·long/short); offsets rounded
half to even), timm's `create_transform` (shorter side to floor(size / crop_pct)).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.decoding import MAX_PIXELS, ChannelOrder, ImageSource, Photo, decode
from edge_effnet.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "HALF",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "IMAGE_SUFFIXES",
    "ChannelOrder",
    "ImageSource",
    "Interpolation",
    "Photo",
    "Preprocessing",
    "Triple",
    "decode",
    "resize_and_crop",
    "resize_for_crop_pct",
    "resize_only_crop",
    "triple",
]

Triple: TypeAlias = tuple[float, float, float]
Interpolation: TypeAlias = Literal["bilinear", "bicubic"]

#: Mean and standard deviation of ImageNet's RGB pixels in 0..1 (torchvision, timm).
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
#: The (x - 0.5) / 0.5 of TensorFlow's checkpoints (timm: IMAGENET_INCEPTION_MEAN).
HALF: Triple = (0.5, 0.5, 0.5)
#: File endings that folders and globs are searched for.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

#: No network is trained on larger ones; far below what overflows.
_LARGEST_INPUT = 1e6
#: Photos longer than this, or less than so many pixels larger than the resize, are resized whole (`resize_only_crop`).
_LONGEST, _CLEARLY_SMALLER = 1.8, 16


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
            raise UsageError(
                f"preprocessing: resize {self.resize} and crop {self.crop} don't fit; expected resize ≥ crop ≥ 1"
            )
        if self.interpolation not in ("bilinear", "bicubic"):
            raise UsageError(f"preprocessing: interpolation {self.interpolation!r}; expected bilinear or bicubic")
        if self.channels not in ("rgb", "bgr"):
            raise UsageError(f"preprocessing: channels {self.channels!r}; expected rgb or bgr")
        if not all(math.isfinite(value) for value in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise UsageError(f"preprocessing: mean {self.mean}, std {self.std}; expected finite numbers, std above 0")
        if (
            not max(max(abs(mean), abs(1 - mean)) / std for mean, std in zip(self.mean, self.std, strict=True))
            <= _LARGEST_INPUT
        ):
            raise UsageError(
                f"preprocessing: mean {self.mean}, std {self.std} make inputs above {_LARGEST_INPUT:g}; expected "
                "those of pixels in 0..1"
            )

    def pixels(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """uint8[crop, crop, 3] in the network's channel order, from an RGB image of any size: to the bit as in
        training.
        """
        return self._ordered(
            resize_and_crop(image, resize=self.resize, crop=self.crop, interpolation=self.interpolation)
        )

    def quick_pixels(self, photo: Photo) -> npt.NDArray[np.uint8]:
        """`pixels`, computed for the crop alone, and from a reduced photo where `photo` is one (see
        `resize_only_crop`).
        """
        return self._ordered(
            resize_only_crop(photo, resize=self.resize, crop=self.crop, interpolation=self.interpolation)
        )

    def normalise(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """float32[H, W, 3], (pixel / 255 - mean) / std per channel, from uint8[H, W, 3]."""
        columns = [table[pixels[:, :, channel]] for channel, table in enumerate(self.tables())]
        return np.stack(columns, axis=-1)

    def tables(self) -> npt.NDArray[np.float32]:
        """float32[3, 256]: every possible pixel, normalised; statistics follow the channel order."""
        order = slice(None) if self.channels == "rgb" else slice(None, None, -1)
        mean, std = (np.asarray(values, np.float64)[order, None] for values in (self.mean, self.std))
        return ((np.arange(256) / 255.0 - mean) / std).astype(np.float32)

    def _ordered(self, square: Image.Image) -> npt.NDArray[np.uint8]:
        pixels = np.asarray(square)
        return pixels if self.channels == "rgb" else pixels[:, :, ::-1]

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
    if not 0.01 <= crop_pct <= 1:
        raise UsageError(f"crop-pct {crop_pct} is not from 0.01 to 1")
    return math.floor(image_size / crop_pct)


def resize_and_crop(image: Image.Image, *, resize: int, crop: int, interpolation: Interpolation) -> Image.Image:
    """The centre crop of the image resized to `resize` on its shorter side (PIL, antialiased)."""
    size = _resized(image.size, resize)
    left, top = (round((side - crop) / 2.0) for side in size)
    if size[0] * size[1] > MAX_PIXELS:  # a very long photo: only what the crop keeps is computed
        across, down = image.width / size[0], image.height / size[1]
        box = (left * across, top * down, (left + crop) * across, (top + crop) * down)
        return image.resize((crop, crop), _method(interpolation), box=box)
    resized = image if image.size == size else image.resize(size, _method(interpolation))
    return resized.crop((left, top, left + crop, top + crop))


def resize_only_crop(photo: Photo, *, resize: int, crop: int, interpolation: Interpolation) -> Image.Image:
    """`resize_and_crop` of the photo without computing what the crop cuts off.

    From an image of the photo's own size nearly all pixels are the same, and the others one level off (measured: 1 in
    8,000 over 1,500 sizes): PIL takes the box in float32, so that the filter lies up to 0.0001 pixels beside its place
    in the whole resize, and a value on the edge between two levels may tip. A box that avoids this exists for few
    sizes. Long photos and those that are enlarged are resized whole.
    """
    (width, height), size = photo.size, _resized(photo.size, resize)
    reduced = photo.image.size != photo.size
    if not reduced and (
        min(width, height) < resize + _CLEARLY_SMALLER or max(width, height) > _LONGEST * min(width, height)
    ):
        return resize_and_crop(photo.image, resize=resize, crop=crop, interpolation=interpolation)
    left, right = _span(photo.extent[0], photo.extent[2], size[0], crop)
    top, bottom = _span(photo.extent[1], photo.extent[3], size[1], crop)
    box = (left, top, min(right, photo.image.width), min(bottom, photo.image.height))
    if reduced or width >= height:
        return photo.image.resize((crop, crop), _method(interpolation), box=box)
    return _columns_first(photo.image, box, crop, _method(interpolation))


def _columns_first(
    image: Image.Image, box: tuple[float, float, float, float], crop: int, method: Image.Resampling
) -> Image.Image:
    """`image.resize((crop, crop), method, box=box)` in the order in which PIL resizes the whole of a photo that isn't
    long.

    From version 13 on it would take the rows first where many more of them go, and clip other values in between.
    """
    left, top, right, bottom = box
    reach = math.ceil(2 * (bottom - top) / crop) + 2  # bicubic looks two pixels of the result around
    first, last = max(math.floor(top) - reach, 0), min(math.ceil(bottom) + reach, image.height)
    rows = image.crop((0, first, image.width, last))
    narrow = rows.resize((crop, rows.height), method, box=(left, 0, right, rows.height))
    return narrow.resize((crop, crop), method, box=(0, top - first, crop, bottom - first))


def _span(low: float, high: float, side: int, crop: int) -> tuple[float, float]:
    """Where the crop lies between `low` and `high`, which the resize turns into `side` pixels."""
    start, scale = round((side - crop) / 2.0), (high - low) / side
    return low + start * scale, low + (start + crop) * scale


def _resized(size: tuple[int, int], resize: int) -> tuple[int, int]:
    width, height = size
    longer = int(resize * max(size) / min(size))
    return (resize, longer) if width <= height else (longer, resize)


def _method(interpolation: Interpolation) -> Image.Resampling:
    from PIL import Image

    return Image.Resampling.BICUBIC if interpolation == "bicubic" else Image.Resampling.BILINEAR
