"""`python -m edge_effnet.benchmarks.live PHOTOS`: announcements, overhead, viewers and, with --soak-minutes, a long
run.

PHOTOS is examples/photos of the repository. Results go to --results as JSON, what isn't measured anew stays as it was.
Needs OpenCV (extra: camera) and, for the long run, Linux.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_effnet.benchmarks.live import measure
from edge_effnet.benchmarks.live.scenes import video_frames, write_video
from edge_effnet.classifier import Classifier
from edge_effnet.errors import EdgeEffnetError
from edge_effnet.files import write_atomically
from edge_effnet.machine import machine_facts
from edge_effnet.version import __version__

_MOST_OVERHEAD_PERCENT, _MOST_SLOWER_PERCENT, _MOST_GROWTH_PERCENT = 5.0, 10.0, 2.0


def main(words: Sequence[str] | None = None) -> int:
    """1 when a bar isn't met."""
    arguments = _parser().parse_args(words)
    try:
        with tempfile.TemporaryDirectory() as folder:
            results = _measured(arguments, Path(folder) / "scenes.avi")
    except EdgeEffnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(results, indent=2, ensure_ascii=False))
    if arguments.results:
        _record(arguments.results, results)
    missed = _missed(results)
    print("\n".join(f"MISSED: {text}" for text in missed) or "every bar is met", file=sys.stderr)
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edge_effnet.benchmarks.live", description="Measure live classification."
    )
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="examples/photos of the repository")
    parser.add_argument(
        "--only",
        action="append",
        choices=("announcements", "overhead", "viewers"),
        help="repeatable; default: all three",
    )
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="turns of each comparison (default 15)")
    parser.add_argument(
        "--soak-minutes",
        type=float,
        default=0.0,
        metavar="M",
        help="run the command on the video in a loop for M minutes",
    )
    parser.add_argument("--results", type=Path, metavar="FILE", help="add the results to this JSON file")
    return parser


def _measured(arguments: argparse.Namespace, video: Path) -> dict[str, Any]:
    frames = list(video_frames(arguments.photos))
    write_video(video, frames)
    chosen = arguments.only or ("announcements", "overhead", "viewers")
    results: dict[str, Any] = {"version": __version__, "machine": machine_facts()}
    with Classifier(threads=1) as classifier:
        results["model"] = {"file": classifier.model_path.name, "engine": classifier.engine_version, "threads": 1}
        classifier.predict(frames[0])
        if "announcements" in chosen:
            events = measure.announcements(classifier, video)
            results["announcements"] = {"events": [event.to_dict() for event in events], "wrong": measure.judge(events)}
        if "overhead" in chosen:
            results["overhead"] = measure.overhead(classifier, frames[::6], rounds=4 * arguments.rounds)
        if "viewers" in chosen:
            results["viewers"] = measure.viewers(classifier, frames[::3], rounds=arguments.rounds, seconds=4.0)
    if arguments.soak_minutes:
        results["soak"] = measure.soak(video, minutes=arguments.soak_minutes)
    return results


def _record(path: Path, results: dict[str, Any]) -> None:
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_atomically(path, (json.dumps({**before, **results}, indent=2, ensure_ascii=False) + "\n").encode())


def _missed(results: dict[str, Any]) -> list[str]:
    missed = list(results.get("announcements", {}).get("wrong", []))
    soak = results.get("soak")
    bars = [
        (
            "overhead of LiveClassifier",
            results.get("overhead", {}).get("overhead_percent", 0.0),
            _MOST_OVERHEAD_PERCENT,
        ),
        (
            "processor time over predict",
            results.get("overhead", {}).get("cpu_overhead_percent", 0.0),
            _MOST_OVERHEAD_PERCENT,
        ),
        ("processor time for viewers", results.get("viewers", {}).get("more_cpu_percent", 0.0), _MOST_SLOWER_PERCENT),
        ("slower with viewers", results.get("viewers", {}).get("slower_percent", 0.0), _MOST_SLOWER_PERCENT),
        ("growth of memory", soak["rss_growth_percent"] if soak else 0.0, _MOST_GROWTH_PERCENT),
    ]
    missed += [f"{what} is {value} %; at most {most} % is meant" for what, value, most in bars if value >= most]
    if soak:
        missed += [
            f"{what} grew from {soak[what][0]} to {soak[what][1]}"
            for what in ("threads", "descriptors")
            if soak[what][1] > soak[what][0]
        ]
    return missed


if __name__ == "__main__":
    sys.exit(main())
