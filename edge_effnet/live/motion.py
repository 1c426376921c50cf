"""Classifying only what moves: a small grey picture of each frame, compared with the one that was classified last."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from edge_effnet.arguments import real_numbers
from edge_effnet.errors import UsageError

#: Cells of the small picture, and how many pixels of a frame's side at most go into one.
_ROWS, _COLUMNS, _SAMPLES = 24, 32, 5
#: Frames that are classified after the last change, so that averages settle and frames can agree.
SETTLE_FRAMES = 12
#: A frame is classified at least so often, whatever moves: seconds.
LONGEST_S = 10.0
#: Grey levels of 255 by which a cell has changed.
DEFAULT_LEVELS = 10.0


def small_grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """float32[24, 32] in 0..255 of uint8[H, W, 3]: means over at most 25 green pixels each.

    Green is the best single one for brightness (0.59 of it, ITU-R BT.601).
    """
    rows, columns = _samples(*image.shape[:2])
    green = image[rows, columns, 1]
    return green.reshape(_ROWS, _SAMPLES, _COLUMNS, _SAMPLES).mean((1, 3), dtype=np.float32)


@functools.lru_cache(maxsize=4)
def _samples(height: int, width: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The rows, as a column, and the columns of the pixels that count, for frames of one size."""
    rows, columns = (
        np.linspace(0, size, cells * _SAMPLES, endpoint=False).astype(np.intp)
        for size, cells in ((height, _ROWS), (width, _COLUMNS))
    )
    return rows[:, None], columns[None, :]


class MotionGate:
    """Lets frames pass that differ from the last one it let pass, some after those, and one each ten seconds.

    levels: grey levels, 1..255, by which one of the 768 cells of the picture must change; what all of them change
    together (a lamp, the camera's exposure) doesn't count. For one thread. Raises UsageError for other levels.
    """

    def __init__(self, levels: float = DEFAULT_LEVELS, *, settle_frames: int = SETTLE_FRAMES) -> None:
        real_numbers("motion", levels)
        if not 1 <= levels <= 255:
            raise UsageError(f"motion of {levels:g} grey levels; expected 1 to 255")
        self._levels, self._settle = levels, settle_frames
        self._before: npt.NDArray[np.float32] | None = None
        self._passed_at = 0.0
        self._left = settle_frames

    def reset(self) -> None:
        """The next frame passes, as the first one did."""
        self._before = None

    def lets_pass(self, image: npt.NDArray[np.uint8], moment: float) -> bool:
        """Whether uint8[H, W, 3] of that monotonic second is to be classified."""
        grey = small_grey(image)
        if self._before is None or self._differs(grey, self._before):
            self._left = self._settle
        elif self._left > 0:
            self._left -= 1
        elif moment - self._passed_at < LONGEST_S:
            return False
        self._before, self._passed_at = grey, moment
        return True

    def _differs(self, grey: npt.NDArray[np.float32], before: npt.NDArray[np.float32]) -> bool:
        change = grey - before
        return bool(np.abs(change - np.median(change)).max() >= self._levels)
