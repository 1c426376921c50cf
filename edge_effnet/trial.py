"""Opening a model file for the first time in a process of its own, so that an engine it crashes takes nothing along.

Engines are C++ programs that follow what the file says. The checks of `formats` catch what is known to upset them; what
isn't known ends here: a child process with bounded memory and time opens the same bytes and runs them once on a noisy
image. About 0.3 s on a PC, once for a file: what has passed is remembered by its digest, the engine and its version.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from edge_effnet.engines import open_session
from edge_effnet.errors import EdgeEffnetError, EngineError, MissingDependencyError, SlowEngineWarning, UsageError
from edge_effnet.system import limit_process, ran_out_of_time
from edge_effnet.text import printable
from edge_effnet.version import __version__

#: Seconds of all cores together; the slowest honest case known, B3 with numpy on a slow board, takes two thirds of it.
CPU_SECONDS = 28
#: Seconds by the clock, for a machine that is busy with other things.
TIMEOUT_S = 90.0
#: What opening and running a file may add to the child, besides a few copies of the file itself (packed weights).
MOST_BYTES = 768 << 20
_COPIES = 4
#: For a file that asks for more than a trial is given, as the largest networks do.
_WAY_OUT = "if you made it yourself, --probe never opens it without a trial"
#: The child gets this process's module path and not the working folder, where a hostile numpy.py could lie.
_CODE = "import sys; sys.path[:] = {path!r}; from edge_effnet.trial import main; main(*sys.argv[1:])"
_MOST_ANSWER, _MOST_REMEMBERED = 4000, 512
_REFUSED, _NO_ENGINE = 3, 4
#: Engines that a new version of makes a trial worth repeating.
_PACKAGES = ("ai_edge_litert", "tflite_runtime", "onnxruntime", "numpy")


def try_in_child(
    path: Path, *, content: bytes, file_format: str, engine: str, threads: int, timeout_s: float = TIMEOUT_S
) -> bool:
    """Whether a child process has opened and run the content; False where it has no engine that could, or was told of
    one that doesn't fit. path: what messages call it.

    Raises EngineError when the child crashed, didn't come to an end, needed too much memory, or was told by the engine
    why the file can't be run.
    """
    command = [sys.executable, "-c", _CODE.format(path=sys.path), str(path), file_format, engine, str(threads)]
    try:
        status, answer = _run(command, content, timeout_s)
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"{path}: a trial run in a process of its own didn't end within {timeout_s:g} s; the file is broken or "
            f"hostile; {_WAY_OUT}"
        ) from error
    except OSError as error:
        raise EngineError(
            f"{path}: the process for a trial run can't be started ({error.strerror or error})"
        ) from error
    if ran_out_of_time(status):
        raise EngineError(
            f"{path}: a trial run took more than {CPU_SECONDS} s; the file is broken or hostile; {_WAY_OUT}"
        )
    if status == _NO_ENGINE:
        return False
    if status == _REFUSED:
        raise EngineError(f"{answer.strip()} (in a trial run)")
    if status:
        raise EngineError(
            f"{path}: crashed the engine in a trial run ({_name(status)}), or needed more than "
            f"{_most_bytes(len(content)) >> 20} MB; the file is broken or hostile, nothing was classified with it; "
            + _WAY_OUT
        )
    return True


def _run(command: list[str], content: bytes, timeout_s: float) -> tuple[int, str]:
    """Exit status, and what the child wrote, at most _MOST_ANSWER characters; its engine's log is thrown away."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, close_fds=True
    )
    try:
        with contextlib.suppress(BrokenPipeError):
            answer, _ = process.communicate(content, timeout=timeout_s)
            return process.returncode, answer[:_MOST_ANSWER].decode("utf-8", "replace")
        return process.wait(timeout_s), ""
    finally:
        process.kill()
        process.wait()


def main(path: str, file_format: str, engine: str, threads: str) -> None:
    """The child: opens the content on standard input and runs it once, then says what the engine refused, if it did.

    Ends with SystemExit(3) then, and with SystemExit(4) where no engine was asked.
    """
    content = sys.stdin.buffer.read()
    warnings.simplefilter("ignore", SlowEngineWarning)
    _limit(len(content))
    try:
        session = open_session(
            Path(path), file_format=file_format, engine=engine, threads=int(threads), content=content
        )
        session.run(_noise(session.input.shape, session.input.dtype))
        session.close()
    except (UsageError, MissingDependencyError) as error:
        raise SystemExit(_NO_ENGINE) from error
    except (EdgeEffnetError, MemoryError) as error:
        needs = f"needs more than {_most_bytes(len(content)) >> 20} MB; {_WAY_OUT}"
        reason = needs if isinstance(error, MemoryError) else str(error)
        print(printable(reason if path in reason else f"{path}: {reason}"), flush=True)  # noqa: T201
        raise SystemExit(_REFUSED) from error


def _noise(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """An image of all values, for a file that computes sizes from it."""
    values = np.random.default_rng(0).integers(0, 256, shape)
    return (values - 128).astype(dtype) if dtype == "int8" else values.astype(dtype)


def _most_bytes(file_bytes: int) -> int:
    """What the child may hold besides what it holds at its start."""
    return MOST_BYTES + _COPIES * file_bytes


def _limit(file_bytes: int) -> None:
    """Memory that is written to (RLIMIT_DATA), over what this process holds already, and time; nothing where there is
    no such thing.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        held = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData:"))
        limit_process(data_bytes=held + _most_bytes(file_bytes), cpu_s=CPU_SECONDS)
    except (ImportError, OSError, ValueError, StopIteration):
        return


def _name(status: int) -> str:
    """The signal that ended the child, or its exit status."""
    try:
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"
    except ValueError:
        return f"signal {-status}"


# What has passed ----------------------------------------------------------------------------------------------------


def has_passed(digest: str, *, engine: str) -> bool:
    """Whether these bytes have passed a trial by this user, with this engine's installed version."""
    try:
        return _key(digest, engine) in _store().read_text("ascii").split()
    except (OSError, ValueError, RuntimeError):  # RuntimeError: a user without a home
        return False


def remember(digest: str, *, engine: str) -> None:
    """Notes that these bytes have passed; nothing where the user has no place for that."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        store = _store()
        store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = store.read_text("ascii").split() if store.exists() else []
        lines = [*known[-_MOST_REMEMBERED + 1 :], _key(digest, engine)]
        from edge_effnet.files import write_atomically

        with contextlib.suppress(EdgeEffnetError):
            write_atomically(store, ("\n".join(lines) + "\n").encode())


def _store() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edge-effnet" / "tried"


def _key(digest: str, engine: str) -> str:
    return hashlib.sha256(json.dumps([digest, engine, __version__, *map(_installed, _PACKAGES)]).encode()).hexdigest()


def _installed(package: str) -> tuple[str, int] | None:
    """Where a package lies and since when, without the time its import or the look-up of its version takes."""
    try:
        found = importlib.util.find_spec(package)
        return None if found is None or found.origin is None else (found.origin, os.stat(found.origin).st_mtime_ns)
    except (ImportError, ValueError, OSError):
        return None
