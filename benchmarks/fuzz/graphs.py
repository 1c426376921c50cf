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
import select
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_effnet.benchmarks.fuzz.generators import onnx_graph, pickle_stream, tflite_graph
from edge_effnet.benchmarks.fuzz.inputs import INPUTS, REHEARSED
from edge_effnet.engines import open_session
from edge_effnet.errors import EdgeEffnetError, UsageError
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.files import write_atomically
from edge_effnet.formats import read_model_file
from edge_effnet.trial import MOST_BYTES

HANG_S = 30.0
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
        for outcome in _batch(kind, batch, campaign):
            done += 1
            yield outcome


def _batch(kind: str, numbers: Sequence[int], campaign: int) -> Iterator[tuple[int, str, str, float]]:
    if sys.platform == "win32":
        raise UsageError("this campaign needs fork, which Windows lacks")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _work(kind, numbers, campaign, writer)
    os.close(writer)
    done, late = 0, False
    with os.fdopen(reader, "rb") as pipe:
        while done < len(numbers):
            if not select.select([pipe], [], [], HANG_S)[0]:
                late = True
                os.kill(child, signal.SIGKILL)
                break
            line = pipe.readline()
            if not line:
                break
            found = json.loads(line)
            yield numbers[done], found[0], found[1], found[2]
            done += 1
    _, status = os.waitpid(child, 0)
    if done < len(numbers):
        code = os.waitstatus_to_exitcode(status)
        name = signal.Signals(-code).name if code < 0 else f"exit {code}"
        yield numbers[done], "hang" if late else "crash", name, 0.0


def _work(kind: str, numbers: Sequence[int], campaign: int, writer: int) -> None:
    """Judges the files and ends the process; never returns."""
    if sys.platform == "win32":
        raise UsageError("this campaign needs fork, which Windows lacks")
    import resource

    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + MOST_BYTES,) * 2)
        for number in numbers:
            data = made(kind, number, campaign=campaign)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            result, detail = judge(kind, data)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            os.write(writer, json.dumps([result, detail, grown]).encode() + b"\n")
        os._exit(0)
    finally:
        os._exit(99)


def _data_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData:"))


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
    """Runs a campaign or makes one file again; 1 when there are findings."""
    parser = argparse.ArgumentParser(
        prog="python -m edge_effnet.benchmarks.fuzz.graphs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--number", type=int, default=5_000, metavar="N", help="files of each kind (default 5,000)")
    parser.add_argument("--campaign", type=int, default=0, metavar="N", help="another number gives other files")
    parser.add_argument("--only", choices=KINDS, help="one kind")
    parser.add_argument("--results", type=Path, metavar="FILE", help="JSON to write")
    parser.add_argument("--remake", metavar="KIND/NUMBER", help="write this file to the one given with -o")
    parser.add_argument("-o", "--output", type=Path, default=Path("made"), metavar="FILE")
    arguments = parser.parse_args(argv)
    try:
        return _run(arguments)
    except EdgeEffnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace) -> int:
    if arguments.remake:
        kind, _, number = arguments.remake.partition("/")
        if kind not in KINDS or not number.isdecimal():
            raise UsageError(f"file {arguments.remake!r}; expected one of {', '.join(KINDS)} and a number: pickle/17")
        write_atomically(arguments.output, made(kind, int(number), campaign=arguments.campaign))
        return 0
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    rows = []
    for kind in [arguments.only] if arguments.only else KINDS:
        rows.append(run_kind(kind, arguments.number, campaign=arguments.campaign))
        print(json.dumps(rows[-1]), flush=True)
    if arguments.results:
        write_atomically(arguments.results, (json.dumps(rows, indent=1) + "\n").encode())
    return 1 if any(row["findings"] for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
