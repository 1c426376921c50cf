"""A folder a class: what the class is called.

A folder's name is its class's, unless it holds `label.txt`: that has the name then, one line of UTF-8. So names that no
file system takes ("tea / coffee"), or that strangers type into a page, never become paths.
"""

from __future__ import annotations

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
    """The label of a class folder. Raises UsageError for a `label.txt` that isn't one line of text."""
    path = folder / LABEL_FILE
    if not path.is_file():
        return folder.name
    try:
        label = read_file(path, most_bytes=_MOST_BYTES).decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"can't read the class name in {path}: {error}; expected one line of UTF-8") from error
    fault = label_fault(label) if label else "is empty"
    if fault is not None:
        raise UsageError(f"the class name in {path} {fault}; expected one line of text")
    return label


def class_folders(folder: Path) -> list[Path]:
    """The folders of a folder of classes, sorted by name; hidden ones are none."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def look_through_class(folder: Path) -> FolderContents:
    """The photos of a class folder; what the camera's page has noted beside them is no remark's worth."""
    contents = look_through(folder)
    if not (folder / LABEL_FILE).is_file():
        return contents
    return replace(contents, left_out={kind: n for kind, n in contents.left_out.items() if kind not in _NOTES})


def is_none(label: str) -> bool:
    """Whether a folder of that name holds photos of none of the classes."""
    return label.casefold() in NONE_FOLDERS
