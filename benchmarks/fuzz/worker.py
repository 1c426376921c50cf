"""One mutant through the complete path, and processes that do so for many while somebody watches."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_effnet.benchmarks.fuzz.campaigns import Ending, Report, bound_growth, peak_mb, watched
from edge_effnet.benchmarks.fuzz.mutants import Seed, mutant
from edge_effnet.classifier import Classifier
from edge_effnet.errors import EdgeEffnetError, UnverifiedModelWarning

#: The sound files are run before the first.
HANG_S, FIRST_S = 5.0, 60.0
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
    """The outcome of every mutant, in order; after a crash or a hang the next process goes on behind it."""
    position = 0
    while position < len(numbers):
        batch = numbers[position : position + _BATCH]
        found = watched(partial(_run, task, batch), len(batch), first_s=FIRST_S, hang_s=HANG_S)
        for number, said in zip(batch, found, strict=False):
            position += 1
            yield _ended(task, number, said) if isinstance(said, Ending) else Outcome(**said)


def _ended(task: Task, number: int, ending: Ending) -> Outcome:
    seed, kind, _ = mutant(task.seeds, number, campaign=task.campaign)
    return Outcome(number, seed.name, kind, ending.result, ending.detail)


def _run(task: Task, numbers: Sequence[int], report: Report) -> None:
    expected = task.expected()
    bound_growth("VmSize", MEMORY_BYTES)
    path = task.folder / "mutant"
    for number in numbers:
        seed, kind, data = mutant(task.seeds, number, campaign=task.campaign)
        result, detail = judge(data, path, task.image, task.engine, expected[seed.name])
        report(Outcome(number, seed.name, kind, result, detail, peak_mb()).__dict__)
