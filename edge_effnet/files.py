"""Writing files so that either the old or the whole new file is there, never a torn one.

What a killed process leaves behind is removed by whoever writes there next, if it is provably this program's: its
hidden name holds its own inode number, which no file that somebody else named, copied or unpacked has; a folder holds
a file that says so as well; and the lock that ends with the process is free. Everything else stays.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from edge_effnet.errors import EdgeEffnetError, OutputError
from edge_effnet.system import let_go, open_folder, open_to_lock, own_user, rename_open, reopened, try_lock

_PREFIX, _SUFFIX = ".edge-effnet-", ".part"
#: What `_proven_name` makes: the inode in hexadecimal, then eight random characters.
_PROVEN = re.compile(r"\.edge-effnet-([0-9a-f]+)-\w{8}\.part")
_MARKER = ".made-by-edge-effnet"
_LOCK_STEP_S = 0.01


def write_atomically(path: str | Path, data: bytes) -> None:
    """Writes `data` to a temporary file beside `path`, syncs it and renames it over `path`.

    Raises OutputError when the folder is missing, not writable or full; the old file is then untouched and the
    temporary one removed.
    """
    with writing_atomically(path) as file:
        _write_all(file, data)


@contextlib.contextmanager
def writing_atomically(path: str | Path) -> Iterator[int]:
    """The descriptor of a temporary file beside `path`, which becomes `path` when the block ends without an error.

    Raises OutputError as `write_atomically` does.
    """
    path = Path(path)
    try:
        with _temporary_beside(path) as (file, temporary):
            yield file
            os.fsync(file)
            os.chmod(temporary, _mode(path))
            rename_open(file, temporary, path)
            sync_folder(path.parent)
    except OSError as error:
        if isinstance(error, EdgeEffnetError):
            raise
        raise OutputError(f"can't write {path}: {error.strerror or error}; nothing was changed") from error


def write_new(paths: Iterable[Path], data: bytes) -> Path:
    """Writes `data` whole to the first of `paths` that doesn't exist, and overwrites nothing: two programs that do so
    at once get two files.

    paths: of one folder. Raises OutputError as `write_atomically` does.
    """
    candidates = iter(paths)
    path = next(candidates)
    try:
        with _temporary_beside(path) as (file, temporary):
            _write_all(file, data)
            os.fsync(file)
            os.chmod(temporary, _mode(path))
            let_go(file)
            while not _named(temporary, path):
                path = next(candidates)
            sync_folder(path.parent)
            return path
    except OSError as error:
        raise OutputError(f"can't write {path}: {error.strerror or error}; nothing was changed") from error


def _named(temporary: str, path: Path) -> bool:
    """Gives a written file a name that nobody has; false when somebody has it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links: the name is taken first, empty
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        os.replace(temporary, path)
    return True


@contextlib.contextmanager
def _temporary_beside(path: Path) -> Iterator[tuple[int, str]]:
    """(descriptor, name) of a locked file that is removed in the end, if it's still there."""

    file, name = _locked(lambda: _new_file(path.parent))
    try:
        yield file, name
    finally:
        os.close(file)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _new_file(folder: Path) -> tuple[int, str]:
    import tempfile

    handle, made = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=folder)
    let_go(handle)
    name = _renamed(made)
    return reopened(handle, name), name


def _renamed(name: str) -> str:
    """Gives an own file or folder a name that holds its inode number, so that it can be told from others'."""
    path = Path(name)
    proven = path.with_name(f"{_PREFIX}{path.stat().st_ino:x}-{path.name[len(_PREFIX) : -len(_SUFFIX)]}{_SUFFIX}")
    os.rename(path, proven)
    return str(proven)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    """Whether this program, run by this user, made a file or folder: never by the look of its name alone."""
    name = _PROVEN.fullmatch(entry.name)
    if not name or entry.is_symlink():
        return False
    found = entry.stat(follow_symlinks=False)
    ours = found.st_uid == own_user() and found.st_ino == int(name[1], 16)
    return ours and (entry.is_file() or _MARKER in os.listdir(entry.path) or not os.listdir(entry.path))


def _locked(make: Callable[[], tuple[int, str]]) -> tuple[int, str]:
    """A new file or folder with its lock; made anew where another process took it for litter before it was locked."""
    while True:
        handle, name = make()
        lock(handle)
        if os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while len(view):
        view = view[os.write(file, view) :]


def sync_folder(folder: Path) -> None:
    """Makes the rename last through a power cut, where the system lets a folder be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for files that engines read by name; removed in the end, and those of killed processes at the beginning.

    Raises OutputError when it can't be made.
    """
    import shutil
    import tempfile

    parent = Path(tempfile.gettempdir())
    try:
        remove_stale(parent)
        handle, folder = _locked(_new_folder)
    except OSError as error:
        raise OutputError(
            f"can't make a temporary folder in {parent}: {error.strerror or error}; set TMPDIR to another place"
        ) from error
    try:
        yield Path(folder)
    finally:
        os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def _new_folder() -> tuple[int, str]:
    import tempfile

    made = tempfile.mkdtemp(prefix=_PREFIX, suffix=_SUFFIX)
    (Path(made) / _MARKER).write_text(f"temporary folder of edge-effnet, process {os.getpid()}\n", "ascii")
    handle = open_folder(made)
    folder = _renamed(made)
    return open_to_lock(folder, marker=_MARKER) if handle is None else handle, folder


def remove_stale(folder: str | Path) -> None:
    """Removes files and folders that this program made there and no living process holds; everything else, and what
    can't be removed, stays.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _is_ours(entry):
                with _held(entry.path) as mine:
                    if mine:
                        _remove(entry)


def _remove(entry: os.DirEntry[str]) -> None:
    import shutil

    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path, ignore_errors=True)
    else:
        os.unlink(entry.path)


@contextlib.contextmanager
def _held(path: str) -> Iterator[bool]:
    """Whether the lock of a file or folder was free, and is this process's as long as the context lasts."""
    try:
        handle = open_to_lock(path, marker=_MARKER)
    except OSError:
        yield False
        return
    try:
        yield try_lock(handle) == "mine"  # where there are no locks, nothing is removed
    finally:
        os.close(handle)


def lock(handle: int, *, wait_s: float = 60.0) -> None:
    """Takes the lock, which ends with the process, however that ends; nothing where the file system has none.

    Raises BlockingIOError when another process holds it for `wait_s` seconds.
    """
    deadline = time.monotonic() + wait_s
    while try_lock(handle) == "held":
        if time.monotonic() >= deadline:
            raise BlockingIOError(errno.EAGAIN, "another process keeps it locked")
        time.sleep(_LOCK_STEP_S)


def _mode(path: Path) -> int:
    """Permissions of the file that is replaced, or what the umask leaves of 0666."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def require_writable_folder(path: str | Path) -> None:
    """Raises OutputError early, before minutes of work, when `path` can't be created or replaced; removes what killed
    runs left beside it.
    """
    require_appendable(path)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OutputError(f"can't write {path}: it is no regular file, and would be replaced by one")


def require_appendable(path: str | Path) -> None:
    """Raises OutputError early when nothing can be appended to `path`: a file, a pipe, or a name that is free."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            raise OutputError(f"can't write {path}: it is a folder; expected a file's name")
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # a loop of links, a name that is too long; ValueError: NUL in it
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"can't write {path}: {getattr(error, 'strerror', None) or error}") from error
    folder = Path(path).parent
    if not folder.is_dir():
        raise OutputError(f"can't write {path}: the folder {folder} does not exist; create it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"can't write {path}: no permission to write in {folder}")
    remove_stale(folder)


def sha256_of(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 18):
            digest.update(piece)
    return digest.hexdigest()
