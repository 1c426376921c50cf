"""Class names as people type them, and the folders that we make for them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from edge_effnet.class_folders import LABEL_FILE, is_none
from edge_effnet.errors import UsageError
from edge_effnet.files import write_atomically
from edge_effnet.labels import folded
from edge_effnet.text import printable

LONGEST_NAME = 60
#: Folders of classes; each costs a column of the head and a place on the page.
MOST_CLASSES = 100
_READABLE = re.compile("[^a-z0-9]+")


def check_name(text: object, others: Iterable[str]) -> str:
    """The name as it is kept: NFC, spaces counted once. Raises UsageError for one that can't be shown or is taken."""
    if not isinstance(text, str):
        raise UsageError("the class has no name; expected a text")
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not 0 < len(name) <= LONGEST_NAME:
        raise UsageError(f"the name has {len(name)} characters; expected 1 to {LONGEST_NAME}")
    if printable(name) != name:
        raise UsageError("the name holds characters that can't be seen; type it anew")
    there = next((other for other in others if _is_same(name, other)), None)
    if there is not None:
        raise UsageError(f"there is a class {there} already; add to that one")
    return name


def _is_same(name: str, other: str) -> bool:
    """Whether they are one class: case doesn't matter, nor what the class of what is none is called."""
    return folded(name) == folded(other) or (is_none(name) and is_none(other))


def make_class_folder(photos: Path, name: str) -> Path:
    """A folder of a name of ours, "c03-my-cup", with what the class is called in it; there whole or not at all."""
    readable = _READABLE.sub("-", unicodedata.normalize("NFKD", name).lower()).strip("-")[:30].strip("-")
    taken = {path.name.partition("-")[0] for path in photos.iterdir()}
    if len(taken) >= MOST_CLASSES:
        raise UsageError(f"there are {len(taken)} classes; at most {MOST_CLASSES} fit")
    number = next(f"c{number:02}" for number in range(1, MOST_CLASSES + 2) if f"c{number:02}" not in taken)
    folder = photos / (f"{number}-{readable}" if readable else number)
    draft = photos / f".{number}.draft"
    draft.mkdir(exist_ok=True)
    write_atomically(draft / LABEL_FILE, f"{name}\n".encode())
    draft.rename(folder)
    return folder


def id_of(folder: Path) -> str:
    """What the page calls a folder: it never sends a path."""
    return hashlib.sha256(folder.name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
