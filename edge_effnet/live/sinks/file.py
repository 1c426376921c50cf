"""Events as JSON Lines at the end of a file."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from edge_effnet.errors import OutputError
from edge_effnet.files import lock, require_appendable, sync_folder
from edge_effnet.live.delivery import Undelivered
from edge_effnet.live.events import Event
from edge_effnet.system import sync
from edge_effnet.text import json_text

_LOG = logging.getLogger("edge_effnet.live")
#: Bytes looked at before the end of the file; lines of events are some hundred long.
_TAIL = 1 << 16
#: How long another process may keep the file for itself, before an event is given up.
_LOCK_WAIT_S = 10.0
_LOCK_STEP_S = 0.2


class FileSink:
    """One line of JSON an event. The file is opened for each, so it may be moved away (logrotate) or its disk come
    back.

    A line is written whole or not at all: what a full disk took of it is cut off again, and what a power cut or a kill
    left of the last one is cut off before the next. Raises OutputError when the folder is missing or not writable;
    `send` raises it for an event that couldn't be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self.name = f"event file {path}"
        self._abandoned = False
        require_appendable(self._path)

    def send(self, event: Event) -> None:
        """Appends the line and hands it to the disk."""
        line = json_text(event.to_dict()).encode() + b"\n"
        try:
            with open(self._path, "ab", buffering=0) as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    self._append(file.fileno(), line)
                else:  # a pipe, a terminal: what is written is gone
                    _write(file.fileno(), line)
        except OSError as error:
            raise OutputError(f"can't write to {self._path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Nothing is open."""

    def abandon(self) -> None:
        """Waits for no lock any longer."""
        self._abandoned = True

    def keep(self, undelivered: Sequence[Undelivered]) -> str:
        """Appends undelivered events, with the sink's name, to a file beside this one; what became of them."""
        if self._path.is_char_device():
            return f"nor kept, since {self._path} is a device"
        path = self._path.with_name(f"{self._path.name}.undelivered")
        lines = [{**event.to_dict(), "sink": left.sink} for left in undelivered for event in left.events]
        try:
            with open(path, "ab") as file:
                lock(file.fileno(), wait_s=1.0)
                file.write(b"".join(json_text(line).encode() + b"\n" for line in lines))
                file.flush()
                _sync(file.fileno())
        except OSError as error:
            return f"nor could they be kept in {path}: {error.strerror or error}"
        return f"kept in {path}"

    def _append(self, file: int, line: bytes) -> None:
        """Behind the last whole line. The lock is for other processes that write here, too: none sees half a line of
        another.
        """
        self._lock(file)
        begin = self._mended(file)
        before = os.fstat(file).st_size
        try:
            _write(file, begin + line)
            _sync(file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file, before)
            raise
        if before == 0:
            sync_folder(self._path.parent)  # the file may be new, and its name lost by a power cut

    def _lock(self, file: int) -> None:
        """Raises BlockingIOError when another process keeps it for ten seconds, or until this sink is abandoned."""
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                lock(file, wait_s=_LOCK_STEP_S)
                break
            except BlockingIOError:
                if self._abandoned or time.monotonic() >= deadline:
                    raise
        if self._abandoned:
            raise BlockingIOError(errno.EAGAIN, "another process kept it locked to the end")

    def _mended(self, file: int) -> bytes:
        """Cuts off what isn't a whole line at the end; what must stand before the next line: nothing or a line's
        end.
        """
        size = os.fstat(file).st_size
        with (
            contextlib.suppress(OSError),
            open(self._path, "rb") as reader,
        ):  # a file that may only be written isn't mended
            if not os.path.samestat(os.fstat(file), os.fstat(reader.fileno())):  # moved away just now
                return b""
            whole, begin = _whole_part(reader, size)
            if whole == size:
                return begin
            reader.seek(whole)
            torn = reader.read(min(size - whole, _TAIL))
            if os.fstat(file).st_size != size:  # somebody writes without the lock
                return b"\n"
            try:
                os.ftruncate(file, whole)
            except OSError:  # a file that may only grow
                return b"\n"
            _LOG.warning(
                "%s: cut off %d bytes at its end that are no whole line: %.200r", self.name, size - whole, torn
            )
            return begin
        return b""


def _whole_part(file: BinaryIO, size: int) -> tuple[int, bytes]:
    """(bytes of the file that stay, what must be written before the next line) of a file of `size` bytes.

    NUL bytes are what a power cut leaves where the file grew and its contents never reached the disk: they go, and so
    does the line they are in. A line without its end goes unless it is a whole JSON object that lacks the line's end
    alone. What doesn't begin as an event does, or is longer than one can be, isn't ours: it stays, and gets a line's
    end.
    """
    end = _without_padding(file, size)
    start = max(end - _TAIL, 0)
    file.seek(start)
    tail = file.read(end - start)
    begin = tail.rfind(b"\n", 0, -1) + 1
    last = tail[begin:]
    foreign = last[:1] not in (b"{", b"\0") or (begin == 0 and start > 0)
    if not last or (last.endswith(b"\n") and (foreign or b"\0" not in last)):
        return end, b""
    if foreign:
        return size, b"\n"
    return (end, b"\n") if _is_json(last) else (start + begin, b"")


def _without_padding(file: BinaryIO, size: int) -> int:
    """Where the NUL bytes begin with which the file ends; its size when it doesn't."""
    while size:
        start = max(size - _TAIL, 0)
        file.seek(start)
        kept = file.read(size - start).rstrip(b"\0")
        if kept:
            return start + len(kept)
        size = start
    return 0


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _write(file: int, data: bytes) -> None:
    if os.write(file, data) != len(data):
        raise OSError("no space left for the whole line")


def _sync(file: int) -> None:
    """To the disk now, so that pulling the plug loses no event; nothing where the file system has no such thing."""
    try:
        sync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
