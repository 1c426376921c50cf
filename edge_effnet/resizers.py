"""Resizing as TensorFlow, OpenCV and torch do it, in numpy: uint8 in, uint8 out, rounded half to even.

torch's kernels of more than two taps a side: `products`.

Each side by itself, from `taps`. A photo's rows and channels are one long row here: numpy is fast where the last axis
is long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.products import resize_by_products
from edge_effnet.taps import AXES, OPENCV_ONE, Taps, opencv_columns, opencv_enlarged, opencv_rows, torch_whole

Pixels: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32]
#: (left, top, right, bottom) in pixels of the result.
Box: TypeAlias = tuple[int, int, int, int]
#: Rows of the result that are computed at a time: what lies in between stays in a core's cache.
_BLOCK = 28


def resize_pixels(
    pixels: Pixels, size: tuple[int, int], *, resizer: str, interpolation: str, box: Box | None = None
) -> Pixels:
    """uint8[H', W', C] of (width, height) from uint8[H, W, C]; resizer and interpolation: keys of `AXES`.

    box: the part of the result that is wanted, which alone is computed; None is all of it.
    """
    left, top, right, bottom = box or (0, 0, *size)
    rows, columns = _axes(pixels, size, resizer, interpolation)
    kernel = _kernel(rows, columns, resizer, interpolation)
    rows, columns = rows.part(top, bottom), columns.part(left, right)
    if resizer == "torch" and max(rows.count, columns.count) > 2:
        return resize_by_products(pixels, rows, columns)
    if kernel is None:
        return pixels[rows.indices[:, 0]][:, columns.indices[:, 0]]
    depth = pixels.shape[2]
    flat, across = pixels.reshape(len(pixels), -1), _across(columns, depth)
    found = np.empty((bottom - top, (right - left) * depth), np.uint8)
    for first in range(0, len(found), _BLOCK):
        part = rows.part(first, first + _BLOCK)
        found[first : first + _BLOCK] = kernel(flat, part, across)
    return found.reshape(bottom - top, right - left, depth)


def _axes(pixels: Pixels, size: tuple[int, int], resizer: str, interpolation: str) -> tuple[Taps, Taps]:
    """(rows, columns)."""
    (width, height), (high, wide) = size, pixels.shape[:2]
    if (resizer, interpolation) == ("opencv", "bilinear"):
        return opencv_rows(high, height), opencv_columns(wide, width)
    axis = AXES[resizer][interpolation]
    if (resizer, interpolation) == ("opencv", "area") and (width > wide or height > high):
        axis = opencv_enlarged
    rows, columns = axis(high, height), axis(wide, width)
    whole = resizer == "torch" and interpolation != "nearest"
    return (torch_whole(rows), torch_whole(columns)) if whole else (rows, columns)


#: From the photo's rows, some rows' taps and all columns' as `_across` gives them to these rows of the result.
Kernel: TypeAlias = Callable[[Pixels, Taps, Taps], npt.NDArray[Any]]


def _kernel(rows: Taps, columns: Taps, resizer: str, interpolation: str) -> Kernel | None:
    """What computes a block of rows; None where pixels are taken as they are."""
    if rows.count == columns.count == 1:
        return None
    if resizer == "torch":
        return _torch
    if (resizer, interpolation) == ("opencv", "bilinear"):
        return _opencv_linear
    return _between if _interpolates(rows) and _interpolates(columns) else _summed


def _across(columns: Taps, depth: int) -> Taps:
    """The columns' taps as places in a row of all channels: indices and weights [taps, W'·C]."""
    places = columns.indices.T[:, :, None] * depth + np.arange(depth)
    weights = np.repeat(columns.weights.T, depth, axis=1)
    if weights.dtype.kind == "f":
        weights = weights.astype(np.float32)
    return Taps(places.reshape(columns.count, -1), weights, columns.precision)


def rounded(values: Floats) -> Floats:
    """Half to even, clipped to 0..255; in place."""
    np.rint(values, out=values)
    return np.clip(values, 0, 255, out=values)


def _interpolates(taps: Taps) -> bool:
    """Whether it is a + (b − a)·t of two pixels, as TensorFlow and OpenCV compute it."""
    return taps.count == 2 and bool((taps.weights.sum(axis=1) == 1).all())


def _read(flat: Pixels, rows: Taps) -> tuple[Pixels, npt.NDArray[np.intp]]:
    """Rows of the photo that are read at all, and the taps' indices into these."""
    used, places = np.unique(rows.indices, return_inverse=True)
    return flat.take(used, axis=0), places.reshape(rows.indices.shape)


def _between(flat: Pixels, rows: Taps, across: Taps) -> Floats:
    """Along the rows first, as both libraries do."""
    read, places = _read(flat, rows)
    first, second = (read.take(index, axis=1, mode="clip").astype(np.float32) for index in across.indices)
    second -= first
    second *= across.weights[1]
    second += first
    upper, lower = (second.take(places[:, tap], axis=0, mode="clip") for tap in range(2))
    lower -= upper
    lower *= rows.weights[:, 1].astype(np.float32)[:, None]
    lower += upper
    return rounded(lower)


def _summed(flat: Pixels, rows: Taps, across: Taps) -> Floats:
    """Sums of weighted pixels, down first, where no pixel must be looked for."""
    weights = rows.weights.astype(np.float32)
    down = _sum(
        flat.take(rows.indices[:, tap], axis=0).astype(np.float32) * weights[:, tap, None] for tap in range(rows.count)
    )
    return rounded(
        _sum(
            down.take(index, axis=1, mode="clip") * weight
            for index, weight in zip(across.indices, across.weights, strict=True)
        )
    )


def _sum(parts: Iterator[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    total = next(parts)
    for part in parts:
        total += part
    return total


def _opencv_linear(flat: Pixels, rows: Taps, across: Taps) -> npt.NDArray[np.int32]:
    """OpenCV's INTER_LINEAR, which computes in whole numbers."""
    read, places = _read(flat, rows)
    wide = _columns_summed(read, across)
    wide >>= 4
    total = np.full((), OPENCV_ONE >> 10, np.int32)
    for tap in range(2):
        down = wide.take(places[:, tap], axis=0, mode="clip")
        down *= rows.weights[:, tap, None]
        down >>= 16
        total = total + down
    return total >> 2


def _columns_summed(read: Pixels, across: Taps) -> npt.NDArray[np.int32]:
    whole = read.astype(np.int32)
    return _sum(
        whole.take(index, axis=1, mode="clip") * weight
        for index, weight in zip(across.indices, across.weights, strict=True)
    )


def _torch(flat: Pixels, rows: Taps, across: Taps) -> npt.NDArray[np.int32]:
    """torch rounds and clips between the two sides."""
    read, places = _read(flat, rows)
    wide = _shifted(_columns_summed(read, across), across.precision)
    down = (wide.take(places[:, tap], axis=0, mode="clip") * rows.weights[:, tap, None] for tap in range(rows.count))
    return _shifted(_sum(down), rows.precision)


def _shifted(total: npt.NDArray[np.int32], precision: int) -> npt.NDArray[np.int32]:
    total += 1 << (precision - 1)
    total >>= precision
    return np.clip(total, 0, 255, out=total)
