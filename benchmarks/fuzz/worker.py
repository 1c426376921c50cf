"""One mutant through the complete path, and processes that do so for many while somebody watches.

The watched process is a fork of one that has the engines imported already; after a crash or a hang the next one goes on
behind the mutant that did it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.benchmarks.fuzz.mutants import Seed, mutant
from edge_effnet.classifier import Classifier
from edge_effnet.errors import EdgeEffnetError, UnverifiedModelWarning, UsageError

HANG_S = 5.0
#: Address space a worker may take beyond what it has when it starts.
MEMORY_BYTES = 1 << 30
#: Mutants of one process, so that what an engine leaks doesn't add up.
_BATCH = 250
_SCORE_DIGITS = 4


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant. result: "refused", "same", "warned", "silent", "unexpected", "crash" or "hang"."""

    number: int
    seed: str
    kind: str
    result: str
    detail: str = ""
    rss_mb: float = 0.0


Answer = tuple[int, str, float]


def answer(path: Path, image: npt.NDArray[np.uint8], engine: str) -> tuple[Answer, list[str]]:
    """(best class with score, classes of the warnings) of the complete path; without the trial run, which is what is
    tested.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Classifier(path, engine=engine, threads=1, probe="never") as classifier:
            best = classifier.predict(image, top_k=1)[0]
    return (best.index, best.label, round(best.score, _SCORE_DIGITS)), [warning.category.__name__ for warning in caught]


def judge(data: bytes, path: Path, image: npt.NDArray[np.uint8], engine: str, expected: Answer) -> tuple[str, str]:
    """(result, detail) of one damaged file."""
    path.write_bytes(data)
    try:
        found, remarks = answer(path, image, engine)
    except EdgeEffnetError as error:
        return "refused", type(error).__name__
    except MemoryError as error:  # a child of its own would have had it
        return "refused", f"MemoryError: {error!s:.200}"
    except Exception as error:
        return "unexpected", f"{type(error).__name__}: {error!s:.300}"
    if found == expected:
        return "same", ""
    other = [name for name in remarks if name != UnverifiedModelWarning.__name__]
    return ("warned" if remarks else "silent"), f"{expected} → {found} {other or ''}".strip()


@dataclass(frozen=True, eq=False)
class Task:
    """What a campaign runs: `image` uint8[H, W, 3]; `folder`: where the files under test are written, in memory if
    possible.
    """

    seeds: Sequence[Seed]
    engine: str
    image: npt.NDArray[np.uint8]
    folder: Path
    campaign: int = 0

    def expected(self) -> dict[str, Answer]:
        """Seed → the sound file's answer. To be called in a process of its own: engines may start threads."""
        found = {}
        for seed in self.seeds:
            path = self.folder / "sound"
            path.write_bytes(seed.data)
            found[seed.name] = answer(path, self.image, self.engine)[0]
        return found


def run_task(task: Task, numbers: Sequence[int]) -> Iterator[Outcome]:
    """The outcome of every mutant, in order."""
    position = 0
    while position < len(numbers):
        for outcome in _watched(task, numbers[position : position + _BATCH]):
            position += 1
            yield outcome


def _watched(task: Task, numbers: Sequence[int]) -> Iterator[Outcome]:
    """Outcomes of a child up to its end, and of the mutant that ended it early."""
    if sys.platform == "win32":
        raise UsageError("this campaign needs fork, which Windows lacks")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(task, numbers, writer)
    os.close(writer)
    done, waited_in_vain = 0, False
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        for line in _lines(pipe, HANG_S):
            if line is None:
                waited_in_vain = True
                os.kill(child, signal.SIGKILL)
                break
            yield Outcome(**json.loads(line))
            done += 1
    _, status = os.waitpid(child, 0)
    if done < len(numbers):
        number = numbers[done]
        seed, kind, _ = mutant(task.seeds, number, campaign=task.campaign)
        code = os.waitstatus_to_exitcode(status)
        # What had ended by itself before the kill keeps its own status, and a kill that isn't ours (no memory left) is
        # no hang.
        result = "hang" if waited_in_vain and code == -signal.SIGKILL else "crash"
        yield Outcome(number, seed.name, kind, result, signal.Signals(-code).name if code < 0 else f"exit {code}")


def _lines(pipe: Any, timeout_s: float) -> Iterator[bytes | None]:
    """Lines as they come; None where none comes in time. The first may take longer: the sound files are run before
    it.
    """
    buffered, patience = b"", 60.0
    while True:
        if not select.select([pipe], [], [], patience)[0]:
            yield None
            return
        piece = pipe.read(65536)
        if not piece:
            return
        buffered += piece
        *whole, buffered = buffered.split(b"\n")
        yield from whole
        patience = timeout_s


def _child(task: Task, numbers: Sequence[int], writer: int) -> None:
    """Runs the mutants and ends the process; never returns."""
    if sys.platform == "win32":
        raise UsageError("this campaign needs fork, which Windows lacks")
    import resource

    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        expected = task.expected()
        limit = _address_space() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        path = task.folder / "mutant"
        for number in numbers:
            seed, kind, data = mutant(task.seeds, number, campaign=task.campaign)
            result, detail = judge(data, path, task.image, task.engine, expected[seed.name])
            rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            os.write(
                writer, json.dumps(Outcome(number, seed.name, kind, result, detail, rss_mb).__dict__).encode() + b"\n"
            )
        os._exit(0)
    finally:
        os._exit(99)


def _address_space() -> int:
    if sys.platform == "win32":
        raise UsageError("this campaign needs fork, which Windows lacks")
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")
