"""From a photo to the network's input, exactly as training did it with PIL: decode, resize, centre crop, normalise.

Sources: torchvision's `resize` and `center_crop` (shorter side to N, longer to int(N·long/short); offsets rounded
half to even), timm's `create_transform` (shorter side to floor(size / crop_pct)).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.arguments import real_numbers, whole_number
from edge_effnet.cropping import framed, resize_and_crop, resize_only_crop
from edge_effnet.decoding import ImageSource, Photo, decode
from edge_effnet.errors import UsageError
from edge_effnet.framing import RESIZE_MODES, Frame, ResizeMode, Size, frame_of

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "HALF",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "IMAGE_SUFFIXES",
    "ImageSource",
    "Interpolation",
    "Photo",
    "Preprocessing",
    "Triple",
    "decode",
    "resize_for_crop_pct",
    "triple",
]

Triple: TypeAlias = tuple[float, float, float]
#: One a channel.
Values: TypeAlias = tuple[float, ...]
Interpolation: TypeAlias = Literal[
    "nearest", "box", "bilinear", "hamming", "bicubic", "lanczos", "area", "bilinear-antialias", "bicubic-antialias"
]
Resizer: TypeAlias = Literal["pillow", "tensorflow", "opencv", "torch"]
Channels: TypeAlias = Literal["rgb", "bgr", "grey"]
#: Resizer → its interpolations. PIL's all antialias, but nearest; of the others those named so, and area.
INTERPOLATIONS: Mapping[Resizer, tuple[Interpolation, ...]] = MappingProxyType(
    {
        "pillow": ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"),
        "tensorflow": ("nearest", "bilinear", "bicubic", "area", "bilinear-antialias"),
        "opencv": ("nearest", "bilinear", "area", "bicubic"),
        "torch": ("nearest", "bilinear", "bicubic", "bilinear-antialias", "bicubic-antialias"),
    }
)
BLACK = (0, 0, 0)

#: Mean and standard deviation of ImageNet's RGB pixels in 0..1 (torchvision, timm).
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
#: The (x - 0.5) / 0.5 of TensorFlow's checkpoints (timm: IMAGENET_INCEPTION_MEAN).
HALF: Triple = (0.5, 0.5, 0.5)
#: File endings that folders and globs are searched for.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

#: No network is trained on larger ones; far below what overflows.
_LARGEST_INPUT = 1e6


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes the network's input.

    resize: pixels of the side that `mode` names after the resize, or (height, width); crop: side of the centre square,
    the network's input size, or (height, width). mean, std: of pixels scaled to 0..1, one for each of R, G, B, or one
    where channels is "grey" (ITU-R 601-2 luma). channels: what the network takes, in order. resizer: whose algorithm
    resizes. fill: R, G, B of what a photo is short of the crop.
    Raises UsageError for values that can't be meant.
    """

    resize: int | Size
    crop: int | Size
    interpolation: Interpolation = "bicubic"
    mean: Values = IMAGENET_MEAN
    std: Values = IMAGENET_STD
    channels: Channels = "rgb"
    mode: ResizeMode = "shorter"
    resizer: Resizer = "pillow"
    fill: tuple[int, int, int] = BLACK

    def __post_init__(self) -> None:
        for name in ("resize", "crop"):
            object.__setattr__(self, name, _one_or_two(getattr(self, name), name))
        self._check_sizes()
        self._check_choices()
        self._check_statistics()

    def _check_sizes(self) -> None:
        (rows, columns), (height, width) = self.resized, self.size
        fits = rows >= height and columns >= width if self.mode in ("shorter", "squash") else rows > 0 and columns > 0
        if min(height, width) < 1 or not fits:
            raise UsageError(
                f"preprocessing: resize {self.resize} and crop {self.crop} don't fit; expected resize ≥ crop ≥ 1"
            )
        if self.mode == "pad" and self.resize != self.crop:
            raise UsageError(f"preprocessing: pad resizes to the crop, {self.crop}; found resize {self.resize}")

    def _check_choices(self) -> None:
        known = INTERPOLATIONS.get(self.resizer)
        if known is None:
            raise UsageError(f"preprocessing: resizer {self.resizer!r}; expected one of {', '.join(INTERPOLATIONS)}")
        if self.interpolation not in known:
            listed = " or ".join([", ".join(known[:-1]), known[-1]])
            raise UsageError(f"preprocessing: {self.resizer}'s interpolation {self.interpolation!r}; expected {listed}")
        if self.channels not in ("rgb", "bgr", "grey"):
            raise UsageError(f"preprocessing: channels {self.channels!r}; expected rgb, bgr or grey")
        if self.mode not in RESIZE_MODES:
            raise UsageError(f"preprocessing: mode {self.mode!r}; expected one of {', '.join(RESIZE_MODES)}")
        real_numbers("preprocessing: fill", *(self.fill if isinstance(self.fill, (tuple, list)) else "?"))
        if len(self.fill) != 3 or not all(0 <= value <= 255 for value in self.fill):
            raise UsageError(f"preprocessing: fill {self.fill}; expected three of 0 to 255")

    def _check_statistics(self) -> None:
        for statistics in (self.mean, self.std):
            real_numbers("preprocessing: mean, std", *(statistics if isinstance(statistics, (tuple, list)) else "?"))
        if len(self.mean) != self.depth or len(self.std) != self.depth:
            raise UsageError(
                f"preprocessing: mean {self.mean}, std {self.std}; expected {self.depth} of each for {self.channels}"
            )
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

    @property
    def size(self) -> Size:
        """(height, width) of the network's input, in pixels."""
        return _pair(self.crop)

    @property
    def resized(self) -> Size:
        """(height, width) that `mode` resizes to."""
        return _pair(self.resize)

    @property
    def depth(self) -> int:
        """Channels of the network's input."""
        return 1 if self.channels == "grey" else 3

    @property
    def is_plain(self) -> bool:
        """Whether it is what documents of schema version 1 can say."""
        return (
            isinstance(self.crop, int)
            and isinstance(self.resize, int)
            and (self.mode, self.resizer, self.fill) == ("shorter", "pillow", BLACK)
            and self.interpolation in ("bilinear", "bicubic")
            and self.channels != "grey"
        )

    @property
    def antialiased(self) -> bool:
        """Whether the resize looks at every pixel of the photo, so that a photo decoded smaller will do."""
        return self.resizer == "pillow" and self.interpolation != "nearest"

    def frame(self, size: Size) -> Frame:
        """What becomes of a photo of (width, height)."""
        return frame_of(size, resize=self.resized, crop=self.size, mode=self.mode)

    def pixels(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """uint8[H, W, 3 or 1] in the network's channel order, from an RGB image: to the bit as in training."""
        return self._ordered(self.view(image))

    def view(self, image: Image.Image) -> Image.Image:
        """What the network sees, as an RGB image, or a grey one."""
        image = image.convert("L") if self.channels == "grey" else image
        sides = self._square()
        if sides is not None:
            return resize_and_crop(image, resize=sides[0], crop=sides[1], interpolation=self.interpolation)
        return self._framed(image, image.size, (0, 0, *image.size))

    def quick_pixels(self, photo: Photo) -> npt.NDArray[np.uint8]:
        """`pixels`, computed for the crop alone, and from a reduced photo where `photo` is one (see
        `resize_only_crop`).
        """
        photo = replace(photo, image=photo.image.convert("L")) if self.channels == "grey" else photo
        sides = self._square()
        if sides is not None:
            return self._ordered(
                resize_only_crop(photo, resize=sides[0], crop=sides[1], interpolation=self.interpolation)
            )
        return self._ordered(self._framed(photo.image, photo.size, photo.extent))

    def _framed(self, image: Image.Image, size: Size, extent: tuple[float, float, float, float]) -> Image.Image:
        resizer, interpolation = self.resizer, self.interpolation
        return framed(image, self.frame(size), extent, resizer=resizer, interpolation=interpolation, fill=self.fill)

    def _square(self) -> tuple[int, int] | None:
        """(resize, crop) where a square is cut from what PIL resized by its shorter side; None for everything else."""
        if self.mode != "shorter" or self.resizer != "pillow" or self.interpolation == "nearest":
            return None
        return (self.resize, self.crop) if isinstance(self.resize, int) and isinstance(self.crop, int) else None

    def normalise(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """float32[H, W, C], (pixel / 255 - mean) / std per channel, from uint8[H, W, C]."""
        columns = [table[pixels[:, :, channel]] for channel, table in enumerate(self.tables())]
        return np.stack(columns, axis=-1)

    def tables(self) -> npt.NDArray[np.float32]:
        """float32[C, 256]: every possible pixel, normalised; statistics follow the channel order."""
        order = slice(None, None, -1) if self.channels == "bgr" else slice(None)
        mean, std = (np.asarray(values, np.float64)[order, None] for values in (self.mean, self.std))
        return ((np.arange(256) / 255.0 - mean) / std).astype(np.float32)

    def _ordered(self, view: Image.Image) -> npt.NDArray[np.uint8]:
        pixels = np.asarray(view)
        if self.channels == "grey":
            return pixels[:, :, None]
        return pixels if self.channels == "rgb" else pixels[:, :, ::-1]

    def to_dict(self) -> dict[str, Any]:
        """The document's `preprocessing` object; what schema version 1 doesn't know is left out where it is plain."""
        found = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        if self.is_plain:
            for key in ("mode", "resizer", "fill"):
                del found[key]
        return found

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Preprocessing:
        """From the document's object; raises UsageError for missing, unknown or impossible fields."""
        try:
            return cls(
                resize=_side(fields["resize"]),
                crop=_side(fields["crop"]),
                interpolation=fields["interpolation"],
                mean=_values(fields["mean"]),
                std=_values(fields["std"]),
                channels=fields.get("channels", "rgb"),
                mode=fields.get("mode", "shorter"),
                resizer=fields.get("resizer", "pillow"),
                fill=_fill(fields.get("fill", BLACK)),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"preprocessing: {error} in {dict(fields)!s:.200}") from error


def _pair(value: int | Size) -> Size:
    return (value, value) if isinstance(value, int) else value


def _side(value: Any) -> int | Size:
    if isinstance(value, list):
        height, width = (int(side) for side in value)
        return height, width
    return int(value)


def _values(values: Any) -> Values:
    found = tuple(float(value) for value in values)
    if len(found) not in (1, 3):
        raise ValueError(f"{len(found)} values where 3, or 1 of a grey network, are expected")
    return found


def _fill(values: Any) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values)
    return red, green, blue


def _one_or_two(value: Any, name: str) -> int | Size:
    """A side, or height and width where those differ. Raises UsageError."""
    if not isinstance(value, (tuple, list)):
        return whole_number(value, f"preprocessing: {name}", least=0)
    sides = [whole_number(side, f"preprocessing: {name}", least=0) for side in value]
    if len(sides) != 2:
        raise UsageError(f"preprocessing: {name} {value}; expected one side, or height and width")
    return sides[0] if sides[0] == sides[1] else (sides[0], sides[1])


def triple(values: Any) -> Triple:
    """Three floats from a sequence; raises ValueError otherwise."""
    first, second, third = (float(value) for value in values)
    return first, second, third


def resize_for_crop_pct(image_size: int, crop_pct: float) -> int:
    """Shorter side before the crop: floor(image_size / crop_pct), as timm does it."""
    if not 0.01 <= crop_pct <= 1:
        raise UsageError(f"crop-pct {crop_pct} is not from 0.01 to 1")
    return math.floor(image_size / crop_pct)
