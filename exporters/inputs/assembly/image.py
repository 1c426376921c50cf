"""What a network's own normalisation and the user's options make of a photo: the `Preprocessing`, worked out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_effnet.errors import UsageError
from edge_effnet.exporters.inputs.assembly.value import Floats
from edge_effnet.exporters.settings import PreprocessingOptions
from edge_effnet.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Interpolation,
    Preprocessing,
    Triple,
    resize_for_crop_pct,
    triple,
)

#: Pixels as they are, and pixels divided by 255: as mean and standard deviation of pixels in 0..1.
RAW = ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
UNIT = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)
#: Standard deviations of pixels in 0..1 that a normalisation may be meant for.
_PLAUSIBLE = (0.02, 2.5)
#: Of float32, a few operations on.
_ROUNDING = 5e-7


@dataclass(frozen=True)
class Given:
    """What is known of the photos beside the network: its file's statistics, and how it was trained.

    statistics: (mean, std) of pixels in 0..1 that the file's input is made with; None where nothing says.
    """

    statistics: tuple[Triple, Triple] | None = None
    resize: int | None = None
    crop_pct: float | None = None
    interpolation: Interpolation | None = None
    remarks: tuple[str, ...] = ()


def preprocessing_for(
    normalisation: tuple[Floats, Floats] | None,
    image_size: tuple[int, int],
    options: PreprocessingOptions,
    given: Given,
) -> tuple[Preprocessing, tuple[str, ...]]:
    """(how a photo becomes the graph's input, remarks on what had to be assumed).

    normalisation: what the network does to its input first. image_size: (height, width).
    """
    scale, shift = normalisation if normalisation is not None else (np.ones(3), np.zeros(3))
    inside = bool((scale != 1).any() or (shift != 0).any())
    outer, remarks = _outer(scale, options, given, inside=inside)
    mean, std = (np.asarray(part, np.float64) for part in outer)
    if (scale <= 0).any():
        raise UsageError("the network multiplies its image by numbers of 0 or below; expected a normalisation")
    total = std / scale
    middle = mean - shift * total
    if image_size[0] != image_size[1]:
        raise UsageError(f"an image of {image_size[0]}×{image_size[1]} pixels isn't square; expected a square one")
    crop = image_size[0]
    return (
        Preprocessing(
            resize=_resize(crop, options, given),
            crop=crop,
            interpolation=options.interpolation or given.interpolation or "bicubic",
            mean=triple(_as_written(value) for value in np.broadcast_to(middle, 3)),
            std=triple(_as_written(value) for value in np.broadcast_to(total, 3)),
        ),
        (*given.remarks, *remarks),
    )


def _outer(
    scale: Floats, options: PreprocessingOptions, given: Given, *, inside: bool
) -> tuple[tuple[Triple, Triple], tuple[str, ...]]:
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


def _resize(crop: int, options: PreprocessingOptions, given: Given) -> int:
    if options.resize is not None:
        return options.resize
    crop_pct = options.crop_pct if options.crop_pct is not None else given.crop_pct
    if options.crop_pct is None and given.resize is not None:
        return given.resize
    return crop if crop_pct is None else resize_for_crop_pct(crop, crop_pct)


def _as_written(value: float) -> float:
    """0.229 for what float32 and a few products made of it: six digits, where no more than rounding is lost."""
    short = float(f"{value:.6g}")
    return short if abs(short - value) <= _ROUNDING * max(abs(value), _ROUNDING) else float(value)
