"""What the user may say about preprocessing, laid over what the checkpoint's origin says."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_effnet.errors import UsageError
from edge_effnet.framing import ResizeMode, Size
from edge_effnet.preprocessing import (
    BLACK,
    Channels,
    Interpolation,
    Preprocessing,
    Resizer,
    Values,
    resize_for_crop_pct,
)


@dataclass(frozen=True)
class PreprocessingOptions:
    """None everywhere means: as the checkpoint's origin publishes it. `resize` and `crop_pct` exclude each other."""

    mean: Values | None = None
    std: Values | None = None
    crop_pct: float | None = None
    resize: int | None = None
    interpolation: Interpolation | None = None
    mode: ResizeMode | None = None
    resizer: Resizer | None = None
    fill: tuple[int, int, int] | None = None
    channels: Channels | None = None

    def __post_init__(self) -> None:
        if self.crop_pct is not None and self.resize is not None:
            raise UsageError("crop-pct and resize say the same thing twice; expected one of them")
        if self.mode == "pad" and (self.crop_pct is not None or self.resize is not None):
            raise UsageError("pad resizes to the network's own size; crop-pct and resize go with the other modes")
        if self.fill is not None and self.mode not in ("pad", "longer"):
            raise UsageError("fill goes with the resize modes pad and longer, which leave room around the photo")


def resolve_preprocessing(
    default: Preprocessing, options: PreprocessingOptions, *, image_size: Size | None = None
) -> Preprocessing:
    """The options over the default, for a network of (height, width), which is the default's own size unless said.

    The default's share of the photo that the crop keeps stays as it is at another size.
    """
    size = image_size or default.size
    mode = options.mode or default.mode
    resizer = options.resizer or default.resizer
    grey = (options.channels or default.channels) == "grey"
    mean, std = options.mean or default.mean, options.std or default.std
    return Preprocessing(
        resize=_resize(default, options, size, mode),
        crop=size,
        interpolation=options.interpolation or _interpolation(default, resizer),
        mean=_grey(mean) if grey else mean,
        std=_grey(std) if grey else std,
        channels=options.channels or default.channels,
        mode=mode,
        resizer=resizer,
        fill=options.fill or (default.fill if mode in ("pad", "longer") else BLACK),
    )


def _grey(values: Values) -> Values:
    """One value for the one channel: the mean of three (0.449 and 0.226 for ImageNet's)."""
    return values if len(values) == 1 else (round(sum(values) / len(values), 6),)


def _interpolation(default: Preprocessing, resizer: Resizer) -> Interpolation:
    """The default's where the resizer is the default's, too; bilinear is every other library's own default."""
    return default.interpolation if resizer == default.resizer else "bilinear"


def _resize(default: Preprocessing, options: PreprocessingOptions, size: Size, mode: ResizeMode) -> int | Size:
    if mode == "pad":
        return size
    if options.resize is not None:
        return options.resize
    if options.crop_pct is not None:
        height, width = (resize_for_crop_pct(side, options.crop_pct) for side in size)
        return height, width
    if mode != default.mode:
        return size
    (rows, columns), (height, width) = default.resized, default.size
    return math.floor(size[0] * rows / height), math.floor(size[1] * columns / width)
