"""Resizing as TensorFlow, OpenCV and torch do it, in numpy: uint8 in, uint8 out, rounded half to even.

Sources: TensorFlow's `resize_bilinear_op.cc`, `resize_nearest_neighbor_op.cc`, `resize_bicubic_op.cc`,
`resize_area_op.cc`, `scale_and_translate_op.cc` (half-pixel centres, as `tf.image.resize` asks for); OpenCV's
`imgproc/src/resize.cpp` for 8-bit images; torch's `UpSample.h` and `UpSampleKernel.cpp` with align_corners=False.
An axis is *taps*: for each pixel of the result the pixels it reads and their weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Pixels: TypeAlias = npt.NDArray[np.uint8]
Array: TypeAlias = npt.NDArray[Any]
#: Entries of TensorFlow's table of cubic weights.
_TABLE = 1024
#: OpenCV's weights are whole numbers of 1 / 2048.
_FIXED = 2048


@dataclass(frozen=True)
class Taps:
    """indices int[out, taps] into the source, weights [out, taps]."""

    indices: npt.NDArray[np.intp]
    weights: Array


Axis: TypeAlias = Callable[[int, int], Taps]


def resize_pixels(pixels: Pixels, size: tuple[int, int], *, resizer: str, interpolation: str) -> Pixels:
    """uint8[H', W', C] of (width, height) from uint8[H, W, C]; resizer and interpolation: keys of `AXES`."""
    width, height = size
    if (resizer, interpolation) == ("opencv", "bilinear"):
        return _opencv_linear(pixels, size)
    axis = AXES[resizer][interpolation]
    if (resizer, interpolation) == ("opencv", "area") and (width > pixels.shape[1] or height > pixels.shape[0]):
        axis = _opencv_enlarged
    rows, columns = axis(pixels.shape[0], height), axis(pixels.shape[1], width)
    if rows.indices.shape[1] == columns.indices.shape[1] == 1:
        return pixels[rows.indices[:, 0]][:, columns.indices[:, 0]]
    if resizer == "torch":
        return _torch_side(_torch_side(pixels, columns, axis=1), rows, axis=0)
    return rounded(resized_floats(pixels, rows, columns))


def resized_floats(pixels: Pixels, rows: Taps, columns: Taps) -> npt.NDArray[np.float32]:
    """float32[H', W', C], not rounded: along each row first, as TensorFlow and OpenCV do."""
    used, places = np.unique(rows.indices, return_inverse=True)
    across = _applied(pixels[used].astype(np.float32), columns, axis=1)
    return _applied(across, Taps(places.reshape(rows.indices.shape), rows.weights), axis=0)


def rounded(values: Array) -> Pixels:
    """Half to even, clipped to 0..255."""
    found: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return found


def _applied(values: Array, taps: Taps, *, axis: int) -> npt.NDArray[np.float32]:
    weights = taps.weights.astype(np.float32)
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    count = weights.shape[1]
    if count == 2 and (weights.sum(axis=1) == 1).all():  # a + (b − a)·t, as both libraries compute it
        first, second = (values.take(taps.indices[:, tap], axis=axis) for tap in range(2))
        second -= first
        second *= weights[:, 1].reshape(shape)
        second += first
        return second.astype(np.float32, copy=False)
    total = values.take(taps.indices[:, 0], axis=axis) * weights[:, 0].reshape(shape)
    for tap in range(1, count):
        total += values.take(taps.indices[:, tap], axis=axis) * weights[:, tap].reshape(shape)
    return total.astype(np.float32, copy=False)


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
    weights = _cubic_weights(part.astype(np.float64), -0.5)
    inside = np.floor(where).astype(np.intp)[:, None] + np.arange(-1, 3)
    weights = np.where((inside >= 0) & (inside < source), weights, 0)
    return _cubic_taps(where, source, weights / weights.sum(axis=1, keepdims=True))


def _torch_cubic(source: int, result: int) -> Taps:
    where = _exact_centres(source, result)
    return _cubic_taps(where, source, _cubic_weights((where - np.floor(where)).astype(np.float64), -0.75))


def _opencv_cubic(source: int, result: int) -> Taps:
    where = _exact_centres(source, result)
    weights = _cubic_weights(where - np.floor(where), -0.75)
    return _cubic_taps(where, source, np.rint(weights * _FIXED) / _FIXED)


def _area(source: int, result: int) -> Taps:
    """The share of each pixel that lies under a pixel of the result."""
    scale = source / result
    low, high = np.arange(result) * scale, (np.arange(result) + 1) * scale
    first = np.floor(low).astype(np.intp)
    count = int((np.ceil(high - 1e-9).astype(np.intp) - first).max())
    indices = first[:, None] + np.arange(max(count, 1))
    shares = np.minimum(indices + 1, high[:, None]) - np.maximum(indices, low[:, None])
    shares = np.clip(shares, 0, None)
    return Taps(np.clip(indices, 0, source - 1), shares / shares.sum(axis=1, keepdims=True))


def _opencv_enlarged(source: int, result: int) -> Taps:
    """What INTER_AREA is where a side grows: a form of linear of its own, on both sides."""
    scale, inverse = source / result, result / source
    place = np.arange(result)
    low = np.floor(place * scale).astype(np.intp)
    part = place + 1 - (low + 1) * inverse
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
        return Taps(np.clip(indices, 0, source - 1), weights / weights.sum(axis=1, keepdims=True))

    return axis


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
            "bilinear-antialias": _antialiased(_triangle, 1.0),
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


def _opencv_linear(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """OpenCV's INTER_LINEAR, which computes in whole numbers."""
    width, height = size
    rows, columns = _fixed_rows(pixels.shape[0], height), _fixed_columns(pixels.shape[1], width)
    used, places = np.unique(rows.indices, return_inverse=True)
    source = pixels[used].astype(np.int32)
    across = sum(
        source.take(columns.indices[:, tap], axis=1) * columns.weights[:, tap].reshape(1, -1, 1) for tap in range(2)
    )
    places = places.reshape(rows.indices.shape)
    parts = [
        (rows.weights[:, tap].reshape(-1, 1, 1) * (np.take(across, places[:, tap], axis=0) >> 4)) >> 16
        for tap in range(2)
    ]
    return np.asarray((parts[0] + parts[1] + 2) >> 2, np.uint8)


def _torch_side(pixels: Pixels, taps: Taps, *, axis: int) -> Pixels:
    """One side of a uint8 image as torch does it: weights as whole numbers of 16 bits, the result clipped."""
    precision = 0
    while precision < 22 and int(0.5 + float(taps.weights.max()) * (1 << (precision + 1))) < 1 << 15:
        precision += 1
    scaled = taps.weights.astype(np.float64) * (1 << precision)
    weights = np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int32)
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    total: npt.NDArray[np.signedinteger] = np.full((), 1 << (precision - 1), np.int32)
    for tap in range(weights.shape[1]):
        total = total + pixels.take(taps.indices[:, tap], axis=axis) * weights[:, tap].reshape(shape)
    found: Pixels = np.clip(total >> precision, 0, 255).astype(np.uint8)
    return found


def _fixed_columns(source: int, result: int) -> Taps:
    """Beyond the first and last pixel its weight is all."""
    low, part = _places(source, result)
    part = np.where((low < 0) | (low >= source - 1), np.float32(0), part)
    low = np.clip(low, 0, source - 1)
    return Taps(_pairs(low, source), _whole(part))


def _fixed_rows(source: int, result: int) -> Taps:
    """Beyond the first and last row that row counts with both weights, each rounded by itself."""
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
    return np.rint(weights * np.float32(_FIXED)).astype(np.int32)
