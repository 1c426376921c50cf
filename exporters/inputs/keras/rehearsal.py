"""A first reading in a process of its own: HDF5's C library may loop for ever on a damaged file, or crash.

Found by damaging files: a few bytes changed, and reading an attribute doesn't come back, which no exception ends.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from edge_effnet.errors import CheckpointError
from edge_effnet.framing import Size
from edge_effnet.system import limit_process, ran_out_of_time

#: A B7 takes 3 s on a PC; and what the child may need beside eight times the file.
CPU_SECONDS, TIMEOUT_S, MOST_BYTES = 20, 120.0, 768 << 20
_CODE = (
    "import sys; sys.path[:] = {path!r}; "
    "from edge_effnet.exporters.inputs.keras.rehearsal import main; main(*sys.argv[1:])"
)

#: What the system ends a process with that asks for too much memory.
_SIGKILL = 9


def rehearse(path: Path, image_size: Size | None, *, timeout_s: float = TIMEOUT_S) -> None:
    """Raises CheckpointError for a file on which HDF5's library crashes or doesn't come to an end."""
    sides = () if image_size is None else tuple(map(str, image_size))
    command = [sys.executable, "-c", _CODE.format(path=sys.path), str(path), *sides]
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(f"{path}: reading it didn't end within {timeout_s:g} s; the file is damaged") from error
    except OSError as error:
        raise CheckpointError(
            f"{path}: the process for a first reading can't be started ({error.strerror or error})"
        ) from error
    if done.returncode:
        raise CheckpointError(f"{path}: HDF5's library {_what(done.returncode)} it; the file is damaged or hostile")


def _what(status: int) -> str:
    if ran_out_of_time(status) or status == -_SIGKILL:
        return f"takes more than {CPU_SECONDS} s, or too much memory, to read"
    return f"crashed (status {status}) on reading"


def main(path: str, *sides: str) -> None:
    """The child: reads the file as the parent will. What it raises, the parent will raise and say."""
    from edge_effnet.exporters.inputs.keras.network import read_network
    from edge_effnet.exporters.inputs.options import InputOptions

    with contextlib.suppress(ImportError, OSError, ValueError):  # where there is no such limit, time alone ends it
        limit_process(data_bytes=MOST_BYTES + 8 * Path(path).stat().st_size, cpu_s=CPU_SECONDS)
    size = (int(sides[0]), int(sides[1])) if sides else None
    with contextlib.suppress(Exception):
        read_network(Path(path), InputOptions(image_size=size))
