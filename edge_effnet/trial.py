"""Opening a model file for the first time in a process of its own, so that an engine it crashes takes nothing along.

Engines are C++ programs that follow what the file says. The checks of `formats` catch what is known to upset them; what
isn't known ends here: a child process opens the file and runs it once on an empty image. About 0.2 s on a PC.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

from edge_effnet.engines import open_session
from edge_effnet.errors import EdgeEffnetError, EngineError, SlowEngineWarning

#: Seconds; the slowest honest case known, B3 with numpy on a board with one slow core, takes a third of it.
TIMEOUT_S = 60.0
#: The child gets this process's module path and not the working folder, where a hostile numpy.py could lie.
_CODE = "import sys; sys.path[:] = {path!r}; from edge_effnet.trial import main; main(*sys.argv[1:])"


def try_in_child(path: Path, *, file_format: str, engine: str, threads: int, timeout_s: float = TIMEOUT_S) -> None:
    """Returns when a child process has opened and run the file, or was told by the engine why it can't be.

    Raises EngineError when the child crashed or didn't come to an end.
    """
    command = [sys.executable, "-c", _CODE.format(path=sys.path), str(path), file_format, engine, str(threads)]
    try:
        status = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"{path}: a trial run in a process of its own didn't end within {timeout_s:g} s; the file is broken or "
            "hostile"
        ) from error
    except OSError as error:
        raise EngineError(
            f"{path}: the process for a trial run can't be started ({error.strerror or error})"
        ) from error
    if status:
        raise EngineError(
            f"{path}: crashed the engine in a trial run ({_name(status)}); the file is broken or hostile, nothing was "
            "classified with it"
        )


def main(path: str, file_format: str, engine: str, threads: str) -> None:
    """The child: opens the file and runs it once. What the engine refuses in good order isn't a failure of the
    trial.
    """
    warnings.simplefilter("ignore", SlowEngineWarning)
    try:
        session = open_session(Path(path), file_format=file_format, engine=engine, threads=int(threads))
        session.run(np.zeros(session.input.shape, session.input.dtype))
        session.close()
    except EdgeEffnetError:
        return


def _name(status: int) -> str:
    """The signal that ended the child, or its exit status."""
    try:
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"
    except ValueError:
        return f"signal {-status}"
