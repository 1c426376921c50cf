"""Photos on their way from the inbox into classes: every step can be undone, and a kill at any time loses none.

A folder DIR holds `photos`, a folder a class, which `edge-effnet learn DIR/photos` reads as it is; `dismissed`, what
was thrown away last; and `inbox`, unless that lies elsewhere. A photo moves by one rename: it is in one place or the
other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_effnet.class_folders import LABEL_FILE, class_folders, class_name
from edge_effnet.errors import OutputError, UsageError
from edge_effnet.files import sync_folder, write_atomically
from edge_effnet.images import find_images
from edge_effnet.live.keeping import (
    PICTURE_NAME,
    check_free,
    new_name,
    open_folder_for_pictures,
    pictures_in,
    remove_picture,
    save_picture,
)
from edge_effnet.live.teaching.names import check_name, id_of, make_class_folder

#: Photos of one class that the page collects.
MOST_A_CLASS = 2000
_MOST_DISMISSED = 200
_MOST_STEPS = 100


@dataclass(frozen=True)
class ClassFolder:
    """A class: what the page calls it, its name, its photos, oldest first."""

    id: str
    name: str
    folder: Path
    photos: tuple[Path, ...]


@dataclass
class Step:
    """What can be undone: where pictures came from and where they are now, and a folder that was made."""

    what: str
    burst: str = ""
    moves: list[tuple[Path, Path]] = field(default_factory=list)
    made: Path | None = None


class Shelf:
    """The photos of a folder that is taught from. inbox: where frames wait for a name. For any thread.

    Raises OutputError for folders that can't be used.
    """

    def __init__(self, folder: Path, *, inbox: Path) -> None:
        self.photos, self._dismissed = folder / "photos", folder / "dismissed"
        self.inbox = open_folder_for_pictures(inbox)
        self._lock = threading.RLock()
        self._steps: deque[Step] = deque(maxlen=_MOST_STEPS)
        open_folder_for_pictures(self._dismissed)
        open_folder_for_pictures(self.photos)
        for one in class_folders(self.photos):
            open_folder_for_pictures(one)

    def classes(self) -> list[ClassFolder]:
        """All of them, in the order they were made."""
        with self._lock:
            return [_class_at(folder) for folder in class_folders(self.photos)]

    def waiting(self) -> list[Path]:
        """The inbox, newest first."""
        return pictures_in(self.inbox)[::-1]

    @property
    def last_step(self) -> str | None:
        """What `undo` would take back."""
        with self._lock:
            return self._steps[-1].what if self._steps else None

    def add_class(self, name: object) -> ClassFolder:
        """Raises UsageError for a name that can't be one, or is there."""
        with self._lock:
            checked = check_name(name, [one.name for one in self.classes()])
            folder = make_class_folder(self.photos, checked)
            self._steps.append(Step(f"new class {checked}", made=folder))
            return _class_at(folder)

    def class_of(self, identifier: object) -> ClassFolder:
        """Raises UsageError when there is none."""
        found = next((one for one in self.classes() if one.id == identifier), None)
        if found is None:
            raise UsageError("there is no such class any more")
        return found

    def waiting_picture(self, identifier: object) -> Path:
        """A picture of the inbox. Raises UsageError when it is gone."""
        name = f"{identifier}.jpg"
        if not PICTURE_NAME.fullmatch(name) or not (self.inbox / name).is_file():
            raise UsageError("that picture isn't in the inbox any more")
        return self.inbox / name

    def assign(self, pictures: Sequence[object], identifier: object) -> int:
        """Gives pictures of the inbox a class; how many were still there."""
        with self._lock:
            found = self.class_of(identifier)
            _check_room(found, len(pictures))
            return self._move(pictures, found.folder, f"{{}} to {found.name}")

    def dismiss(self, pictures: Sequence[object]) -> int:
        """Throws pictures of the inbox away; the last 200 can be taken back."""
        with self._lock:
            count = self._move(pictures, self._dismissed, "{} dismissed")
            for old in pictures_in(self._dismissed)[:-_MOST_DISMISSED]:
                remove_picture(old)
            return count

    def collect(
        self, jpeg: bytes, facts: Mapping[str, Any], identifier: object, *, timestamp: float, burst: str
    ) -> ClassFolder:
        """Puts a live picture into a class; those of one burst are undone together. Raises OutputError on a full
        disk.
        """
        with self._lock:
            found = self.class_of(identifier)
            _check_room(found, 1)
            path = save_picture(found.folder, jpeg, facts, timestamp=timestamp)
            step = self._steps[-1] if self._steps and burst and self._steps[-1].burst == burst else None
            if step is None:
                step = Step("", burst)
                self._steps.append(step)
            step.moves.append((self._dismissed / path.name, path))
            step.what = f"{_counted(len(step.moves))} collected for {found.name}"
            return _class_at(found.folder)

    def undo(self) -> str:
        """Takes the last step back; what it was. Raises UsageError when there is none."""
        with self._lock:
            if not self._steps:
                raise UsageError("there is nothing to undo")
            step = self._steps.pop()
            for source, now in reversed(step.moves):
                if now.is_file():
                    move_picture(now, source.parent)
            if step.made is not None:
                _remove_empty(step.made)
            return step.what

    def _move(self, pictures: Sequence[object], folder: Path, what: str) -> int:
        moves = []
        for one in pictures:
            with contextlib.suppress(UsageError):
                source = self.waiting_picture(one)
                moves.append((source, move_picture(source, folder)))
        if moves:
            self._steps.append(Step(what.format(_counted(len(moves))), moves=moves))
        return len(moves)


def move_picture(picture: Path, folder: Path) -> Path:
    """Its new path. The document is there before the picture, which moves by one rename; another file system gets a
    copy first. Raises OutputError.
    """
    target = folder / picture.name
    if target.exists():
        target = new_name(folder, picture.stat().st_mtime)
    document, new_document = picture.with_suffix(".json"), target.with_suffix(".json")
    try:
        if document.is_file():
            write_atomically(new_document, document.read_bytes())
        try:
            os.rename(picture, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            data = picture.read_bytes()
            check_free(folder, len(data))
            write_atomically(target, data)
            picture.unlink()
        document.unlink(missing_ok=True)
        sync_folder(folder)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"can't move {picture.name} to {folder}: {error.strerror or error}") from error
    return target


def _class_at(folder: Path) -> ClassFolder:
    try:
        name = class_name(folder)
    except UsageError:  # a label file that somebody broke: learning says so
        name = folder.name
    return ClassFolder(id_of(folder), name, folder, tuple(find_images(folder)))


def _check_room(found: ClassFolder, more: int) -> None:
    if len(found.photos) + more > MOST_A_CLASS:
        raise UsageError(f"{found.name} has {len(found.photos)} photos; at most {MOST_A_CLASS} are collected")


def _remove_empty(folder: Path) -> None:
    """A class that has got photos since stays."""
    if any(path.name != LABEL_FILE for path in folder.iterdir()):
        return
    (folder / LABEL_FILE).unlink(missing_ok=True)
    folder.rmdir()


def _counted(count: int) -> str:
    return f"{count} picture{'s' if count != 1 else ''}"
