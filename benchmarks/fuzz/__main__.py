"""The fuzz campaign: `python -m edge_effnet.benchmarks.fuzz` damages real files and counts what becomes of them.

    python -m edge_effnet.benchmarks.fuzz --mutants 20000 --results benchmarks/results/fuzz.json
    python -m edge_effnet.benchmarks.fuzz --remake tflite/unsealed/433 -o mutant.tflite

Every mutant goes the complete path: read, open, one inference, and the answer compared with the sound file's. Files
with the SHA-256 of their weights ("sealed") and without ("unsealed") are counted apart: the first tell every damage,
the second show what structure checks and engines stand by themselves. The trial run in a child process is left out on
purpose, and tried afterwards on the mutants that crashed an engine. For Linux.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edge_effnet.benchmarks.fuzz.campaigns import answered, parser_of
from edge_effnet.benchmarks.fuzz.mutants import Seed, mutant
from edge_effnet.benchmarks.fuzz.seeds import FORMATS, seed_files, unsealed
from edge_effnet.benchmarks.fuzz.worker import HANG_S, MEMORY_BYTES, Outcome, Task, run_task
from edge_effnet.errors import UsageError
from edge_effnet.files import require_writable_folder, temporary_folder, write_atomically
from edge_effnet.machine import machine_facts

#: (format, sealed or not, engine) of each part of a campaign → its share of the mutants: numpy can't crash, and is
#: slow.
PARTS = {
    ("tflite", "sealed", "litert"): 1.0,
    ("tflite", "unsealed", "litert"): 1.0,
    ("onnx", "sealed", "onnxruntime"): 1.0,
    ("onnx", "unsealed", "onnxruntime"): 1.0,
    ("tflite", "unsealed", "numpy"): 0.1,
}
FINDINGS = ("crash", "hang", "unexpected", "silent")
_IMAGE_SEED = 1


def seeds_of(file_format: str, sealing: str) -> list[Seed]:
    """The sound files of one part of a campaign."""
    return [
        Seed.from_file(name, data if sealing == "sealed" else unsealed(data))
        for name, data in seed_files(file_format).items()
    ]


def picture() -> Any:
    """uint8[40, 50, 3]: the photo that every file classifies."""
    return np.random.default_rng(_IMAGE_SEED).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def run_part(file_format: str, sealing: str, engine: str, *, numbers: Sequence[int], campaign: int) -> dict[str, Any]:
    """Counts by outcome, and the findings with what makes each again."""
    seeds, counts, findings, peak, started = seeds_of(file_format, sealing), Counter[str](), [], 0.0, time.monotonic()
    kinds: Counter[str] = Counter()
    _import(engine)
    with temporary_folder_in_memory() as folder:
        task = Task(seeds, engine, picture(), folder, campaign)
        for outcome in run_task(task, numbers):
            counts[outcome.result] += 1
            kinds[outcome.kind] += 1
            peak = max(peak, outcome.rss_mb)
            if outcome.result in FINDINGS:
                findings.append(
                    {**_named(outcome), **({"fenced": _fenced(task, outcome)} if outcome.result == "crash" else {})}
                )
        return {
            "format": file_format,
            "weights": sealing,
            "engine": engine,
            "campaign": campaign,
            "mutants": len(numbers),
            "outcomes": dict(sorted(counts.items())),
            "kinds": dict(sorted(kinds.items())),
            "peak_rss_mb": round(peak),
            "seconds": round(time.monotonic() - started),
            "findings": findings,
        }


def _named(outcome: Outcome) -> dict[str, Any]:
    return {
        "number": outcome.number,
        "seed": outcome.seed,
        "damage": outcome.kind,
        "result": outcome.result,
        "detail": outcome.detail,
    }


def _fenced(task: Task, outcome: Outcome) -> str:
    """What the command line as a user runs it, trial run and all, makes of a file that crashes the engine."""
    path = task.folder / "finding"
    path.write_bytes(mutant(task.seeds, outcome.number, campaign=task.campaign)[2])
    photo = task.folder / "photo.png"
    Image.fromarray(task.image).save(photo)
    command = [
        sys.executable,
        "-m",
        "edge_effnet",
        "predict",
        str(photo),
        "--model",
        str(path),
        "--engine",
        task.engine,
        "--threads",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"exit status {done.returncode}" if done.returncode >= 0 else f"signal {-done.returncode}"


def _import(engine: str) -> None:
    """Once, before the processes that run mutants are forked off."""
    if engine == "litert":
        import ai_edge_litert.interpreter  # noqa: F401
    elif engine == "onnxruntime":
        import onnxruntime  # noqa: F401


def temporary_folder_in_memory() -> Any:
    """Files under test needn't go to a disk."""
    if Path("/dev/shm").is_dir():
        tempfile.tempdir = "/dev/shm"
    return temporary_folder()


def remake(name: str, target: Path, *, campaign: int) -> None:
    """Writes the mutant FORMAT/SEALING/NUMBER; raises UsageError for another name."""
    file_format, sealing, number = [*name.split("/"), "", ""][:3]
    if file_format not in FORMATS or sealing not in ("sealed", "unsealed") or not number.isdecimal():
        raise UsageError(
            f"mutant {name!r}; expected tflite or onnx, sealed or unsealed and a number: tflite/unsealed/433"
        )
    write_atomically(target, mutant(seeds_of(file_format, sealing), int(number), campaign=campaign)[2])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a campaign or makes one mutant again; 1 when something crashed, hung or went wrong silently."""
    parser = parser_of("fuzz", __doc__, remade="FORMAT/SEALING/NUMBER")
    parser.add_argument("--mutants", type=int, default=20_000, metavar="N", help="of each part (default 20,000)")
    parser.add_argument("--only", metavar="WORD", help="parts whose format, sealing or engine is this word")
    return answered(_answer, parser.parse_args(argv))


def _answer(arguments: argparse.Namespace) -> int:
    if arguments.remake:
        remake(arguments.remake, arguments.output, campaign=arguments.campaign)
        return 0
    if arguments.results:
        require_writable_folder(arguments.results)
    rows = []
    for part, share in PARTS.items():
        if arguments.only in (None, *part):
            rows.append(
                run_part(*part, numbers=range(math.ceil(arguments.mutants * share)), campaign=arguments.campaign)
            )
            print(json.dumps(rows[-1]), flush=True)
    if arguments.results:
        facts = {"hang_seconds": HANG_S, "memory_bytes": MEMORY_BYTES, "machine": machine_facts(), "parts": rows}
        write_atomically(arguments.results, (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
    return 1 if any(row["findings"] for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
