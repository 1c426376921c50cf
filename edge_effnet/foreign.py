"""Model files of other makers: what they say themselves of how photos are prepared."""

from __future__ import annotations

import numpy as np

from edge_effnet.errors import ModelFileError
from edge_effnet.formats import ModelFile, TfliteFile
from edge_effnet.formats.official import OFFICIAL, Statistics, statistics_in
from edge_effnet.framing import Size
from edge_effnet.preprocessing import Preprocessing

_CHANNELS = (1, 3)
_BYTES = ("int8", "uint8")


def preparation_of(file: ModelFile) -> Preprocessing | None:
    """By an integer input's scale, or the official metadata of a float one; None where neither says, or no size is set.

    Photos are squashed to the input by bilinear interpolation, as MediaPipe and the TFLite Task library do.
    """
    statistics, size = _statistics(file), input_size(file)
    if statistics is None or size is None:
        return None
    shape = file.input.shape or ()
    grey = 1 in (shape[1], shape[3]) and 3 not in (shape[1], shape[3])
    mean, std = (values[:1] if grey else values * (3 if len(values) == 1 else 1) for values in statistics)
    return Preprocessing(
        resize=size,
        crop=size,
        interpolation="bilinear",
        mean=mean,
        std=std,
        channels="grey" if grey else "rgb",
        mode="squash",
        resizer="opencv",
    )


def require_one_size(file: ModelFile) -> None:
    """Raises ModelFileError for a file that takes images of any size, saying what makes one of a fixed size of it."""
    shape = file.input.shape
    if shape is not None and len(shape) == 4 and None in shape[1:]:
        sides = ", ".join("any" if side is None else str(side) for side in shape)
        raise ModelFileError(
            f"{file.name}: takes images of any size ({sides}); expected one that is fixed. Make a file of your size of "
            f"it: edge-effnet export {file.name} --image-size N -o OUT.{file.format}"
        )


def input_size(file: ModelFile) -> Size | None:
    """(height, width) of the image input, NHWC or NCHW; None where a side is free, or it is no image."""
    shape = file.input.shape
    if shape is None or len(shape) != 4:
        return None
    sides = shape[1:3] if shape[3] in _CHANNELS else shape[2:] if shape[1] in _CHANNELS else ()
    return (sides[0], sides[1]) if len(sides) == 2 and sides[0] and sides[1] else None


def _statistics(file: ModelFile) -> Statistics | None:
    """(mean, std) of pixels in 0..1, one for all channels or one each."""
    if not isinstance(file, TfliteFile):
        return ((0.0,), (1 / 255,)) if file.input.dtype == "uint8" else None
    image = file.tensors[file.inputs[0]]
    if image.dtype in _BYTES:
        return _of_scale(image.dtype, float(image.scales[0]), int(image.zero_points[0])) if len(image.scales) else None
    official = file.metadata.get(OFFICIAL)
    return None if official is None else statistics_in(official, name=file.name)


def _of_scale(dtype: str, scale: float, zero_point: int) -> Statistics | None:
    """Pixel 0 is the least number that the input holds, 255 the largest: what every converter's user trains with."""
    limits = np.iinfo(dtype)
    lowest, highest = ((limit - zero_point) * scale for limit in (limits.min, limits.max))
    if not 0 < highest - lowest < np.inf:
        return None
    return (-lowest / (highest - lowest),), (1 / (highest - lowest),)
