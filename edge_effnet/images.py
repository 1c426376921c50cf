"""Finding image files: folders, globs and single names."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge_effnet.errors import UsageError
from edge_effnet.preprocessing import IMAGE_SUFFIXES


def find_images(folder: Path) -> list[Path]:
    """All image files below a folder, by ending, sorted by path; hidden ones are left out."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(path for path in found if not path.name.startswith(".") and path.is_file())


def expand_sources(names: Iterable[str]) -> Iterator[Path]:
    """The files that names, folders and globs stand for, in order; a plain name is passed on even if it's missing.

    Raises UsageError for a folder or glob without images.
    """
    for name in names:
        path = Path(name)
        if path.is_dir():
            yield from _required(find_images(path), f"folder {name}")
        elif not path.exists() and glob.has_magic(name):
            yield from _required(sorted(Path(found) for found in glob.glob(name, recursive=True)), f"pattern {name}")
        else:
            yield path


def _required(found: list[Path], what: str) -> list[Path]:
    if not found:
        raise UsageError(f"{what} holds no images; expected files ending in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return found
