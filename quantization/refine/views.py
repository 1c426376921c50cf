"""Photos as a network might also have seen them: mirrored, moved, brighter or darker."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: How far a photo is moved at most, as a share of its side, and how much brighter or darker it gets, of 255.
_SHIFT, _BRIGHTNESS = 1 / 14, 12.0


def draw_view(photo: npt.NDArray[np.uint8], generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """uint8[S, S, 3] of the same size, drawn by the generator; what moves in at the edge is mirrored."""
    side = photo.shape[0]
    reach = int(side * _SHIFT)
    down, right = (int(value) for value in generator.integers(-reach, reach + 1, 2))
    mirrored, brighter = generator.random() < 0.5, generator.normal() * _BRIGHTNESS
    view = photo[_moved(side, down)][:, _moved(side, right)]
    if mirrored:
        view = view[:, ::-1]
    changed: npt.NDArray[Any] = np.rint(view + np.float32(brighter))
    return np.clip(changed, 0, 255).astype(np.uint8)


def _moved(side: int, by: int) -> npt.NDArray[np.intp]:
    """Rows of a photo moved by some, mirrored at its edges."""
    found = np.abs(np.arange(side) + by)
    return np.minimum(found, 2 * (side - 1) - found)
