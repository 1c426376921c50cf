"""`python -m edge_effnet.benchmarks.speed`: our files against other makers', in one run and by turns.

Results are added to a JSON file, and rendered from there into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_effnet.benchmarks.environments import PeerError
from edge_effnet.benchmarks.speed_measure import Task, make_files, measure_end_to_end, measure_inference, measure_start
from edge_effnet.benchmarks.speed_peers import BASE, SUBJECTS
from edge_effnet.benchmarks.speed_render import render
from edge_effnet.errors import EdgeEffnetError, EngineError, UsageError
from edge_effnet.files import require_writable_folder, write_atomically
from edge_effnet.formats import read_model_file
from edge_effnet.machine import machine_facts

_RESULTS = Path("benchmarks/results/speed.json")
_PAGE = Path("docs/performance.md")
#: What describes the place rather than the measurement.
_PRIVATE = ("system", "temperature_c", "frequency_mhz", "max_frequency_mhz", "throttled", "governor", "model")
_STARTS = 5


def main(words: Sequence[str] | None = None) -> int:
    """Measures what the options name, writes the results, renders them on request."""
    arguments = _parser().parse_args(words)
    try:
        _work(arguments)
    except EdgeEffnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge_effnet.benchmarks.speed", description=__doc__)
    parser.add_argument(
        "--checkpoint", type=Path, metavar="CHECKPOINT", help="trained weights, from which all files are made"
    )
    parser.add_argument(
        "--source", metavar="NAME", help="the checkpoint's implementation, as `edge-effnet export` takes it"
    )
    parser.add_argument(
        "--name", metavar="NAME", help="of the network in the results (default: the checkpoint's file name)"
    )
    parser.add_argument("--calibration", type=Path, metavar="DIR", help="photos to calibrate on, ours and the peers'")
    parser.add_argument(
        "--calibration-images", type=int, default=256, metavar="N", help="how many are drawn at most (default 256)"
    )
    parser.add_argument(
        "--photo", type=Path, metavar="FILE", help="also compare with MediaPipe, from this photo to its labels"
    )
    parser.add_argument("--runs", type=int, default=50, metavar="N", help="timed runs of each (default 50)")
    parser.add_argument("--warmup", type=int, default=5, metavar="N", help="runs of each before them (default 5)")
    parser.add_argument(
        "--peers",
        type=Path,
        default=Path.home() / ".cache" / "edge-effnet-peers",
        metavar="DIR",
        help="where the peers are installed",
    )
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="keep the files that are made there, and take those that are there already",
    )
    parser.add_argument(
        "--results", type=Path, default=_RESULTS, metavar="FILE", help="results to add to (default: %(default)s)"
    )
    parser.add_argument(
        "--render", type=Path, nargs="?", const=_PAGE, metavar="FILE", help="write the page (default: %(const)s)"
    )
    return parser


def _work(arguments: argparse.Namespace) -> None:
    if arguments.checkpoint is None and arguments.render is None:
        raise UsageError("nothing to do; expected --checkpoint FILE with --calibration DIR, or --render")
    if arguments.checkpoint is not None:
        if arguments.calibration is None:
            raise UsageError("--checkpoint goes with --calibration DIR, the photos that int8 files are calibrated on")
        require_writable_folder(arguments.results)
        with tempfile.TemporaryDirectory() as folder:
            _measure(arguments, arguments.work or Path(folder))
    if arguments.render is not None:
        folder = arguments.results.parent
        write_atomically(
            arguments.render,
            render(
                _read(arguments.results),
                _read(folder / "arm.json"),
                _read(folder / "photo_path.json") or None,
                throughput=_read(folder / "throughput.json") or None,
            ).encode(),
        )


def _measure(arguments: argparse.Namespace, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    paths = [arguments.checkpoint, arguments.calibration, folder, arguments.peers]
    checkpoint, calibration, folder, venvs = (path.resolve() for path in paths)
    task = Task(checkpoint, arguments.source, calibration, arguments.calibration_images, folder, venvs, core)
    failed = make_files(task, _say)
    inference = measure_inference(task, failed, runs=arguments.runs, warmup=arguments.warmup)
    _print(inference)
    found = {**_facts(task, arguments.runs), "inference": inference}
    if arguments.photo is not None:
        found |= _against_mediapipe(task, arguments)
    results = _read(arguments.results)
    networks = {**results.get("networks", {}), arguments.name or checkpoint.stem: found}
    machine = {key: value for key, value in machine_facts().items() if key not in _PRIVATE}
    write_atomically(
        arguments.results,
        (json.dumps({"machine": machine, "networks": networks}, indent=1, ensure_ascii=False) + "\n").encode(),
    )


def _facts(task: Task, runs: int) -> dict[str, Any]:
    document = read_model_file(task.folder / "ours-int8.tflite").document
    if document is None or document.quantization is None:
        raise UsageError(
            f"{task.folder / 'ours-int8.tflite'} isn't an int8 file of edge-effnet; empty the folder and measure again"
        )
    return {
        "variant": document.variant,
        "image_size": document.image_size,
        "calibration_images": document.quantization.get("calibration_images"),
        "runs": runs,
    }


def _against_mediapipe(task: Task, arguments: argparse.Namespace) -> dict[str, Any]:
    model, photo = task.folder / "ours-int8.tflite", arguments.photo.resolve()
    try:
        whole = measure_end_to_end(task, model, photo, runs=arguments.runs, warmup=arguments.warmup)
        start = measure_start(task, model, photo, runs=_STARTS)
    except (PeerError, EngineError) as error:
        _say(f"not compared with MediaPipe: {error}")
        return {}
    for size in ("small", "large"):
        found = whole[size]
        ours, theirs = found["ours"]["ms"]["p50"], found["mediapipe"]["ms"]["p50"]
        print(
            f"{found['photo']}, file to labels: {ours:.1f} ms, MediaPipe {theirs:.1f} ms, ratio "
            f"{found['mediapipe']['base_ratio']:.2f}"
        )
    print(
        f"process start to labels: {start['ours_s']:.2f} s, MediaPipe {start['mediapipe_s']:.2f} s, ratio "
        f"{start['ratio']:.2f}"
    )
    return {"end_to_end": whole, "start": start}


def _print(inference: Mapping[str, Any]) -> None:
    print(f"{'':<18}{'min ms':>8}{'median ms':>10}{'ratio':>8}   ratio: {BASE} through this one")
    for name in SUBJECTS:
        found = inference[name]
        if "not_measured" in found:
            print(f"{name:<18}not measured: {found['not_measured']}")
        else:
            print(
                f"{name:<18}{found['ms']['min']:>8.2f}{found['ms']['p50']:>10.2f}{found['base_ratio']:>8.3f}   "
                f"{found['versions']}",
                flush=True,
            )


def _read(path: Path) -> dict[str, Any]:
    """A results file's content; empty where there is none. Raises UsageError."""
    if not path.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path}: not JSON ({error})") from error
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
