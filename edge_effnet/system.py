"""What not every operating system has, behind functions that every one has.

Each keeps its promise on Linux, macOS and Windows; where a system has nothing of the kind, it says so by its result.
`sys.platform` is asked, not whether a name exists, so that the type checker sees each system's branch as that system.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

LockState: TypeAlias = Literal["mine", "held", "none"]
#: Windows locks ranges of bytes, and others can't read what is locked: one byte where no file has any.
_LOCKED_BYTE = 0x7FFF_0000
#: Windows' virus scanners and indexers open new files for a moment, and nobody can rename them meanwhile.
_RENAME_TRIES, _RENAME_STEP_S = 20, 0.05


def available_cores() -> int:
    """Cores this process may use, at least 1: of its affinity where the system has one, of the machine elsewhere."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    else:
        return os.cpu_count() or 1


def load_average() -> float | None:
    """Programs that were running on average in the last minute; None on Windows."""
    if sys.platform == "win32":
        return None
    return round(os.getloadavg()[0], 2)


def file_identity(path: Path) -> tuple[int, ...]:
    """What tells whether a path still names the same, unchanged file; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def own_user() -> int:
    """This user's number as `os.stat` gives it for files; Windows gives 0 for everybody's."""
    if sys.platform == "win32":
        return 0
    return os.getuid()


def try_lock(handle: int) -> LockState:
    """Takes the lock of an open file, without waiting; it ends with the handle, or with the process however that ends.

    "held": another has it. "none": the system or the file system has no locks.
    """
    try:
        _lock_now(handle)
    except (BlockingIOError, PermissionError):  # the latter on Windows
        return "held"
    except (OSError, ImportError):
        return "none"
    return "mine"


def _lock_now(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        place = os.lseek(handle, 0, os.SEEK_CUR)
        try:
            os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(handle, place, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def open_to_lock(path: str, *, marker: str) -> int:
    """A handle whose lock stands for a file or a folder: Windows opens no folders, so it's that of `marker` there."""
    if sys.platform == "win32":
        folder = Path(path).is_dir()
        return os.open(Path(path) / marker if folder else path, os.O_RDWR | os.O_BINARY)
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)


def open_own(path: Path) -> int:
    """A handle of a file that is read anywhere, written at its end, and made where it is missing, for this user alone.

    What several programs write goes behind each other's.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    if sys.platform == "win32":
        flags |= os.O_BINARY
    return os.open(path, flags, 0o600)


def reopened(handle: int, name: str) -> int:
    """A handle of a file that was renamed after `let_go`."""
    if sys.platform == "win32":
        os.close(handle)
        return os.open(name, os.O_RDWR | os.O_BINARY)
    return handle


def open_folder(path: str) -> int | None:
    """A handle that stays a folder's through a rename, for its lock; None on Windows (see `open_to_lock`)."""
    if sys.platform == "win32":
        return None
    return os.open(path, os.O_RDONLY)


def rename_open(handle: int, name: str, target: str | os.PathLike[str]) -> None:
    """Renames an open, written file over `target`, in one step.

    Windows renames no open files: the handle then leads nowhere, but still has to be closed.
    """
    let_go(handle)
    tries = _RENAME_TRIES if sys.platform == "win32" else 1
    for tries_left in reversed(range(tries)):
        try:
            os.replace(name, target)
        except PermissionError:
            if not tries_left:
                raise
            time.sleep(_RENAME_STEP_S)
        else:
            return


def let_go(handle: int) -> None:
    """Lets others rename or remove an open file: on Windows the handle leads nowhere from here on."""
    if sys.platform == "win32":
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, handle)
        os.close(nowhere)


def sync(handle: int) -> None:
    """Hands an open file's contents to the disk: what was written, and its length."""
    if sys.platform == "linux":
        os.fdatasync(handle)
    else:
        os.fsync(handle)


def end_group(process: int, *, how: Literal["ask", "force"]) -> None:
    """Ends a process that was started with a session of its own, and what it has started; OSError where it's gone."""
    if sys.platform == "win32":
        import subprocess

        words = ["taskkill", "/T", *(["/F"] if how == "force" else []), "/PID", str(process)]
        subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    else:
        import signal

        os.killpg(process, signal.SIGKILL if how == "force" else signal.SIGTERM)


def group_is_left(leader: int) -> bool:
    """Whether processes of an ended leader's group are left: the system gives its number to no other then. Windows
    doesn't tell.
    """
    if sys.platform == "win32":
        return False
    return not _answers(os.kill, leader) and _answers(os.killpg, leader)


def _answers(kill: Callable[[int, int], None], number: int) -> bool:
    """Whether there is such a process or group, be it another user's."""
    try:
        kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def keep_to_core(process: int, core: int) -> None:
    """Keeps a process to one core; nothing but on Linux."""
    if sys.platform == "linux":
        os.sched_setaffinity(process, {core})


def limit_process(*, data_bytes: int, cpu_s: int) -> None:
    """Ends this process when it writes to more memory or takes more processor time; no core is left.

    Nothing on Windows. Raises OSError or ValueError where the system refuses.
    """
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))


def ran_out_of_time(status: int) -> bool:
    """Whether a process with this exit status was ended by `limit_process` for its processor time."""
    if sys.platform == "win32":
        return False
    import signal

    return status == -signal.SIGXCPU
