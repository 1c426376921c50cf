"""What the campaigns share: processes that work while somebody watches, what their commands take, results by kind.

A watched process is a fork of one that has imported all there is already. For Linux.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edge_effnet.errors import EdgeEffnetError, UsageError

#: Says one thing, as JSON has it, to who watches.
Report: TypeAlias = Callable[[Any], None]


@dataclass(frozen=True)
class Ending:
    """How a watched process ended before all its reports were there. detail: the signal's name, or "exit 5"."""

    result: Literal["crash", "hang"]
    detail: str


def watched(work: Callable[[Report], None], count: int, *, first_s: float, hang_s: float) -> Iterator[Any]:
    """The reports of a forked process that runs `work`, in order; an `Ending` last if there are fewer than `count`.

    first_s, hang_s: how long the first report, and each later one, may take.
    """
    if sys.platform == "win32":
        raise UsageError("this campaign needs fork, which Windows lacks")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _work(work, writer)
    os.close(writer)
    done, late = 0, False
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        for line in _lines(pipe, first_s, hang_s):
            if line is None:
                late = True
                os.kill(child, signal.SIGKILL)
                break
            yield json.loads(line)
            done += 1
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if done < count:
        # What had ended by itself before the kill keeps its own status, and a kill that isn't ours (no memory left) is
        # no hang.
        hung = (late and code == -signal.SIGKILL) or code == -signal.SIGXCPU
        yield Ending("hang" if hung else "crash", signal.Signals(-code).name if code < 0 else f"exit {code}")


def _lines(pipe: Any, first_s: float, hang_s: float) -> Iterator[bytes | None]:
    """Lines as they come; None where none comes in time."""
    buffered, patience = b"", first_s
    while select.select([pipe], [], [], patience)[0]:
        piece = pipe.read(65536)
        if not piece:
            return
        *whole, buffered = (buffered + piece).split(b"\n")
        yield from whole
        patience = hang_s
    yield None


def _work(work: Callable[[Report], None], writer: int) -> None:
    """Does it, silently and without core files, and ends the process; never returns."""
    if sys.platform == "win32":
        raise UsageError("this campaign needs fork, which Windows lacks")
    import resource

    try:
        faulthandler.disable()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        work(lambda said: _write(writer, json.dumps(said).encode() + b"\n"))
        os._exit(0)
    finally:
        os._exit(99)


def _write(writer: int, data: bytes) -> None:
    while data:
        data = data[os.write(writer, data) :]


def bound_growth(of: Literal["VmData", "VmSize"], size: int) -> None:
    """This process gets no more than `size` bytes beyond what it has of data (VmData) or address space (VmSize)."""
    if sys.platform == "win32":
        raise UsageError("this campaign needs fork, which Windows lacks")
    import resource

    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    limit = next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{of}:")) + size
    resource.setrlimit(resource.RLIMIT_DATA if of == "VmData" else resource.RLIMIT_AS, (limit, limit))


def bound_time(cpu_s: int) -> None:
    """From here on this process may compute for `cpu_s` seconds and up to one more, whatever else the machine does."""
    if sys.platform == "win32":
        raise UsageError("this campaign needs fork, which Windows lacks")
    import resource

    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + cpu_s, most))


def peak_mb() -> float:
    """The most memory that this process ever had at once."""
    if sys.platform == "win32":
        raise UsageError("this campaign needs fork, which Windows lacks")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def parser_of(module: str, about: str | None, *, remade: str) -> argparse.ArgumentParser:
    """Options that both commands have; `remade`: how one file is named."""
    parser = argparse.ArgumentParser(
        prog=f"python -m edge_effnet.benchmarks.{module}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--campaign", type=int, default=0, metavar="N", help="another number gives other files")
    parser.add_argument("--results", type=Path, metavar="FILE", help="JSON to write")
    parser.add_argument("--remake", metavar=remade, help="write this file to the one given with -o")
    parser.add_argument("-o", "--output", type=Path, default=Path("made"), metavar="FILE")
    return parser


def answered(run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """What `run` gives; 2 for a mistake, which is said."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        return run(arguments)
    except EdgeEffnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def merged(before: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a kind: those of `rows` in place of older ones, the others as they were."""
    new = {row["kind"]: row for row in rows}
    return [new.pop(row["kind"], row) for row in before] + list(new.values())
