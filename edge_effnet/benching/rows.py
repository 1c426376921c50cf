"""Measuring models, engines and thread counts by turns: one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_effnet.benching.conditions import Watch, spoilers
from edge_effnet.benching.workers import Timings, Worker, by_turns, own_worker
from edge_effnet.engines import ENGINES
from edge_effnet.errors import UsageError
from edge_effnet.formats import read_model_file
from edge_effnet.machine import machine_facts
from edge_effnet.preprocessing import Preprocessing

STAGES = ("decode", "preprocess", "inference", "postprocess", "total")
_RANKS = {"min": 0, "p50": 50, "p90": 90, "p99": 99}


@dataclass(frozen=True)
class Case:
    """One row: a model file in an engine ("auto", or of ENGINES) with so many threads, for so many photos at a time."""

    model: str
    engine: str
    threads: int
    workers: int = 1

    @property
    def name(self) -> str:
        """For messages."""
        return f"{Path(self.model).name} ({self.engine}, threads: {self.threads}, workers: {self.workers})"


def list_cases(
    models: Sequence[str], engines: Sequence[str], threads: Sequence[int], *, workers: Sequence[int] = (1,)
) -> list[Case]:
    """Every model with every engine that runs its format, for one worker with every thread count, for more with one
    thread each. Raises ModelFileError, UsageError.
    """
    ways = [(count, 1) for count in threads if 1 in workers] + [(1, count) for count in workers if count > 1]
    cases = []
    for model in models:
        kind = read_model_file(Path(model)).format
        fitting = [engine for engine in engines if engine == "auto" or ENGINES[engine][0] == kind]
        if not fitting:
            able = [engine for engine, (known, _) in ENGINES.items() if known == kind]
            raise UsageError(
                f"{model}: none of the engines {', '.join(engines)} runs .{kind} files; expected {', '.join(able)}"
            )
        cases += [Case(model, engine, *way) for engine in fitting for way in ways]
    return cases


def measure(
    cases: Sequence[Case],
    image: Path,
    *,
    image_name: str,
    runs: int,
    warmup: int,
    preprocessing: Mapping[str, Preprocessing | None],
    after_turn: Callable[[int], None],
) -> list[dict[str, Any]]:
    """One row a case, in order, as docs/performance.md describes them. Raises EngineError, ImageError's message
    included.

    image: the photo that is classified, opened anew each time; image_name: what the rows say of it. preprocessing: for
    each model, None where its file says it.
    """
    said = {model: None if given is None else given.to_dict() for model, given in preprocessing.items()}
    machine, watch = machine_facts(), Watch()

    def turn_ended(count: int) -> None:
        watch.look()
        after_turn(count)

    with ExitStack() as stack:
        workers: list[Worker] = []
        described = []
        for case in cases:
            workers.append(stack.enter_context(own_worker(case.name, engine=case.engine, threads=case.threads)))
            described.append(
                workers[-1].open({**asdict(case), "image": str(image), "preprocessing": said.get(case.model)})
            )
        timings = by_turns(workers, runs=runs, warmup=warmup, after_turn=turn_ended)
        ends = [worker.finish() for worker in workers]
    during = watch.facts()
    shared = {"image": image_name, "machine": {**machine, "during": during}, "warnings": spoilers(machine, during)}
    return [
        _row(case, facts, times, end) | shared
        for case, facts, times, end in zip(cases, described, timings, ends, strict=True)
    ]


def _row(case: Case, described: Mapping[str, Any], timings: Timings, end: Mapping[str, Any]) -> dict[str, Any]:
    latencies = {f"{stage}_ms": percentiles([timing[stage] for timing in timings]) for stage in STAGES}
    return {
        "model": case.model,
        "engine": described["engine"],
        "threads": case.threads,
        "workers": case.workers,
        "runs": len(timings),
        "photos_per_s": round(1000 / float(np.median([timing["each"] for timing in timings])), 2),
        **latencies,
        **end,
        **described,
    }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """min, p50, p90, p99."""
    return {name: round(float(np.percentile(values, rank)), 3) for name, rank in _RANKS.items()}
