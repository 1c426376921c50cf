"""Reading a whole file into memory: a regular one, of a bounded size, and as it was at one moment.

What is in memory can't change or be cut off beneath a reader or an engine, as a mapped file can (SIGBUS).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


class UnreadableError(OSError):
    """Why a file isn't read; `str` gives the reason alone ("a folder")."""


def read_file(path: str | os.PathLike[str], *, most_bytes: int) -> bytes:
    """The content of a regular file. Raises UnreadableError for anything else, a larger one, and what can't be read."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as error:
        raise UnreadableError("no such file") from error
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        raise UnreadableError("a folder" if Path(path).is_dir() else f"can't be read ({_reason(error)})") from error
    try:
        return _content(handle, most_bytes)
    except OSError as error:
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(f"can't be read ({_reason(error)})") from error
    finally:
        os.close(handle)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _content(handle: int, most_bytes: int) -> bytes:
    found = os.fstat(handle)
    if stat.S_ISDIR(found.st_mode):
        raise UnreadableError("a folder")
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableError("not a regular file")
    if found.st_size > most_bytes:
        raise UnreadableError(f"{found.st_size:,} bytes; at most {most_bytes:,} are read")
    pieces = []
    left = most_bytes + 1
    while left > 0 and (piece := os.read(handle, min(left, max(found.st_size, 1 << 16)))):
        pieces.append(piece)
        left -= len(piece)
    if not left:
        raise UnreadableError(f"more than {most_bytes:,} bytes; that is what is read at most")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
