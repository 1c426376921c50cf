"""What a photo costs besides the network: `python -m edge_effnet.benchmarks.photo_path [PHOTO…] [--model FILE]`.

Ours beside the plain path, in one run and taking turns: a 12-megapixel JPEG from file to label, a 640×480 frame without
the network, and a cold `edge-effnet predict`. The plain path is what a script does by hand: Pillow opens the photo in
full, a bicubic resize of the whole, the crop, `(pixel / 255 - mean) / std` in float32, the same engine on the same
file, softmax. (A file that takes pixels gets them; the plain path normalises all the same, as a client of the usual
files must.)
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.classifier import BUNDLED_MODEL, Classifier
from edge_effnet.engines import open_session
from edge_effnet.errors import EdgeEffnetError, UsageError
from edge_effnet.files import write_atomically
from edge_effnet.formats import read_model_file
from edge_effnet.images import expand_sources
from edge_effnet.machine import machine_facts
from edge_effnet.numerics import softmax
from edge_effnet.version import __version__

Row: TypeAlias = dict[str, Any]
#: (best class, milliseconds in all, milliseconds in the engine)
Outcome: TypeAlias = tuple[int, float, float]

_PIXELS = 12_000_000
_FRAME = (640, 480)
_WARM_UP = 3
_FRAME_RUNS, _COLD_RUNS = 200, 15
_FACTS = ("model", "cpu", "architecture", "cores", "features", "governor", "memory_mb", "python", "versions")
_HERE = Path(__file__).parent
_PEERS = _HERE / "peers"


class PlainPath:
    """The same file in the same engine, fed by hand."""

    def __init__(self, model: Path, classifier: Classifier) -> None:
        self._session = open_session(
            model, file_format=read_model_file(model).format, engine=classifier.engine, threads=classifier.threads
        )
        self._preprocessing = classifier.preprocessing

    def classify(self, source: Any, *, bgr: bool = False) -> Outcome:
        """For a path or uint8[H, W, 3]."""
        from PIL import Image

        begin = time.perf_counter()
        if isinstance(source, np.ndarray):
            image = Image.fromarray(np.ascontiguousarray(source[:, :, ::-1]) if bgr else source)
        else:
            image = Image.open(source).convert("RGB")
        tensor = self._tensor(image)
        ready = time.perf_counter()
        raw = self._session.run(tensor)
        inferred = time.perf_counter()
        scores = softmax(np.asarray(raw, np.float32).reshape(-1))
        best = int(np.argsort(-scores)[:5][0])
        return best, 1000 * (time.perf_counter() - begin), 1000 * (inferred - ready)

    def _tensor(self, image: Any) -> npt.NDArray[Any]:
        from PIL import Image

        settings = self._preprocessing
        longer = int(settings.resize * max(image.size) / min(image.size))
        size = (settings.resize, longer) if image.width <= image.height else (longer, settings.resize)
        image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = round((image.width - settings.crop) / 2), round((image.height - settings.crop) / 2)
        pixels = np.asarray(image.crop((left, top, left + settings.crop, top + settings.crop)))
        values = (np.asarray(pixels, np.float32) / 255 - np.asarray(settings.mean, np.float32)) / np.asarray(
            settings.std, np.float32
        )
        chosen = pixels if self._session.input.dtype == "uint8" else values
        return np.ascontiguousarray(chosen[None] if self._session.layout == "nhwc" else chosen.transpose(2, 0, 1)[None])


def ours(classifier: Classifier, source: Any, *, bgr: bool = False) -> Outcome:
    """`Classifier.predict`, timed from outside."""
    begin = time.perf_counter()
    best = classifier.predict(source, channels="bgr" if bgr else "rgb")[0].index
    return best, 1000 * (time.perf_counter() - begin), classifier.timing_ms["inference"]


def in_turn(calls: Sequence[Callable[[], Outcome]], *, runs: int, warm_up: int = 0) -> list[list[Outcome]]:
    """The outcomes of each call, made in turn and each round beginning with another one."""
    found: list[list[Outcome]] = [[] for _ in calls]
    for number in range(warm_up + runs):
        for index in range(len(calls)):
            at = (index + number) % len(calls)
            outcome = calls[at]()
            if number >= warm_up:
                found[at].append(outcome)
    return found


def large_jpegs(photos: Sequence[Path], folder: Path) -> Iterator[Path]:
    """Each photo as a JPEG of 12 megapixels in `folder`, one at a time; smaller photos are enlarged."""
    from PIL import Image

    from edge_effnet.decoding import decode

    for photo in photos:
        image = decode(photo)
        scale = math.sqrt(_PIXELS / (image.width * image.height))
        path = folder / "large.jpg"
        image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC).save(
            path, quality=90
        )
        yield path


def measure_files(classifier: Classifier, plain: PlainPath, photos: Sequence[Path], *, runs: int) -> Row:
    """From file to label, median over all photos and runs, and on how many photos the best class is the same."""
    times: list[list[float]] = [[], []]
    same = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(large_jpegs(photos, Path(folder))):
            calls = [lambda path=path: ours(classifier, path), lambda path=path: plain.classify(path)]
            found = in_turn(calls, runs=runs, warm_up=0 if number else 1)
            for kept, outcomes in zip(times, found, strict=True):
                kept += [total for _, total, _ in outcomes]
            same += found[0][0][0] == found[1][0][0]
    return {**_row("12 MP JPEG, file to label", times), "photos": len(photos), "runs": runs, "same_top1": same}


def measure_frames(classifier: Classifier, plain: PlainPath, photo: Path, *, runs: int, bgr: bool) -> Row:
    """A 640×480 frame without the engine's part, median."""
    from edge_effnet.decoding import decode

    frame = np.asarray(decode(photo).resize(_FRAME)).copy()
    calls = [lambda: ours(classifier, frame, bgr=bgr), lambda: plain.classify(frame, bgr=bgr)]
    found = in_turn(calls, runs=runs, warm_up=_WARM_UP)
    times = [[total - inference for _, total, inference in outcomes] for outcomes in found]
    return {
        **_row(
            f"{_FRAME[0]}×{_FRAME[1]} frame, {'BGR' if bgr else 'RGB'}, {classifier.decoding}, all but the network",
            times,
        ),
        "runs": runs,
    }


def measure_cold(
    classifier: Classifier, model: Path, photo: Path, *, runs: int, mediapipe_python: str | None
) -> list[Row]:
    """From the start of a process to its label, against the bare script and, where there is one, against MediaPipe."""
    settings = classifier.preprocessing
    numbers = [str(number) for number in (settings.resize, settings.crop, classifier.threads)]
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "": [
                sys.executable,
                "-m",
                "edge_effnet",
                "predict",
                str(photo),
                "--model",
                str(model),
                "--threads",
                str(classifier.threads),
            ],
            "a bare script": [sys.executable, str(_PEERS / "classify_bare.py"), str(model), str(photo), *numbers],
            **(_mediapipe(mediapipe_python, model, photo, Path(folder)) if mediapipe_python else {}),
        }
        found = _run_cold([*commands.values()] * (runs + 1))[len(commands) :]  # the first round warms the file cache
    times, peaks = (
        [[run[at] for run in found[number :: len(commands)]] for number in range(len(commands))] for at in range(2)
    )
    return [
        {
            **_row(f"cold `predict` against {name}", [[1000 * value for value in times[number]] for number in (0, at)]),
            "runs": runs,
            "ours_peak_mb": round(max(peaks[0]), 1),
            "plain_peak_mb": round(max(peaks[at]), 1),
        }
        for at, name in enumerate(commands)
        if name
    ]


def _mediapipe(python: str, model: Path, photo: Path, folder: Path) -> dict[str, list[str]]:
    request = folder / "request.json"
    request.write_text(json.dumps({"files": [str(photo)], "top_k": 5}), encoding="utf-8")
    return {
        "importing MediaPipe": [python, "-c", "import mediapipe"],
        "MediaPipe's ImageClassifier": [
            python,
            str(_PEERS / "classify_mediapipe.py"),
            str(model),
            str(request),
            str(folder / "result.json"),
        ],
    }


def _run_cold(commands: list[list[str]]) -> list[tuple[float, float]]:
    script = [sys.executable, "-I", "-S", str(_HERE / "cold_start.py")]
    done = subprocess.run(script, input=json.dumps(commands), capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"cold start: {done.stderr.strip()[-500:]}")
    return [(seconds, megabytes) for seconds, megabytes in json.loads(done.stdout)]


def _row(name: str, times: Sequence[Sequence[float]]) -> Row:
    ours_ms, plain_ms = (median(values) for values in times)
    return {
        "name": name,
        "ours_ms": round(ours_ms, 3),
        "plain_ms": round(plain_ms, 3),
        "ratio": round(ours_ms / plain_ms, 3),
    }


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = [f"{'':<50} {'ours':>10} {'plain':>10} {'ratio':>7}"]
    for row in rows:
        remark = f"   same top-1 on {row['same_top1']} of {row['photos']} photos" if "same_top1" in row else ""
        remark += (
            f"   peak {row['ours_peak_mb']:.0f} MB against {row['plain_peak_mb']:.0f} MB"
            if "ours_peak_mb" in row
            else ""
        )
        lines.append(
            f"{row['name']:<50} {row['ours_ms']:>7.2f} ms {row['plain_ms']:>7.2f} ms {row['ratio']:>7.3f}{remark}"
        )
    return "\n".join(lines)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All rows, with the machine they were measured on."""
    photos = list(expand_sources(arguments.photos))
    model = Path(arguments.model)
    with (
        Classifier(model, threads=arguments.threads) as classifier,
        Classifier(model, threads=arguments.threads, decoding="quick") as quick,
    ):
        plain = PlainPath(model, classifier)
        rows = [
            measure_files(classifier, plain, photos, runs=arguments.runs),
            *(
                measure_frames(chosen, plain, photos[0], runs=_FRAME_RUNS, bgr=bgr)
                for chosen in (classifier, quick)
                for bgr in (False, True)
            ),
            *measure_cold(classifier, model, photos[0], runs=_COLD_RUNS, mediapipe_python=arguments.mediapipe_python),
        ]
        what = {
            "model": model.name,
            "engine": classifier.engine_version,
            "threads": classifier.threads,
            "edge_effnet": __version__,
        }
    facts = machine_facts()
    return {
        "schema_version": 1,
        "machine": {name: facts[name] for name in _FACTS if facts[name] is not None},
        "what": what,
        "rows": rows,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table and, with --out, keeps the rows."""
    parser = argparse.ArgumentParser(
        prog="python -m edge_effnet.benchmarks.photo_path", description="What a photo costs besides the network."
    )
    parser.add_argument(
        "photos",
        nargs="*",
        default=["examples/photos"],
        metavar="PHOTO",
        help="files, folders or globs (default examples/photos)",
    )
    parser.add_argument(
        "--model", default=str(BUNDLED_MODEL), metavar="FILE", help="a .tflite file (default: the bundled one)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the engine (default 1)")
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="of each large photo (default 10)")
    parser.add_argument(
        "--mediapipe-python",
        metavar="PYTHON",
        help="interpreter of an environment with MediaPipe, to compare the cold start with",
    )
    parser.add_argument("--out", metavar="FILE", help="write the rows there as JSON")
    arguments = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        found = measure(arguments)
    except EdgeEffnetError as error:
        print(f"photo_path: error: {error}", file=sys.stderr)
        return 2
    print(table(found["rows"]))
    if arguments.out:
        write_atomically(arguments.out, (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
