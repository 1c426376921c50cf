"""Where a photo's pixels go: the size it is resized to, and the part of it that the network sees.

Sources: torchvision's `resize` and `center_crop` (shorter side to N, longer to int(N·long/short); offsets rounded half
to even); timm's `ResizeKeepRatio` for sizes that aren't square; PIL's `ImageOps.contain` and `ImageOps.pad`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

#: "shorter" side to N, aspect kept; "squash" to the size, aspect lost; "longer" side to N, aspect kept, what is short
#: of the crop filled; "pad" is "longer" to the crop itself, a letterbox.
ResizeMode: TypeAlias = Literal["shorter", "squash", "longer", "pad"]
RESIZE_MODES: tuple[ResizeMode, ...] = ("shorter", "squash", "longer", "pad")
Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Frame:
    """size: (width, height) of the resized photo. left, top: of the crop in it; negative where it is filled."""

    size: Size
    left: int
    top: int
    crop: Size

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of the crop."""
        return self.left, self.top, self.left + self.crop[0], self.top + self.crop[1]

    @property
    def filled(self) -> bool:
        """Whether the crop reaches beyond the resized photo."""
        return min(self.left, self.top) < 0 or self.box[2] > self.size[0] or self.box[3] > self.size[1]


def frame_of(size: Size, *, resize: Size, crop: Size, mode: ResizeMode) -> Frame:
    """The frame of a photo of (width, height); resize and crop as (height, width)."""
    resized = _resized(size, resize, mode)
    height, width = crop
    left, top = (round((side - kept) / 2.0) for side, kept in zip(resized, (width, height), strict=True))
    return Frame(resized, left, top, (width, height))


def _resized(size: Size, resize: Size, mode: ResizeMode) -> Size:
    width, height = size
    rows, columns = resize
    if mode == "squash":
        return columns, rows
    if mode == "shorter":
        return shorter_side(size, rows) if rows == columns else _covering(size, resize)
    across, down = width / height, columns / rows
    if across > down:
        rows = round(height / width * columns)
    elif across < down:
        columns = round(width / height * rows)
    return max(columns, 1), max(rows, 1)


def shorter_side(size: Size, resize: int) -> Size:
    """(width, height) with `resize` pixels on the shorter side."""
    width, height = size
    longer = int(resize * max(size) / min(size))
    return (resize, longer) if width <= height else (longer, resize)


def _covering(size: Size, resize: Size) -> Size:
    """The smallest size of the same aspect that covers (height, width)."""
    ratio = min(size[1] / resize[0], size[0] / resize[1])
    return max(round(size[0] / ratio), resize[1]), max(round(size[1] / ratio), resize[0])
