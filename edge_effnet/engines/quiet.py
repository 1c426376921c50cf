"""Opening an engine without its banner."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import BinaryIO, cast

from edge_effnet.text import printable

_LOCK = threading.Lock()


@contextlib.contextmanager
def without_engine_banner() -> Iterator[None]:
    """Keeps the engine's "INFO: Created … delegate" off standard error, which its C++ code writes past Python.

    Everything else that the process writes there meanwhile, a few milliseconds, is passed on afterwards. One block at a
    time; a process without standard error is left alone.
    """
    with _LOCK, _unnamed_file() as caught:
        kept = _standard_error()
        if kept is None:
            yield
            return
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            with contextlib.suppress(OSError):  # a full disk there is no reason to stop
                for line in caught:
                    if not _is_chatter(line):
                        os.write(2, printable(line.rstrip().decode(errors="backslashreplace")).encode() + b"\n")


def _standard_error() -> int | None:
    """Another descriptor of it, with all written that waited; None without one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    try:
        return os.dup(2)
    except OSError:
        return None


def _is_chatter(line: bytes) -> bool:
    """LiteRT's banner, and what 2.0 logs while it starts ("I0000 00:00:17… port.cc:153] …")."""
    return line.startswith((b"INFO:", b"WARNING: All log messages before absl")) or (
        line[:1] == b"I" and line[1:5].isdigit() and b".cc:" in line
    )


def _unnamed_file() -> BinaryIO:
    """In memory where the system has such files: importing tempfile would cost more than all that is written here."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("stderr"), "w+b")
    import tempfile

    return cast("BinaryIO", tempfile.TemporaryFile())
