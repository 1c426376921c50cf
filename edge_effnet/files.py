"""Writing files so that either the old or the whole new file is there, never a torn one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from edge_effnet.errors import OutputError


def write_atomically(path: str | Path, data: bytes) -> None:
    """Writes `data` to a temporary file beside `path`, syncs it and renames it over `path`.

    Raises OutputError when the folder is missing, not writable or full; the old file is then untouched and the
    temporary one removed.
    """
    path = Path(path)
    try:
        with _temporary_beside(path) as temporary:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, _mode(path))
            os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"can't write {path}: {error.strerror or error}; nothing was changed") from error


@contextlib.contextmanager
def _temporary_beside(path: Path) -> Iterator[str]:
    import tempfile  # here and below: `predict` never comes here, and must start quickly

    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    try:
        yield name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _mode(path: Path) -> int:
    """Permissions of the file that is replaced, or what the umask leaves of 0666."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def require_writable_folder(path: str | Path) -> None:
    """Raises OutputError early, before minutes of work, when `path` can't be created."""
    folder = Path(path).parent
    if not folder.is_dir():
        raise OutputError(f"can't write {path}: the folder {folder} does not exist; create it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"can't write {path}: no permission to write in {folder}")


def sha256_of(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
