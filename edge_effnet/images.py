"""Finding image files: folders, globs and single names; and saying what of a folder isn't read."""

from __future__ import annotations

import fnmatch
import glob
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from edge_effnet.addresses import refuse_address
from edge_effnet.arguments import path_of
from edge_effnet.errors import UsageError
from edge_effnet.photo_formats import AVIF_SUFFIXES, HEIF_SUFFIXES, readable_extra
from edge_effnet.preprocessing import IMAGE_SUFFIXES

#: Whether folders are searched with all folders below them.
Depth: TypeAlias = Literal["recursive", "flat"]
#: What absolute paths of more than 260 characters begin with on Windows.
_LONG_PATH = "\\\\?\\"
#: Ending → what reads such photos where they aren't read yet.
_READ_BY = {
    **dict.fromkeys(HEIF_SUFFIXES, "pip install 'edge-effnet[heif]' reads them"),
    **dict.fromkeys(AVIF_SUFFIXES, "a Pillow with AVIF reads them: pip install -U pillow"),
}
#: Kind that is a noun → of several.
_SEVERAL = {
    "broken link": "broken links",
    "link to a folder": "links to folders",
    "no regular file": "no regular files",
}


@dataclass(frozen=True)
class FolderContents:
    """images: files that are read, sorted by path. left_out: kind (an ending, "hidden", …) → how many files."""

    images: tuple[Path, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def remark(self) -> str | None:
        """What is left out, and what would read it; None where nothing is."""
        if not self.left_out:
            return None
        kinds = [
            f"{count:,} {_SEVERAL.get(kind, kind) if count > 1 else kind}"
            + (f" ({_READ_BY[kind]})" if kind in _READ_BY else "")
            for kind, count in sorted(self.left_out.items(), key=lambda item: (item[0] not in _READ_BY, item))
        ]
        total = sum(self.left_out.values())
        return f"{total:,} file{'s' if total != 1 else ''} left out: {', '.join(kinds)}"


def look_through(folder: Path, *, depth: Depth = "recursive") -> FolderContents:
    """The image files of a folder, by ending, and how many others there are of which kind."""
    images: list[Path] = []
    left_out: Counter[str] = Counter()
    for path in _below(folder) if depth == "recursive" else folder.iterdir():
        kind = _why_left_out(path)
        if kind is None:
            images.append(path)
        elif kind:
            left_out[kind] += 1
    return FolderContents(tuple(sorted(images)), left_out)


def find_images(folder: Path) -> list[Path]:
    """All image files below a folder, by ending, sorted by path; hidden ones are left out."""
    return list(look_through(folder).images)


def _why_left_out(path: Path) -> str | None:
    """None for an image, "" for a folder (its files count by themselves), otherwise the kind of file."""
    try:
        if path.is_dir():
            return "link to a folder" if path.is_symlink() else ""
    except OSError:
        return "unreadable"
    suffix = path.suffix.lower()
    if path.name.startswith("."):
        return "hidden"
    if not path.is_file():
        return "broken link" if path.is_symlink() else "no regular file"
    if suffix in IMAGE_SUFFIXES or (suffix in _READ_BY and readable_extra(suffix)):
        return None
    return suffix or "without an ending"


def expand_sources(names: Iterable[str]) -> Iterator[Path]:
    """The files that names, folders and globs stand for, in order; a plain name is passed on even if it's missing.

    Raises UsageError for a folder or glob without images, and for an address.
    """
    for name in names:
        yield from look_up(name).images


def look_up(name: str, *, depth: Depth = "recursive") -> FolderContents:
    """What one name, folder or glob stands for; a plain name is passed on even if it's missing.

    Raises UsageError for a folder or glob without images, and for an address.
    """
    refuse_address(name)
    path = path_of(name, "a source")
    if path.is_dir():
        return _required(look_through(path, depth=depth), f"folder {name}")
    if not path.exists() and is_pattern(name):
        found = sorted(_matches(name, depth))
        return _required(FolderContents(tuple(found)), f"pattern {name}")
    return FolderContents((path,))


def is_pattern(name: str) -> bool:
    """Whether a name has *, ? or […] in it; those of Windows' long paths, \\\\?\\C:\\…, begin with another question
    mark.
    """
    return glob.has_magic(name.removeprefix(_LONG_PATH))


def _matches(pattern: str, depth: Depth) -> Iterator[Path]:
    """What a pattern stands for; ** goes through folders and not through links to folders, which may lead back up.

    Hidden names need a pattern that says their dot, as in a shell.
    """
    parts = Path(pattern).parts
    first = next(place for place, part in enumerate(parts) if is_pattern(part))
    found = [Path(*parts[:first])]
    for part in parts[first:]:
        if part == "**" and depth == "recursive":
            found = [below for path in found for below in _folders_from(path)]
        else:
            found = [match for path in found for match in _matches_in(path, part)]
        found = list(dict.fromkeys(found))
    return iter(found)


def _matches_in(folder: Path, part: str) -> Iterator[Path]:
    if not glob.has_magic(part):
        yield from (path for path in (folder / part,) if path.exists())
        return
    fits = re.compile(fnmatch.translate(part)).fullmatch
    for path in _entries(folder):
        if fits(path.name) and (part.startswith(".") or not path.name.startswith(".")):
            yield path


def _folders_from(top: Path) -> Iterator[Path]:
    """The folder and those below it that aren't hidden, without recursion: a tree may be deeper than Python's stack."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        yield folder
        below = filter(_is_real_folder, _entries(folder))
        waiting += sorted((path for path in below if not path.name.startswith(".")), reverse=True)


def _below(top: Path) -> Iterator[Path]:
    """Everything below a folder, but not below links to folders; what may not be read, or has too long a path, is
    passed over.
    """
    waiting = [top]
    while waiting:
        for path in _entries(waiting.pop()):
            yield path
            if _is_real_folder(path):
                waiting.append(path)


def _is_real_folder(path: Path) -> bool:
    try:
        return path.is_dir() and not path.is_symlink()
    except OSError:
        return False


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _required(found: FolderContents, what: str) -> FolderContents:
    if not found.images:
        others = f"; {found.remark}" if found.remark else ""
        expected = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UsageError(f"{what} holds no images; expected files ending in {expected}{others}")
    return found
