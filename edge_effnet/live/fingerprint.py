"""Telling pictures that look alike by a small grey one, so that none is kept twice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_effnet.live.motion import small_grey

Fingerprint = npt.NDArray[np.int8]
_ROWS, _COLUMNS = 12, 16
#: Mean difference of a cell, in grey levels of 255, below which two pictures are alike.
ALIKE_LEVELS = 3.0


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
    difference = np.abs(others.astype(np.int16) - found).mean(1)
    return bool(2 * difference.min() < ALIKE_LEVELS)


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
