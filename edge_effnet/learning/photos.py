"""The photos to learn from: a folder a class, each photo known by the digest of its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_effnet.class_folders import LABEL_FILE, class_folders, class_name, is_none, look_through_class
from edge_effnet.datasets import INDEX_FILE
from edge_effnet.errors import UsageError
from edge_effnet.labels import UNKNOWN, folded
from edge_effnet.reading import UnreadableError, read_file


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo, its label and the SHA-256 of its bytes, in hexadecimal."""

    path: Path
    label: str
    digest: str


@dataclass(frozen=True)
class PhotoFolder:
    """folder: where they lie. labels: in sorted order, `UNKNOWN` last where there is such a folder. photos: sorted by
    label and digest, each content once. left_out: what isn't used and why, a line each.
    """

    folder: Path
    labels: tuple[str, ...]
    photos: tuple[LabelledPhoto, ...]
    left_out: tuple[str, ...]


def read_photos(
    folder: Path, *, most_bytes: int, after_photo: Callable[[int, int], None] = lambda _done, _total: None
) -> PhotoFolder:
    """The class folders of a folder and their photos, whatever order the folder lists them in.

    after_photo: is called with how many of how many photos are read. A photo that can't be read is left out, and so is
    one that lies in two classes. Raises UsageError where there aren't two classes with photos, or two are called alike.
    """
    found, left_out = _look(folder)
    total = sum(map(len, found.values()))
    photos: dict[str, LabelledPhoto] = {}
    contradicted: set[str] = set()
    done = 0
    for label in sorted(found):
        for path in found[label]:
            done += 1
            after_photo(done, total)
            try:
                digest = hashlib.sha256(read_file(path, most_bytes=most_bytes)).hexdigest()
            except UnreadableError as error:
                left_out.append(f"{path}: {error}")
                continue
            other = photos.setdefault(digest, LabelledPhoto(path, label, digest))
            if other.label != label:
                left_out.append(f"{path}: the same photo as {other.path}, of another class: neither is used; keep one")
                contradicted.add(digest)
    kept = [photo for digest, photo in photos.items() if digest not in contradicted]
    return with_photos(PhotoFolder(folder, tuple(sorted(found)), (), ()), kept, left_out)


def _look(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Label → photos; and what a folder holds besides. Folders for none of the classes are one."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; expected one that holds a folder of photos for each class")
    found: dict[str, list[Path]] = {}
    left_out = []
    folders = class_folders(folder)
    loose = sum(not path.is_dir() and path.name[0] != "." and path.name != INDEX_FILE for path in folder.iterdir())
    if loose:
        left_out.append(f"{folder}: {loose:,} file{'s lie' if loose > 1 else ' lies'} in no class folder")
    for path in folders:
        contents, name = look_through_class(path), class_name(path)
        found.setdefault(UNKNOWN if is_none(name) else name, []).extend(contents.images)
        if contents.remark:
            left_out.append(f"{path}: {contents.remark}")
    _check_told_apart(found)
    return found, left_out


def _check_told_apart(labels: Iterable[str]) -> None:
    """Raises UsageError for labels that differ in nothing by which labels are looked up."""
    seen: dict[str, str] = {}
    for label in sorted(labels):
        if (other := seen.setdefault(folded(label), label)) != label:
            raise UsageError(
                f"classes {other!r} and {label!r} differ by case alone, and names are looked up in any case; rename "
                f"one, or give both folders one name in {LABEL_FILE}"
            )


def with_photos(found: PhotoFolder, photos: Sequence[LabelledPhoto], left_out: Sequence[str]) -> PhotoFolder:
    """The folder with these photos alone; classes without any are left out, and told.

    Raises UsageError where they aren't of two classes any more.
    """
    labels = {photo.label for photo in photos}
    own = sorted(labels - {UNKNOWN})
    if len(labels) < 2 or not own:
        broken = f" ({left_out[-1]})" if left_out else ""
        raise UsageError(
            f"{found.folder} has photos of {', '.join(sorted(labels)) or 'no class'}{broken}; expected a folder of "
            f"photos for each of at least two classes, or one and a folder {UNKNOWN!r}"
        )
    without = (f"class {label}: none of its photos is left" for label in found.labels if label not in labels)
    return PhotoFolder(
        found.folder,
        (*own, *(label for label in (UNKNOWN,) if label in labels)),
        tuple(sorted(photos, key=lambda photo: (photo.label, photo.digest))),
        (*left_out, *without),
    )
