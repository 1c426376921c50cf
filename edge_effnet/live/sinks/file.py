"""Events as JSON Lines at the end of a file."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from edge_effnet.errors import OutputError
from edge_effnet.files import require_writable_folder
from edge_effnet.live.events import Event


class FileSink:
    """One line of JSON an event. The file is opened for each, so it may be moved away (logrotate) or its disk come back.

    A line is written whole or not at all: what a full disk took of it is cut off again. Raises OutputError when the folder is
    missing or not writable; `send` raises it for an event that couldn't be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self.name = f"event file {path}"
        require_writable_folder(self._path)

    def send(self, event: Event) -> None:
        """Appends the line and hands it to the disk."""
        line = json.dumps(event.to_dict(), ensure_ascii=False).encode() + b"\n"
        try:
            with open(self._path, "ab", buffering=0) as file:
                before = os.fstat(file.fileno()).st_size
                try:
                    if file.write(line) != len(line):
                        raise OSError("no space left for the whole line")
                    _sync(file.fileno())
                except OSError:
                    with contextlib.suppress(OSError):
                        os.ftruncate(file.fileno(), before)
                    raise
        except OSError as error:
            raise OutputError(f"can't write to {self._path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Nothing is open."""


def _sync(descriptor: int) -> None:
    """To the disk now, so that pulling the plug loses no event; a pipe or terminal can't, and needn't."""
    with contextlib.suppress(OSError):
        os.fdatasync(descriptor) if hasattr(os, "fdatasync") else os.fsync(descriptor)
