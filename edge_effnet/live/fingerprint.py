"""Telling pictures that look alike by a small grey one, so that none is kept twice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_effnet.live.motion import small_grey

Fingerprint = npt.NDArray[np.int8]
_ROWS, _COLUMNS = 12, 16
#: Mean difference of a cell, in grey levels of 255, below which two pictures are alike: one of them may be shifted by a
#: cell each way. Less would take a small thing that comes into view for nothing new.
ALIKE_LEVELS = 4.0
_SHIFTS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1))


def fingerprint(image: npt.NDArray[np.uint8]) -> Fingerprint:
    """int8[192] of uint8[H, W, 3]: brightness of 16×12 cells less the median, half of 255 levels; a lamp changes
    little.
    """
    grey = small_grey(image).reshape(_ROWS, 2, _COLUMNS, 2).mean((1, 3))
    return np.clip(np.rint((grey - np.median(grey)) / 2), -127, 127).astype(np.int8).reshape(-1)


def is_like_any(found: Fingerprint, others: npt.NDArray[np.int8]) -> bool:
    """Whether one of the others, int8[N, 192], is alike."""
    if not len(others):
        return False
    one, many = (cells.reshape(-1, _ROWS, _COLUMNS).astype(np.int16) for cells in (found, others))
    return any(
        2 * np.abs(_part(one, *by) - _part(many, -by[0], -by[1])).mean((1, 2)).min() < ALIKE_LEVELS for by in _SHIFTS
    )


def _part(cells: npt.NDArray[np.int16], down: int, right: int) -> npt.NDArray[np.int16]:
    """Without what a shift by as much leaves no partner to."""
    return cells[:, max(down, 0) : _ROWS + min(down, 0), max(right, 0) : _COLUMNS + min(right, 0)]


def to_text(found: Fingerprint) -> str:
    """Hexadecimal."""
    return found.tobytes().hex()


def from_text(text: object) -> Fingerprint | None:
    """Of `to_text`; None for anything else."""
    try:
        found = np.frombuffer(bytes.fromhex(text if isinstance(text, str) else ""), np.int8)
    except ValueError:
        return None
    return found if len(found) == _ROWS * _COLUMNS else None
