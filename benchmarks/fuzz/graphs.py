"""Graphs and pickles made up from numbers: `python -m edge_effnet.benchmarks.fuzz.graphs` counts what becomes of them.

    python -m edge_effnet.benchmarks.fuzz.graphs --number 50000 --results benchmarks/results/fuzz-graphs.json
    python -m edge_effnet.benchmarks.fuzz.graphs --remake pickle/17 -o made.pkl

Kinds that begin with input- are damaged inputs of `export` (`inputs.py`), read as it reads them.

A model goes through the reader and its rules, then an engine opens and runs it, in a forked process with the trial's
bound on memory; a checkpoint through `load_checkpoint`. What crashes or hangs an engine with operators that no rule
checks is counted as "fenced", since the trial run ends it; with operators that have rules it is a finding. For Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edge_effnet.benchmarks.fuzz.campaigns import (
    Ending,
    Report,
    answered,
    bound_growth,
    bound_time,
    merged,
    parser_of,
    peak_mb,
    watched,
)
from edge_effnet.benchmarks.fuzz.generators import onnx_graph, pickle_stream, tflite_graph
from edge_effnet.benchmarks.fuzz.inputs import INPUTS, REHEARSED
from edge_effnet.engines import open_session
from edge_effnet.errors import EdgeEffnetError, UsageError
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.files import write_atomically
from edge_effnet.formats import read_model_file
from edge_effnet.trial import MOST_BYTES

#: Seconds of computing, and by the clock: other programs may have the machine.
HANG_CPU_S, HANG_S = 30, 300.0
#: HDF5's loops never end; nothing is learned from waiting for them.
_LOOP_CPU_S = 2
_BATCH = 200
#: What a reader may take of memory beyond what it began with, in MB.
_MOST_MB = 1000


def _run_model(data: bytes) -> None:
    file = read_model_file(data, name="m")
    session = open_session(Path("m"), file_format=file.format, threads=1, content=data)
    noise = np.random.default_rng(0).integers(0, 256, session.input.shape).astype(session.input.dtype)
    session.run(noise)
    session.close()


def _read_checkpoint(data: bytes) -> None:
    path = Path(tempfile.gettempdir()) / f"fuzz-{os.getpid()}.pkl"
    path.write_bytes(data)
    try:
        load_checkpoint(path)
    finally:
        path.unlink()


#: Kind → (generator, what is done with a file).
KINDS: dict[str, tuple[Callable[[np.random.Generator], bytes], Callable[[bytes], None]]] = {
    "tflite": (tflite_graph, _run_model),
    "onnx": (onnx_graph, _run_model),
    "pickle": (pickle_stream, _read_checkpoint),
    **INPUTS,
}


def made(kind: str, number: int, *, campaign: int = 0) -> bytes:
    """The file of a kind and number, always the same."""
    return KINDS[kind][0](np.random.default_rng((campaign, number)))


def judge(kind: str, data: bytes) -> tuple[str, str]:
    """(result, detail): "refused", "ran", or "unexpected" for an error that isn't ours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            KINDS[kind][1](data)
    except EdgeEffnetError as error:
        text = str(error)
        return ("refused" if len(text) < 2000 else "unexpected"), type(error).__name__
    except MemoryError:
        return "refused", "MemoryError"
    except Exception as error:
        return "unexpected", f"{type(error).__name__}: {str(error)[:300]}"
    return "ran", ""


def outcomes(kind: str, numbers: Sequence[int], *, campaign: int) -> Iterator[tuple[int, str, str, float]]:
    """(number, result, detail, peak MB) of each, in order; batches in processes that are started anew after a crash."""
    done = 0
    while done < len(numbers):
        batch = numbers[done : done + _BATCH]
        found = watched(partial(_run, kind, batch, campaign), len(batch), first_s=HANG_S, hang_s=HANG_S)
        for number, said in zip(batch, found, strict=False):
            done += 1
            yield (number, said.result, said.detail, 0.0) if isinstance(said, Ending) else (number, *said)


def _run(kind: str, numbers: Sequence[int], campaign: int, report: Report) -> None:
    bound_growth("VmData", MOST_BYTES)
    for number in numbers:
        data = made(kind, number, campaign=campaign)
        bound_time(_LOOP_CPU_S if kind in REHEARSED else HANG_CPU_S)
        before = peak_mb()
        report([*judge(kind, data), peak_mb() - before])


def _is_understood(kind: str, number: int, campaign: int) -> bool:
    """Whether rules check every operator of the file, so that no engine should crash on it."""
    if kind == "pickle" or kind in INPUTS:
        return kind not in REHEARSED
    try:
        return read_model_file(made(kind, number, campaign=campaign), name="m").understood
    except EdgeEffnetError:
        return True


def run_kind(kind: str, count: int, *, campaign: int) -> dict[str, Any]:
    """Counts by outcome, and what was found: crashes, hangs, errors that aren't ours, memory."""
    counts, findings, peak = Counter[str](), [], 0.0
    for number, result, detail, grown in outcomes(kind, range(count), campaign=campaign):
        result = "fenced" if result in ("crash", "hang") and not _is_understood(kind, number, campaign) else result
        counts[result] += 1
        peak = max(peak, grown)
        if result not in ("refused", "ran", "fenced") or grown > _MOST_MB:
            findings.append({"number": number, "result": result, "detail": detail, "grown_mb": round(grown)})
    return {
        "kind": kind,
        "campaign": campaign,
        "files": count,
        "outcomes": dict(sorted(counts.items())),
        "most_grown_mb": round(peak),
        "findings": findings,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a campaign or makes one file again; 1 when something was found."""
    parser = parser_of("fuzz.graphs", __doc__, remade="KIND/NUMBER")
    parser.add_argument("--number", type=int, default=5_000, metavar="N", help="files of each kind (default 5,000)")
    parser.add_argument("--only", choices=KINDS, help="one kind; the others' rows in --results stay")
    return answered(_answer, parser.parse_args(argv))


def _answer(arguments: argparse.Namespace) -> int:
    if arguments.remake:
        kind, _, number = arguments.remake.partition("/")
        if kind not in KINDS or not number.isdecimal():
            raise UsageError(f"file {arguments.remake!r}; expected one of {', '.join(KINDS)} and a number: pickle/17")
        write_atomically(arguments.output, made(kind, int(number), campaign=arguments.campaign))
        return 0
    rows = []
    for kind in [arguments.only] if arguments.only else KINDS:
        rows.append(run_kind(kind, arguments.number, campaign=arguments.campaign))
        print(json.dumps(rows[-1]), flush=True)
    if arguments.results:
        before = json.loads(arguments.results.read_bytes()) if arguments.results.exists() else []
        write_atomically(arguments.results, (json.dumps(merged(before, rows), indent=1) + "\n").encode())
    return 1 if any(row["findings"] for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
