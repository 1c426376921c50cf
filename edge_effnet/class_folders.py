"""A folder a class: what the class is called.

A folder's name is its class's, unless it holds `label.txt`: that has the name then, one line of UTF-8. So names that no
file system takes ("tea / coffee"), or that strangers type into a page, never become paths.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import replace
from pathlib import Path

from edge_effnet.errors import UsageError
from edge_effnet.images import FolderContents, look_through
from edge_effnet.labels import UNKNOWN, label_fault
from edge_effnet.reading import read_file

LABEL_FILE = "label.txt"
#: Names of a folder whose photos are of none of the classes.
NONE_FOLDERS = frozenset({"none", UNKNOWN})
#: What the camera's page keeps beside the photos that it was told the names of.
_NOTES = frozenset({".txt", ".json"})
_MOST_BYTES = 1 << 12


def class_name(folder: Path) -> str:
    """The label of a class folder, in Unicode's NFC and without blanks around it.

    Raises UsageError for a `label.txt`, or without one for a folder's name, that isn't one line of text, and for a
    folder that may not be looked into.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UsageError(f"no permission to look into the class folder {folder}; give it, or take the folder away")
    path = folder / LABEL_FILE
    if not path.is_file():
        return _checked(folder.name, f"the folder's name {folder}", f"name it anew, or say it in {LABEL_FILE} in it")
    try:
        label = read_file(path, most_bytes=_MOST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"can't read the class name in {path}: {error}; expected one line of UTF-8") from error
    return _checked(label.strip(), f"the class name in {path}", "name it anew")


def _checked(name: str, what: str, remedy: str) -> str:
    label = unicodedata.normalize("NFC", name).strip()
    fault = label_fault(label) if label else "is empty"
    if fault is not None:
        raise UsageError(f"{what} {fault}; expected one line of text: {remedy}")
    return label


def class_folders(folder: Path) -> list[Path]:
    """The folders of a folder of classes, sorted by name; hidden ones are none, nor are links that lead back up."""
    here = folder.resolve()
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and not here.is_relative_to(path.resolve())
    )


def look_through_class(folder: Path) -> FolderContents:
    """The photos of a class folder; what the camera's page has noted beside them is no remark's worth."""
    contents = look_through(folder)
    if not (folder / LABEL_FILE).is_file():
        return contents
    return replace(contents, left_out={kind: n for kind, n in contents.left_out.items() if kind not in _NOTES})


def is_none(label: str) -> bool:
    """Whether a folder of that name holds photos of none of the classes."""
    return label.casefold() in NONE_FOLDERS
