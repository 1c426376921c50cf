"""A decoded photo as it is looked at: upright by its EXIF orientation, and RGB."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from edge_effnet.photo_colours import to_rgb

if TYPE_CHECKING:
    from PIL import Image

#: EXIF orientation → (what PIL calls the turn that undoes it, whether it swaps the axes, and then mirrors x, y).
_TURNS: Mapping[int, tuple[str, bool, bool, bool]] = MappingProxyType(
    {
        2: ("FLIP_LEFT_RIGHT", False, True, False),
        3: ("ROTATE_180", False, True, True),
        4: ("FLIP_TOP_BOTTOM", False, False, True),
        5: ("TRANSPOSE", True, False, False),
        6: ("ROTATE_270", True, True, False),
        7: ("TRANSVERSE", True, True, True),
        8: ("ROTATE_90", True, False, True),
    }
)
_ORIENTATION = 0x0112  # EXIF 2.3
#: What PIL's decoders raise on broken files.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    MemoryError,
    BufferError,
    AttributeError,
    AssertionError,
    NotImplementedError,
    RecursionError,
)


@dataclass(frozen=True)
class Photo:
    """A decoded photo: `image`, upright and RGB, perhaps smaller than the photo was.

    size: (width, height) of the photo itself, upright. extent: (left, top, right, bottom), where the photo lies in the
    image, in the image's pixels. An image of the photo's own size holds it from edge to edge; a reduced one is rounded
    up to whole pixels, so that the last column and row may reach past the photo.
    """

    image: Image.Image
    size: tuple[int, int]
    extent: tuple[float, float, float, float]


def whole(image: Image.Image) -> Photo:
    """The photo that an image is by itself."""
    return Photo(image, image.size, (0.0, 0.0, float(image.width), float(image.height)))


def upright_rgb(
    image: Image.Image, extent: tuple[float, float, float, float], size: tuple[int, int] | None = None
) -> Photo:
    """The photo of an opened image, loaded and turned. size: of the photo as it is stored; extent: of the photo in the
    stored image. Raises what PIL's decoders raise, `BROKEN`.
    """
    from PIL import Image

    width, height = size or image.size
    image.load()
    turn = _TURNS.get(_orientation(image))
    if turn is None:
        return Photo(to_rgb(image), (width, height), extent)
    method, swaps, mirrors_x, mirrors_y = turn
    image = image.transpose(Image.Transpose[method])
    left, top, right, bottom = (extent[1], extent[0], extent[3], extent[2]) if swaps else extent
    if mirrors_x:
        left, right = image.width - right, image.width - left
    if mirrors_y:
        top, bottom = image.height - bottom, image.height - top
    return Photo(to_rgb(image), (height, width) if swaps else (width, height), (left, top, right, bottom))


def _orientation(image: Image.Image) -> int:
    with contextlib.suppress(*BROKEN):  # broken EXIF: the picture is whole
        found = image.getexif().get(_ORIENTATION)
        return found if isinstance(found, int) else 1
    return 1
