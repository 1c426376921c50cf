"""Pictures in a folder, each with a JSON document beside it, as a power cut leaves them whole.

The document is written first: a picture is there once its own name is, and then its document is, too. A document alone
is what a cut left, and goes when the folder is opened.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_effnet.errors import OutputError
from edge_effnet.files import write_atomically
from edge_effnet.text import json_text, parse_json

#: Names that we give: when the frame was taken, in UTC, to the millisecond, and a number where that isn't enough.
PICTURE_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z-\d{1,6}\.jpg")
#: Bytes of the disk that are left to others.
LEAST_FREE_BYTES = 200 * 1024 * 1024
_LONGEST_FACTS = 1 << 16


def open_folder_for_pictures(folder: Path) -> Path:
    """The folder, made where it is missing, without documents that have no picture. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise OutputError(f"can't write in {folder}: no permission")
        for path in folder.iterdir():
            picture = path.with_suffix(".jpg")
            if path.suffix == ".json" and PICTURE_NAME.fullmatch(picture.name) and not picture.exists():
                path.unlink()
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"can't use the folder {folder}: {error.strerror or error}") from error
    return folder


def save_picture(folder: Path, jpeg: bytes, facts: Mapping[str, Any], *, timestamp: float) -> Path:
    """Writes JPEG and document under a new name. timestamp: seconds since 1970.

    Raises OutputError when the disk has less than 200 MB left, or they can't be written.
    """
    check_free(folder, len(jpeg))
    path = new_name(folder, timestamp)
    write_atomically(path.with_suffix(".json"), json_text(dict(facts), indent=1).encode() + b"\n")
    try:
        write_atomically(path, jpeg)
    except BaseException:
        path.with_suffix(".json").unlink(missing_ok=True)
        raise
    return path


def check_free(folder: Path, size: int) -> None:
    """Raises OutputError when `size` more bytes would leave less than 200 MB of the disk."""
    free = shutil.disk_usage(folder).free
    if free - size < LEAST_FREE_BYTES:
        raise OutputError(
            f"{folder}: {free // (1 << 20)} MB of the disk are free; {LEAST_FREE_BYTES >> 20} are left to others, so "
            "make room there"
        )


def new_name(folder: Path, timestamp: float) -> Path:
    """A picture's path that is free. One writer a folder makes names."""
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(timestamp))
    stem = f"{moment}.{int(timestamp * 1000) % 1000:03}Z"
    number = 0
    while (path := folder / f"{stem}-{number}.jpg").exists():
        number += 1
    return path


def pictures_in(folder: Path) -> list[Path]:
    """Our pictures of a folder, oldest first; nothing where it isn't there."""
    try:
        return sorted(path for path in folder.iterdir() if PICTURE_NAME.fullmatch(path.name))
    except FileNotFoundError:
        return []


def facts_of(picture: Path) -> dict[str, Any]:
    """The document beside a picture; empty where there is none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        path = picture.with_suffix(".json")
        if path.stat().st_size <= _LONGEST_FACTS:
            found = parse_json(path.read_bytes())
            return found if isinstance(found, dict) else {}
    return {}


def remove_picture(picture: Path) -> None:
    """Picture first: what is left then is a document alone. Nothing where it is gone already."""
    picture.unlink(missing_ok=True)
    picture.with_suffix(".json").unlink(missing_ok=True)
