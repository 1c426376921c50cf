"""Resizing with wide kernels as matrix products: torch's antialiased ones, which have up to dozens of taps a pixel.

torch adds up whole numbers: pixels times weights of 16 bits. Floats hold these sums exactly where every partial sum
stays below 2^24 (float32; else float64), whatever order a BLAS adds them in; pixels less 128 halve the sums. A side's
weights are a matrix with a band of them, so blocks of the result are small dense products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.taps import Taps

Array: TypeAlias = npt.NDArray[Any]
Pixels: TypeAlias = npt.NDArray[np.uint8]
#: Pixels of the result along a side that are one product: larger ones multiply more of the band's zeros.
_ACROSS, _DOWN = 16, 28
_MIDDLE = 128
#: Values of the photo that are floats at a time: what a core's cache holds.
_AT_A_TIME = 1 << 17
#: Multiplications of a product beyond which OpenBLAS takes several threads (its `interface/gemm.c`): they gain nothing
#: here, and wait for each other for long where the cores have other work.
_ALONE = 1 << 18
#: Whole numbers up to here are exact in float32.
_EXACT = 1 << 24


@dataclass(frozen=True, eq=False)
class _Block:
    """Pixels `result` of a side from the pixels `read`. weights: [read, result], scaled so that levels come out."""

    result: slice
    read: slice
    weights: Array


@dataclass(frozen=True, eq=False)
class _Side:
    """offset: [out], by which a level plus a half, less `_MIDDLE`, is more than the sum of weighted pixels less it."""

    blocks: tuple[_Block, ...]
    offset: Array


def resize_by_products(pixels: Pixels, rows: Taps, columns: Taps) -> Pixels:
    """uint8[H', W', C] of uint8[H, W, C]: along the rows first, rounded and clipped to levels, then down.

    rows, columns: taps with whole weights, as `torch_whole` gives them.
    """
    high, wide, depth = len(rows.indices), len(columns.indices), pixels.shape[2]
    down, across = _side(rows, pixels.shape[0], _DOWN), _side(columns, pixels.shape[1], _ACROSS)
    found = np.empty((high, wide, depth), np.uint8)
    for block in down.blocks:
        levels = _across(pixels[block.read], across)
        values = _multiplied(block.weights.T, levels.reshape(len(levels), -1))
        _settle(values, down.offset[block.result, None])
        values += _MIDDLE  # by now whole: with the part behind the point it would have a bit more than float32
        found[block.result] = values.reshape(-1, depth, wide).transpose(0, 2, 1)
    return found


def _across(pixels: Pixels, columns: _Side) -> Array:
    """[H, C, W']: whole levels less `_MIDDLE`, each channel's row by itself."""
    high, wide, depth = pixels.shape
    found = np.empty((high, depth, len(columns.offset)), columns.offset.dtype)
    step = max(1, _AT_A_TIME // (wide * depth))
    for first in range(0, high, step):
        part = pixels[first : first + step]
        planes = np.ascontiguousarray(part.transpose(0, 2, 1)).reshape(-1, wide)
        _levels(np.subtract(planes, _MIDDLE, dtype=found.dtype), columns, found[first : first + step])
    return found


def _levels(planes: Array, columns: _Side, found: Array) -> None:
    """[…, W'] of [N, W], into `found`."""
    into = found.reshape(len(planes), -1)
    for block in columns.blocks:
        _multiply(planes[:, block.read], block.weights, into[:, block.result])
    _settle(into, columns.offset)


def _settle(sums: Array, offset: Array) -> None:
    """Rounded to whole levels less `_MIDDLE`, in place."""
    sums += offset
    np.clip(sums, -_MIDDLE, 255 - _MIDDLE, out=sums)
    np.floor(sums, out=sums)


def _multiplied(left: Array, right: Array) -> Array:
    """left @ right, where right is wide."""
    found = np.empty((len(left), right.shape[1]), right.dtype)
    step = max(1, _ALONE // left.size)
    for first in range(0, right.shape[1], step):
        part = slice(first, first + step)
        np.matmul(left, right[:, part], out=found[:, part])
    return found


def _multiply(left: Array, right: Array, found: Array) -> None:
    """left @ right into `found`, where left is high."""
    step = max(1, _ALONE // right.size)
    for first in range(0, len(left), step):
        np.matmul(left[first : first + step], right, out=found[first : first + step])


def _side(taps: Taps, source: int, step: int) -> _Side:
    count, one = len(taps.indices), 1 << taps.precision
    total = taps.weights.sum(axis=1, dtype=np.int64)
    most = _MIDDLE * int(np.abs(taps.weights).sum(axis=1).max()) + one
    kind = np.dtype(np.float32 if most < _EXACT else np.float64)
    offset = ((_MIDDLE * (total - one) + one // 2) / one).astype(kind)
    starts = np.arange(0, count, step)
    first = np.minimum.reduceat(taps.indices.min(axis=1), starts)
    read = int((np.maximum.reduceat(taps.indices.max(axis=1), starts) - first).max()) + 1
    weights = _banded(taps, np.minimum(first, source - read), read, step).astype(kind) / kind.type(one)
    places = zip(starts.tolist(), np.minimum(first, source - read).tolist(), weights, strict=True)
    return _Side(tuple(_block(start, begin, part[:, : count - start]) for start, begin, part in places), offset)


def _block(start: int, begin: int, weights: Array) -> _Block:
    read, count = weights.shape
    return _Block(slice(start, start + count), slice(begin, begin + read), weights)


def _banded(taps: Taps, first: Array, read: int, step: int) -> Array:
    """int32[blocks, read, step]: the taps of `step` pixels of the result as a table of the pixels that are read."""
    place = np.arange(len(taps.indices))
    block, within = place // step, place % step
    weights = np.zeros((len(first), read, step), np.int32)
    for tap in range(taps.count):  # added up, for the taps beyond a photo's end are its last pixel, too
        weights[block, taps.indices[:, tap] - first[block], within] += taps.weights[:, tap]
    return weights
