"""The resize and centre crop most networks are trained with, on PIL; the same without what the crop cuts off; and every
other way of resizing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edge_effnet.decoding import MAX_PIXELS, Photo
from edge_effnet.framing import Frame, shorter_side

if TYPE_CHECKING:
    from PIL import Image

#: Photos longer than this, or less than so many pixels larger than the resize, are resized whole (`resize_only_crop`).
_LONGEST, _CLEARLY_SMALLER = 1.8, 16


def resize_and_crop(image: Image.Image, *, resize: int, crop: int, interpolation: str) -> Image.Image:
    """The centre crop of the image resized to `resize` on its shorter side (PIL, antialiased)."""
    size = shorter_side(image.size, resize)
    left, top = (round((side - crop) / 2.0) for side in size)
    if size[0] * size[1] > MAX_PIXELS:  # a very long photo: only what the crop keeps is computed
        across, down = image.width / size[0], image.height / size[1]
        box = (left * across, top * down, (left + crop) * across, (top + crop) * down)
        return image.resize((crop, crop), resize_method(interpolation), box=box)
    resized = image if image.size == size else image.resize(size, resize_method(interpolation))
    return resized.crop((left, top, left + crop, top + crop))


def resize_only_crop(photo: Photo, *, resize: int, crop: int, interpolation: str) -> Image.Image:
    """`resize_and_crop` of the photo without computing what the crop cuts off.

    From an image of the photo's own size nearly all pixels are the same, and the others one level off (measured: 1 in
    8,000 over 1,500 sizes): PIL takes the box in float32, so that the filter lies up to 0.0001 pixels beside its place
    in the whole resize, and a value on the edge between two levels may tip. A box that avoids this exists for few
    sizes. Long photos and those that are enlarged are resized whole.
    """
    (width, height), size = photo.size, shorter_side(photo.size, resize)
    reduced = photo.image.size != photo.size
    if not reduced and (
        min(width, height) < resize + _CLEARLY_SMALLER or max(width, height) > _LONGEST * min(width, height)
    ):
        return resize_and_crop(photo.image, resize=resize, crop=crop, interpolation=interpolation)
    left, right = _span(photo.extent[0], photo.extent[2], size[0], crop)
    top, bottom = _span(photo.extent[1], photo.extent[3], size[1], crop)
    box = (left, top, min(right, photo.image.width), min(bottom, photo.image.height))
    if reduced or width >= height:
        return photo.image.resize((crop, crop), resize_method(interpolation), box=box)
    return _columns_first(photo.image, box, crop, resize_method(interpolation))


def _columns_first(
    image: Image.Image, box: tuple[float, float, float, float], crop: int, method: Image.Resampling
) -> Image.Image:
    """`image.resize((crop, crop), method, box=box)` in the order in which PIL resizes the whole of a photo that isn't
    long.

    From version 13 on it would take the rows first where many more of them go, and clip other values in between.
    """
    left, top, right, bottom = box
    reach = math.ceil(2 * (bottom - top) / crop) + 2  # bicubic looks two pixels of the result around
    first, last = max(math.floor(top) - reach, 0), min(math.ceil(bottom) + reach, image.height)
    rows = image.crop((0, first, image.width, last))
    narrow = rows.resize((crop, rows.height), method, box=(left, 0, right, rows.height))
    return narrow.resize((crop, crop), method, box=(0, top - first, crop, bottom - first))


def _span(low: float, high: float, side: int, crop: int) -> tuple[float, float]:
    """Where the crop lies between `low` and `high`, which the resize turns into `side` pixels."""
    start, scale = round((side - crop) / 2.0), (high - low) / side
    return low + start * scale, low + (start + crop) * scale


def framed(
    image: Image.Image,
    frame: Frame,
    extent: tuple[float, float, float, float],
    *,
    resizer: str,
    interpolation: str,
    fill: tuple[int, int, int],
) -> Image.Image:
    """The frame's crop of the image resized by any library's rules; what it is short of has the colour `fill`.

    extent: (left, top, right, bottom) of the photo in an image that was decoded smaller; PIL's resizes alone take it.
    """
    from PIL import Image

    if frame.size[0] * frame.size[1] > MAX_PIXELS:
        image, frame = _middle(image, frame)
        extent = (0, 0, *image.size)
    if not frame.filled:
        return _part(image, frame, extent, resizer, interpolation, frame.box)
    whole = _part(image, frame, extent, resizer, interpolation, (0, 0, *frame.size))
    colour = Image.new("RGB", (1, 1), fill).convert(image.mode).getpixel((0, 0))
    canvas = Image.new(image.mode, frame.crop, colour)
    canvas.paste(whole, (-frame.left, -frame.top))
    return canvas


def _middle(image: Image.Image, frame: Frame) -> tuple[Image.Image, Frame]:
    """Of a very long photo, whose resized size no memory would hold: what the crop keeps, to the nearest pixel."""
    left, top, right, bottom = frame.box
    across, down = image.width / frame.size[0], image.height / frame.size[1]
    sides = (math.floor(left * across), math.floor(top * down), math.ceil(right * across), math.ceil(bottom * down))
    return image.crop(sides), Frame(frame.crop, 0, 0, frame.crop)


def _part(
    image: Image.Image,
    frame: Frame,
    extent: tuple[float, float, float, float],
    resizer: str,
    interpolation: str,
    box: tuple[int, int, int, int],
) -> Image.Image:
    """`box` of the photo resized to the frame's size."""
    if resizer == "pillow":
        return image.resize(frame.size, resize_method(interpolation), box=extent).crop(box)
    from PIL import Image

    from edge_effnet.resizers import resize_pixels

    pixels = np.asarray(image)
    pixels = pixels if pixels.ndim == 3 else pixels[:, :, None]
    found = resize_pixels(pixels, frame.size, resizer=resizer, interpolation=interpolation, box=box)
    return Image.fromarray(found[:, :, 0] if found.shape[2] == 1 else found)


def resize_method(interpolation: str) -> Image.Resampling:
    """PIL's name of it."""
    from PIL import Image

    return Image.Resampling[interpolation.upper()]
