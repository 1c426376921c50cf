"""What a network's own normalisation and the user's options make of a photo: the `Preprocessing`, worked out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from edge_effnet.errors import CheckpointError, UsageError
from edge_effnet.exporters.inputs.assembly.value import Floats
from edge_effnet.exporters.settings import PreprocessingOptions, resolve_preprocessing
from edge_effnet.framing import ResizeMode
from edge_effnet.preprocessing import (
    BLACK,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Interpolation,
    Preprocessing,
    Resizer,
    Values,
    resize_for_crop_pct,
)

#: (mean, standard deviation) of pixels in 0..1, one number a channel or one for all.
Statistics: TypeAlias = tuple[Values, Values]
#: Pixels as they are, and pixels divided by 255: as mean and standard deviation of pixels in 0..1.
RAW: Statistics = ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
UNIT: Statistics = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
IMAGENET: Statistics = (IMAGENET_MEAN, IMAGENET_STD)
#: Standard deviations of pixels in 0..1 that a normalisation may be meant for.
_PLAUSIBLE = (0.02, 2.5)
#: Of float32, a few operations on.
_ROUNDING = 5e-7


@dataclass(frozen=True)
class Given:
    """What is known of the photos beside the network: its file's statistics, and how it was trained.

    statistics: (mean, std) of pixels in 0..1 that the file's input is made with; None where nothing says. documented:
    of a file of this project that comes back, all of it.
    """

    statistics: Statistics | None = None
    resize: int | None = None
    crop_pct: float | None = None
    interpolation: Interpolation | None = None
    mode: ResizeMode = "shorter"
    resizer: Resizer = "pillow"
    fill: tuple[int, int, int] = BLACK
    remarks: tuple[str, ...] = ()
    documented: Preprocessing | None = None


def preprocessing_for(
    normalisation: tuple[Floats, Floats] | None,
    image_size: tuple[int, int],
    channels: int,
    options: PreprocessingOptions,
    given: Given,
) -> tuple[Preprocessing, tuple[str, ...]]:
    """(how a photo becomes the graph's input, remarks on what had to be assumed).

    normalisation: what the network does to its input first. image_size: (height, width). channels: 3, or 1 for grey.
    """
    if channels not in (1, 3):
        raise CheckpointError(
            f"the network takes an image of {channels} channels; expected 3 (RGB) or 1 (grey), which is what photos "
            "have; train it with one of these"
        )
    if given.documented is not None:
        return resolve_preprocessing(given.documented, options, image_size=image_size), given.remarks
    scale, shift = normalisation if normalisation is not None else (np.ones(channels), np.zeros(channels))
    inside = bool((scale != 1).any() or (shift != 0).any())
    outer, remarks = _outer(scale, options, given, inside=inside)
    mean, std = (_channel_values(part, channels) for part in outer)
    if (scale <= 0).any():
        raise UsageError("the network multiplies its image by numbers of 0 or below; expected a normalisation")
    total = std / scale
    default = Preprocessing(
        resize=_resize(image_size, given),
        crop=image_size,
        interpolation=given.interpolation or "bicubic",
        mean=tuple(_as_written(value) for value in mean - shift * total),
        std=tuple(_as_written(value) for value in total),
        channels="grey" if channels == 1 else "rgb",
        mode=given.mode,
        resizer=given.resizer,
        fill=given.fill,
    )
    said = replace(options, mean=None, std=None, channels=options.channels if channels == 3 else None)
    return resolve_preprocessing(default, said, image_size=image_size), (*given.remarks, *remarks)


def _channel_values(values: Values, channels: int) -> Floats:
    """One a channel; for a grey network the mean of three."""
    given = np.asarray(values, np.float64)
    return np.full(1, given.mean()) if channels == 1 else np.broadcast_to(given, (channels,))


def _outer(
    scale: Floats, options: PreprocessingOptions, given: Given, *, inside: bool
) -> tuple[Statistics, tuple[str, ...]]:
    """(mean, std) that make the file's input from pixels in 0..1, and what to say about it."""
    if options.mean is not None or options.std is not None:
        known = given.statistics or (RAW if inside else IMAGENET)
        return (options.mean or known[0], options.std or known[1]), ()
    if given.statistics is not None:
        return given.statistics, ()
    for statistics, words in ((RAW, "0..255"), (UNIT, "0..1")):
        total = np.asarray(statistics[1]) / scale
        if inside and _PLAUSIBLE[0] <= total.min() and total.max() <= _PLAUSIBLE[1]:
            return statistics, (f"the network normalises its image itself: pixels in {words}",)
    return IMAGENET, (
        "nothing says how the image is normalised: took ImageNet's mean and std, as PyTorch networks mostly have; "
        "--mean and --std if trained otherwise",
    )


def _resize(image_size: tuple[int, int], given: Given) -> int | tuple[int, int]:
    if given.resize is not None:
        return given.resize
    if given.crop_pct is None:
        return image_size
    height, width = (resize_for_crop_pct(side, given.crop_pct) for side in image_size)
    return height, width


def _as_written(value: float) -> float:
    """0.229 for what float32 and a few products made of it: six digits, where no more than rounding is lost."""
    short = float(f"{value:.6g}")
    return short if abs(short - value) <= _ROUNDING * max(abs(value), _ROUNDING) else float(value)
