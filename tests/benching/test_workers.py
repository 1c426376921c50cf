"""Measuring processes: their protocol, their turns, and how their ends are told."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_effnet.benching import serving
from edge_effnet.benching.photo import made_up_photo
from edge_effnet.benching.rows import percentiles
from edge_effnet.benching.workers import RUNS_A_TURN, Worker, by_turns
from edge_effnet.errors import EngineError
from edge_effnet.preprocessing import decode

PROGRAM = """
import os, sys
class Subject:
    def __init__(self, settings):
        if settings.get("refuse"):
            raise ValueError("not\\nthis one")
        self.settings, self.count = settings, 0
    def describe(self):
        print("an engine's banner")
        os.write(1, b"and one from C\\n")
        return {"name": self.settings["name"]}
    def run(self):
        self.count += 1
        if self.count == self.settings.get("dies_at"):
            print("out of luck", file=sys.stderr, flush=True)
            os._exit(3)
        if self.count == self.settings.get("killed_at"):
            os.kill(os.getpid(), 9)
        return {"inference": float(self.count)}
    def finish(self):
        return {"runs": self.count}
open_subject = Subject
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    path = tmp_path / "subject.py"
    path.write_text(PROGRAM, encoding="utf-8")
    with Worker([sys.executable, "-I", serving.__file__, str(path)], "subject") as made:
        yield made


def test_what_engines_print_does_not_get_between_the_answers(worker: Worker) -> None:
    assert worker.open({"name": "ä"}) == {"name": "ä"}
    assert worker.run(2) == [{"inference": 1.0}, {"inference": 2.0}]
    assert worker.finish() == {"runs": 2}


def test_an_error_inside_is_one_line_here(worker: Worker) -> None:
    with pytest.raises(EngineError, match=r"^not this one$"):
        worker.open({"refuse": True})
    assert worker.open({"name": "still there"})


def test_a_process_that_ends_is_told_with_its_last_words(worker: Worker) -> None:
    worker.open({"name": "a", "dies_at": 2})
    with pytest.raises(EngineError, match=r"subject: the measuring process ended with status 3 \(out of luck\)"):
        worker.run(2)


@pytest.mark.skipif(os.name == "nt", reason="no signals")
def test_a_process_that_is_killed(worker: Worker) -> None:
    worker.open({"name": "a", "killed_at": 1})
    with pytest.raises(EngineError, match="was ended by SIGKILL; is there enough memory"):
        worker.run(1)


class Recording:
    def __init__(self, name: str, log: list[tuple[str, int]]) -> None:
        self.name, self.log, self.count = name, log, 0

    def run(self, count: int) -> list[dict[str, float]]:
        self.log.append((self.name, count))
        self.count += count
        return [{"inference": float(self.count - count + place)} for place in range(count)]


def test_subjects_take_turns_and_the_first_run_of_a_turn_does_not_count() -> None:
    log: list[tuple[str, int]] = []
    turns: list[int] = []
    workers = [Recording("a", log), Recording("b", log)]
    runs = RUNS_A_TURN + 2
    found = by_turns(workers, runs=runs, warmup=3, after_turn=turns.append)  # type: ignore[arg-type]
    assert log == [("a", 3), ("b", 3), ("a", RUNS_A_TURN + 1), ("b", RUNS_A_TURN + 1), ("a", 3), ("b", 3)]
    assert [len(timings) for timings in found] == [runs, runs]
    assert [timing["inference"] for timing in found[0]] == [4, 5, 6, 7, 8, 10, 11]
    assert sum(turns) == 2 * runs


def test_percentiles_by_hand() -> None:
    assert percentiles([4.0, 1.0, 2.0, 3.0, 5.0]) == {"min": 1.0, "p50": 3.0, "p90": 4.6, "p99": 4.96}


def test_memory_is_this_process_own() -> None:
    assert 10 < serving.peak_rss_mb() < 100_000


def test_the_made_up_photo_is_one() -> None:
    photo = made_up_photo()
    assert decode(photo).size == (640, 480)
    assert 50_000 < len(photo) < 200_000
    assert photo == made_up_photo()
