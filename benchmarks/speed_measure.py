"""Making our files and the peers' from one checkpoint, and timing all of them by turns in one run."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edge_effnet.benching.rows import percentiles
from edge_effnet.benching.workers import RUNS_A_TURN, Timings, Worker, by_turns, own_worker
from edge_effnet.benchmarks.environments import PeerError, prepare, versions
from edge_effnet.benchmarks.speed_peers import (
    BASE,
    ENVIRONMENTS,
    SUBJECTS,
    make_peer_files,
    serving_worker,
    versions_of,
    worker_of,
)
from edge_effnet.errors import EngineError
from edge_effnet.exporters import export
from edge_effnet.files import write_atomically
from edge_effnet.preprocessing import decode
from edge_effnet.quantization.measure.calibration import draw_calibration_set

#: Ours: file → precision. float.onnx is what peers are given.
_FILES = {"ours-fp32.tflite": "fp32", "ours-int8.tflite": "int8", "ours-int8.onnx": "int8", "float.onnx": "fp32"}
_LARGE = (4000, 3000)
_QUALITY = 90


@dataclass(frozen=True)
class Task:
    """What to compare on. source: the checkpoint's dialect; venvs: where peers are installed; core: to keep to."""

    checkpoint: Path
    source: str | None
    calibration: Path
    images: int
    folder: Path
    venvs: Path
    core: int | None


def make_files(task: Task, say: Callable[[str], None]) -> dict[str, str]:
    """Our files, the peers' arrays and files, in the task's folder; what is there is kept. Peer → why it has no
    files.
    """
    for name, precision in _FILES.items():
        if not (task.folder / name).exists():
            say(f"exporting {name}")
            photos = task.calibration if precision == "int8" else None
            export(
                task.checkpoint,
                task.folder / name,
                precision=precision,
                source=task.source,
                calibration=photos,
                calibration_images=task.images,
                refine=0.0,
            )
    if not (task.folder / "arrays.npz").exists():
        write_atomically(task.folder / "arrays.npz", _arrays(task))
    failed = {}
    for name in dict.fromkeys(subject.environment for subject in SUBJECTS.values() if subject.environment):
        say(f"making the files of {ENVIRONMENTS[name].title}")
        try:
            make_peer_files(name, task.folder, task.venvs)
        except PeerError as error:
            failed[name] = str(error)
    return failed


def _arrays(task: Task) -> bytes:
    """calibration float32[N, 3, S, S], image float32[1, 3, S, S] and pixels uint8[1, 3, S, S] as an .npz file."""
    from edge_effnet.formats import read_model_file

    document = read_model_file(task.folder / "ours-fp32.tflite").document
    if document is None:
        raise EngineError("our own file has no document")
    photos = list(draw_calibration_set(task.calibration, document.preprocessing, limit=task.images, seed=0))
    planes = np.stack([document.preprocessing.normalise(photo).transpose(2, 0, 1) for photo in photos])
    out = io.BytesIO()
    np.savez(out, calibration=planes, image=planes[:1], pixels=photos[0].transpose(2, 0, 1)[None])
    return out.getvalue()


def measure_inference(task: Task, failed: Mapping[str, str], *, runs: int, warmup: int) -> dict[str, Any]:
    """Name → milliseconds, ratio to the base, versions; or why it wasn't measured."""
    found: dict[str, Any] = {}
    workers: dict[str, Worker] = {}
    with ExitStack() as stack:
        for name, subject in SUBJECTS.items():
            try:
                if subject.environment is not None and subject.environment in failed:
                    raise PeerError(failed[subject.environment])
                worker = _opened(
                    stack.enter_context(worker_of(name, task.venvs)),
                    {**subject.settings, "folder": str(task.folder)},
                    task.core,
                )
                workers[name] = worker
            except (PeerError, EngineError) as error:
                found[name] = {"not_measured": str(error)}
        timings = dict(
            zip(
                workers,
                by_turns(list(workers.values()), runs=runs, warmup=warmup, after_turn=lambda _count: None),
                strict=True,
            )
        )
    for name, times in timings.items():
        found[name] = {**summary(times, timings[BASE]), "versions": versions_of(name, task.venvs)}
    return {name: found[name] for name in SUBJECTS}


def _opened(worker: Worker, settings: Mapping[str, Any], core: int | None) -> Worker:
    if core is not None:
        worker.pin(core)
    worker.open(settings)
    return worker


def summary(times: Timings, base: Timings) -> dict[str, Any]:
    """ms: percentiles. base_ratio: of the base's milliseconds to these, the median over turns of the turns' fastest
    runs.
    """
    own, other = ([timing.get("total", timing["inference"]) for timing in timings] for timings in (times, base))
    ratios = [min(theirs) / min(ours) for ours, theirs in zip(_turns(own), _turns(other), strict=True)]
    return {"ms": percentiles(own), "base_ratio": round(median(ratios), 3)}


def _turns(values: Sequence[float]) -> list[Sequence[float]]:
    return [values[start : start + RUNS_A_TURN] for start in range(0, len(values), RUNS_A_TURN)]


def measure_end_to_end(task: Task, model: Path, photo: Path, *, runs: int, warmup: int) -> dict[str, Any]:
    """From a photo's path to its labels, ours and MediaPipe's ImageClassifier with the same `.tflite` file on one core.

    The photo as it is, and enlarged to 12 megapixels.
    """
    found = {}
    for name, path in (("small", photo), ("large", _enlarged(photo, task.folder / "large.jpg"))):
        with ExitStack() as stack:
            settings = {"model": str(model), "image": str(path), "top_k": 5}
            ours = stack.enter_context(own_worker("ours", engine="litert", threads=1))
            _opened(ours, {**settings, "engine": "litert", "threads": 1, "preprocessing": None}, task.core)
            theirs = stack.enter_context(
                serving_worker("mediapipe", _mediapipe(task), ENVIRONMENTS["mediapipe"].program)
            )
            _opened(theirs, settings, task.core)
            times = by_turns([ours, theirs], runs=runs, warmup=warmup, after_turn=lambda _count: None)
        width, height = decode(path).size
        found[name] = {
            "photo": f"{width}×{height}",
            "ours": summary(times[0], times[0]),
            "mediapipe": summary(times[1], times[0]),
        }
    return {**found, "versions": versions(ENVIRONMENTS["mediapipe"], _mediapipe(task))}


def _enlarged(photo: Path, path: Path) -> Path:
    image = decode(photo).resize(_LARGE)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    write_atomically(path, out.getvalue())
    return path


def _mediapipe(task: Task) -> Path:
    return prepare("mediapipe", ENVIRONMENTS["mediapipe"], task.venvs)


def measure_start(task: Task, model: Path, photo: Path, *, runs: int) -> dict[str, Any]:
    """Seconds from a process's start to its end, with one photo's labels in between; ours and MediaPipe's,
    alternating.
    """
    request = task.folder / "request.json"
    request.write_text(f'{{"files": ["{photo.as_posix()}"], "top_k": 5}}', encoding="utf-8")
    theirs = [
        str(_mediapipe(task)),
        "-I",
        str(ENVIRONMENTS["mediapipe"].program),
        str(model),
        str(request),
        str(task.folder / "result.json"),
    ]
    ours = [sys.executable, "-m", "edge_effnet", "predict", str(photo), "--model", str(model), "--threads", "1"]
    seconds: dict[str, list[float]] = {"ours": [], "mediapipe": []}
    for number in range(runs + 1):
        for name, command in (("ours", ours), ("mediapipe", theirs)):
            started = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True, cwd=task.folder)
            if number:  # the first time, files come from the disk
                seconds[name].append(time.perf_counter() - started)
    ratio = median(mine / other for mine, other in zip(seconds["ours"], seconds["mediapipe"], strict=True))
    return {
        **{f"{name}_s": round(median(values), 3) for name, values in seconds.items()},
        "ratio": round(ratio, 3),
        "runs": runs,
    }
