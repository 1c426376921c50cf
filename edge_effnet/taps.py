"""Which pixels of a side each pixel of the resized side is made of, and how much each counts, in TensorFlow, OpenCV and
torch.

Sources: TensorFlow's `resize_bilinear_op.cc`, `resize_nearest_neighbor_op.cc`, `resize_bicubic_op.cc`,
`resize_area_op.cc`, `scale_and_translate_op.cc` (half-pixel centres, as `tf.image.resize` asks for); OpenCV's
`imgproc/src/resize.cpp` for 8-bit images; torch's `UpSample.h` and `UpSampleKernel.cpp` with align_corners=False.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
#: Entries of TensorFlow's table of cubic weights.
_TABLE = 1024
#: OpenCV's weights are whole numbers of 1 / 2048.
OPENCV_ONE = 2048


@dataclass(frozen=True)
class Taps:
    """indices int[out, taps] into the source, weights [out, taps]; whole numbers have so many bits behind the point.

    largest: the largest weight while those beyond the border were added to others; None where none were.
    """

    indices: npt.NDArray[np.intp]
    weights: Array
    precision: int = 0
    largest: float | None = None

    @property
    def count(self) -> int:
        """Pixels that one pixel of the result is made of."""
        return self.indices.shape[1]

    def part(self, first: int, last: int) -> Taps:
        """Those of the pixels first … last - 1 of the result."""
        return Taps(self.indices[first:last], self.weights[first:last], self.precision)


Axis: TypeAlias = Callable[[int, int], Taps]


def _centres(source: int, result: int) -> npt.NDArray[np.float32]:
    """Where each pixel of the result lies in the source, in float32 as the libraries compute it."""
    scale = np.float32(source) / np.float32(result)
    return ((np.arange(result, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)).astype(np.float32)


def _linear(source: int, result: int) -> Taps:
    """TensorFlow's bilinear: beyond the first and last pixel both taps are that pixel."""
    where = _centres(source, result)
    low = np.floor(where)
    part = where - low
    indices = np.stack([np.maximum(low, 0), np.minimum(np.ceil(where), source - 1)], axis=1).astype(np.intp)
    return Taps(indices, np.stack([1 - part, part], axis=1))


def _exact_centres(source: int, result: int) -> npt.NDArray[np.float64]:
    return (np.arange(result, dtype=np.float64) + 0.5) * (source / result) - 0.5


def _torch_linear(source: int, result: int) -> Taps:
    where = np.maximum(_exact_centres(source, result), 0)
    low = np.minimum(np.floor(where), source - 1)
    part = where - low
    indices = np.stack([low, np.minimum(low + 1, source - 1)], axis=1).astype(np.intp)
    return Taps(indices, np.stack([1 - part, part], axis=1))


def _single(indices: Array) -> Taps:
    return Taps(indices.astype(np.intp)[:, None], np.ones((len(indices), 1), np.float32))


def _nearest_centre(source: int, result: int) -> Taps:
    scale = np.float32(source) / np.float32(result)
    where = np.floor((np.arange(result, dtype=np.float32) + np.float32(0.5)) * scale)
    return _single(np.minimum(where, source - 1))


def _nearest_corner(source: int, result: int) -> Taps:
    """torch's "nearest": the pixel at or before the place."""
    scale = np.float32(source) / np.float32(result)
    return _single(np.minimum(np.floor(np.arange(result, dtype=np.float32) * scale), source - 1))


def _nearest_opencv(source: int, result: int) -> Taps:
    inverse = 1.0 / (result / source)
    return _single(np.minimum(np.floor(np.arange(result) * inverse), source - 1))


def _cubic_weights(part: Array, sharpness: float) -> Array:
    """float64[…, 4]: Keys' weights of the pixels at −1, 0, 1, 2 (IEEE TASSP 29, 1981)."""
    a = sharpness
    far, near = part + 1, part
    other, last = 1 - part, 2 - part

    def outer(x: Array) -> Array:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    def inner(x: Array) -> Array:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    return np.stack([outer(far), inner(near), inner(other), outer(last)], axis=-1)


def _cubic_taps(where: Array, source: int, weights: Array) -> Taps:
    indices = np.floor(where).astype(np.intp)[:, None] + np.arange(-1, 3)
    return Taps(np.clip(indices, 0, source - 1), weights)


def _tensorflow_cubic(source: int, result: int) -> Taps:
    """Weights from a table of 1,024 places; pixels outside count for nothing."""
    where = _centres(source, result)
    part = np.rint((where - np.floor(where)) * _TABLE) / _TABLE
    weights = _cubic_weights(part.astype(np.float32), -0.5)
    inside = np.floor(where).astype(np.intp)[:, None] + np.arange(-1, 3)
    weights = np.where((inside >= 0) & (inside < source), weights, 0)
    return _cubic_taps(where, source, weights * (np.float32(1) / weights.sum(axis=1, keepdims=True)))


def _torch_cubic(source: int, result: int) -> Taps:
    """Weights that fall beyond the first and last pixel are added to that pixel's, before they are rounded."""
    where = _exact_centres(source, result)
    taps = _cubic_taps(where, source, _cubic_weights((where - np.floor(where)).astype(np.float64), -0.75))
    weights = taps.weights.copy()
    largest = weights[:, 0].max()
    for tap in range(3):
        again = taps.indices[:, tap] == taps.indices[:, tap + 1]
        weights[:, tap + 1] += np.where(again, weights[:, tap], 0)
        weights[:, tap] = np.where(again, 0, weights[:, tap])
        largest = max(largest, weights[:, tap + 1].max())
    return Taps(taps.indices, weights, largest=float(largest))


def _opencv_cubic(source: int, result: int) -> Taps:
    where = _exact_centres(source, result)
    weights = _cubic_weights(where - np.floor(where), -0.75)
    return _cubic_taps(where, source, np.rint(weights * OPENCV_ONE) / OPENCV_ONE)


def _area(source: int, result: int) -> Taps:
    """The share of each pixel that lies under a pixel of the result, in float32 as TensorFlow computes it."""
    scale = np.float32(source) / np.float32(result)
    low, high = (np.arange(first, first + result, dtype=np.float32) * scale for first in range(2))
    first, end = np.floor(low), np.ceil(high)
    indices = first[:, None] + np.arange(int((end - first).max()), dtype=np.float32)
    begins, ends = indices < low[:, None], indices + 1 > high[:, None]
    shares = np.where(begins, indices + 1 - low[:, None], np.float32(1))
    shares = np.where(ends, np.where(begins, scale, high[:, None] - indices), shares)
    weights = np.where(indices < end[:, None], shares, 0) * (np.float32(1) / scale)
    return Taps(np.clip(indices, 0, source - 1).astype(np.intp), weights)


def opencv_enlarged(source: int, result: int) -> Taps:
    """What INTER_AREA is where a side grows: a form of linear of its own, on both sides."""
    inverse = result / source
    place = np.arange(result)
    low = np.floor(place * (1.0 / inverse)).astype(
        np.intp
    )  # not source / result: whole numbers may fall on either side
    part = (place + 1 - (low + 1) * inverse).astype(np.float32)
    part = np.where(part <= 0, 0, part - np.floor(part))
    indices = np.stack([low, np.minimum(low + 1, source - 1)], axis=1)
    return Taps(np.clip(indices, 0, source - 1), np.stack([1 - part, part], axis=1))


def _antialiased(kernel: Callable[[Array], Array], radius: float) -> Axis:
    """A kernel as wide as the shrinking asks for, its weights made to sum to 1."""

    def axis(source: int, result: int) -> Taps:
        scale = source / result
        stretch = max(scale, 1.0)
        centre = (np.arange(result) + 0.5) * scale
        first = np.ceil(centre - radius * stretch - 0.5).astype(np.intp)
        indices = first[:, None] + np.arange(2 * math.ceil(radius * stretch) + 1)
        weights = kernel(np.abs((indices + 0.5 - centre[:, None]) / stretch))
        weights = np.where((indices >= 0) & (indices < source), weights, 0)
        used = weights.any(axis=0)
        indices, weights = indices[:, used], weights[:, used]
        return Taps(np.clip(indices, 0, source - 1), weights / weights.sum(axis=1, keepdims=True))

    return axis


def _tensorflow_antialiased(source: int, result: int) -> Taps:
    """A triangle as wide as the shrinking asks for, in float32 as `scale_and_translate` computes it."""
    one = np.float32(1)
    inverse = one / (np.float32(result) / np.float32(source))
    stretch = max(inverse, one)
    centre = (np.arange(result, dtype=np.float32) + np.float32(0.5)) * inverse
    first = np.maximum(np.ceil(centre - stretch - np.float32(0.5)), 0)
    indices = first[:, None] + np.arange(2 * math.ceil(stretch) + 1, dtype=np.float32)
    weights = _triangle(np.abs((indices + np.float32(0.5) - centre[:, None]) * (one / stretch)))
    weights = np.where(indices < source, weights, 0)
    used = weights.any(axis=0)
    indices, weights = indices[:, used], weights[:, used]
    weights = weights * (one / weights.sum(axis=1, keepdims=True))
    return Taps(np.clip(indices, 0, source - 1).astype(np.intp), weights)


def _triangle(distance: Array) -> Array:
    return np.maximum(1 - distance, 0)


def _keys(distance: Array) -> Array:
    """Keys' kernel with a = −0.5, as PIL and torch's antialiased bicubic have it."""
    a = -0.5
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance < 1, near, np.where(distance < 2, far, 0))


#: Resizer → interpolation → what it does along one side; "pillow" is PIL itself.
AXES: Mapping[str, Mapping[str, Axis]] = MappingProxyType(
    {
        "tensorflow": {
            "bilinear": _linear,
            "nearest": _nearest_centre,
            "bicubic": _tensorflow_cubic,
            "area": _area,
            "bilinear-antialias": _tensorflow_antialiased,
        },
        "opencv": {
            "bilinear": _linear,
            "nearest": _nearest_opencv,
            "area": _area,
            "bicubic": _opencv_cubic,
        },
        "torch": {
            "bilinear": _torch_linear,
            "bicubic": _torch_cubic,
            "nearest": _nearest_corner,
            "bilinear-antialias": _antialiased(_triangle, 1.0),
            "bicubic-antialias": _antialiased(_keys, 2.0),
        },
    }
)


def torch_whole(taps: Taps) -> Taps:
    """The weights as torch has them for uint8: whole numbers of 16 bits, as precise as the largest allows."""
    precision, largest = 0, taps.largest or float(taps.weights.max())
    while precision < 22 and int(0.5 + largest * (1 << (precision + 1))) < 1 << 15:
        precision += 1
    scaled = taps.weights.astype(np.float64) * (1 << precision)
    return Taps(taps.indices, np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int32), precision)


def opencv_columns(source: int, result: int) -> Taps:
    """INTER_LINEAR along a row, in whole numbers: beyond the first and last pixel its weight is all."""
    low, part = _places(source, result)
    part = np.where((low < 0) | (low >= source - 1), np.float32(0), part)
    low = np.clip(low, 0, source - 1)
    return Taps(_pairs(low, source), _whole(part))


def opencv_rows(source: int, result: int) -> Taps:
    """The same from row to row: beyond the first and last that one counts with both weights, each rounded by itself."""
    low, part = _places(source, result)
    return Taps(_pairs(low, source), _whole(part))


def _places(source: int, result: int) -> tuple[Array, Array]:
    where = ((np.arange(result) + 0.5) * (source / result) - 0.5).astype(np.float32)
    low = np.floor(where)
    return low, where - low


def _pairs(low: Array, source: int) -> npt.NDArray[np.intp]:
    return np.clip(np.stack([low, low + 1], axis=1), 0, source - 1).astype(np.intp)


def _whole(part: Array) -> npt.NDArray[np.int32]:
    weights = np.stack([np.float32(1) - part, part], axis=1).astype(np.float32)
    return np.rint(weights * np.float32(OPENCV_ONE)).astype(np.int32)
