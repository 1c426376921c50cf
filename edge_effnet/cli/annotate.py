"""Annotated copies of photos: the predictions written on a band below the picture."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from edge_effnet.decoding import ImageRules, decode
from edge_effnet.files import write_new
from edge_effnet.prediction import Prediction

_LONGEST_SIDE = 1600
_SMALLEST_TEXT = 14
#: Bytes; file systems allow 255 for a name.
_LONGEST_STEM = 200


def annotated(source: Any, predictions: Sequence[Prediction], *, rules: ImageRules) -> bytes:
    """A JPEG copy of the photo with the predictions below it."""
    from PIL import Image, ImageDraw, ImageFont

    photo = decode(source, rules=rules)
    photo.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    size = max(_SMALLEST_TEXT, photo.width // 40)
    line = round(size * 1.5)
    canvas = Image.new(
        "RGB", (max(photo.width, 16 * size), photo.height + line * max(1, len(predictions)) + line // 2), (24, 24, 27)
    )
    canvas.paste(photo, ((canvas.width - photo.width) // 2, 0))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size)
    for row, found in enumerate(predictions):
        top = photo.height + line // 4 + row * line
        draw.rectangle((0, top + 2, int(found.score * canvas.width), top + line - 2), fill=(37, 99, 235))
        draw.text(
            (size // 2, top + line // 2),
            f"{100 * found.score:.1f} %  {found.label}",
            fill="white",
            font=font,
            anchor="lm",
        )
    buffer = io.BytesIO()
    canvas.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def save_copy(content: bytes, name: str, folder: Path) -> Path:
    """Writes a copy named after the photo into `folder`; one of the same name gets a number behind it."""
    return write_new(_names(folder, "stdin" if name == "-" else Path(name).stem), content)


def _names(folder: Path, stem: str) -> Iterator[Path]:
    """photo.jpg, photo-2.jpg, photo-3.jpg, …; of a stem that leaves no room for that its beginning."""
    short = os.fsdecode(os.fsencode(stem)[:_LONGEST_STEM])
    yield folder / f"{short}.jpg"
    yield from (folder / f"{short}-{number}.jpg" for number in count(2))
