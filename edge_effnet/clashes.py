"""Refusing outputs that are inputs, before anything starts: every verb that writes asks here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from edge_effnet.errors import UsageError
from edge_effnet.images import find_images

#: What is read from a folder besides its photos: `datasets.INDEX_FILE`, a hub folder's configuration and weights, and
#: the name of a class (`class_folders.LABEL_FILE`).
_READ_FROM_FOLDERS = ("labels.csv", "config.json", "label.txt")
_READ_ENDINGS = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")


def check_outputs(outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    """Raises UsageError when an output is the same file as an input or another output: by its path, through a link, as
    a hard link, or as a photo in an input folder.

    outputs: what to call it ("--report") → path. inputs: what to call it ("the checkpoint") → file, folder, or sequence
    of them. What is no path (None, an array, a module) is passed over.
    """
    written = {name: Path(path) for name, path in outputs.items() if _is_path(path)}
    for (first, one), (second, other) in combinations(written.items(), 2):
        if os.path.realpath(one) == os.path.realpath(other) or _same(one, other):
            raise UsageError(f"{first} {one} and {second} {other} are the same file; give each a name of its own")
    for (name, path), (what, given) in ((output, item) for output in written.items() for item in inputs.items()):
        if path.exists() and any(_same(path, file) for file in _files(given)):
            raise UsageError(f"{name} {path} is {what}, which it would overwrite; give the output another name")


def check_save_folder(option: str, folder: str | os.PathLike[str], sources: Iterable[Any]) -> None:
    """Raises UsageError when a source photo lies in the folder that copies go to: the next run would take those for
    photos.
    """
    for source in sources:
        if _is_path(source) and _same(Path(folder), Path(source).parent):
            raise UsageError(f"{option} {folder} is the folder of the photo {source}; give the copies another folder")


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike)) and value != ""


def _same(one: Path, other: Path) -> bool:
    """Whether both exist and are one file or folder."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def _files(given: Any) -> Iterator[Path]:
    """The files that are read of an input."""
    if isinstance(given, Sequence) and not isinstance(given, (str, bytes)):
        for item in given:
            yield from _files(item)
    elif _is_path(given):
        path = Path(given)
        yield from _files_of(path) if path.is_dir() else (path,)


def _files_of(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.iterdir() if path.suffix in _READ_ENDINGS or path.name in _READ_FROM_FOLDERS)
    yield from folder.glob("*/label.txt")
    yield from find_images(folder)
