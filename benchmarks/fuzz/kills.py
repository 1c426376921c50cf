"""Killing the program while it writes: `python -m edge_effnet.benchmarks.fuzz.kills` sends SIGKILL at random moments.

Each scene writes in a loop in a child process that is killed after a random time. Afterwards every file must be one of
those that were wholly written, and after the next run's first step nothing else may lie beside it. For Linux.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias
from unittest.mock import patch

import numpy as np

from edge_effnet.benchmarks.fuzz.seeds import picture_of, trained_like
from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.exporters import export
from edge_effnet.files import remove_stale, require_writable_folder, temporary_folder, write_atomically
from edge_effnet.formats import read_model_file, with_document
from edge_effnet.variants import VARIANTS

_SIZE = 32
_LABELS = (("a", "b", "c", "d", "e"), ("one", "two", "three", "four", "five"))


Step: TypeAlias = Callable[[Path, int], None]


@dataclass(frozen=True)
class Scene:
    """prepare: gives what writes the n-th version into the folder; is_whole: whether a file is one of the versions.

    longest_s: a kill comes after 0 to so many seconds. share: of the kills asked for, since some scenes take long.
    """

    prepare: Callable[[], Step]
    is_whole: Callable[[Path], bool]
    longest_s: float
    share: float = 1.0


@dataclass
class Tally:
    """What a scene's kills found. during: kills that left a temporary file, so came in the middle of writing."""

    kills: int = 0
    during: int = 0
    torn: int = 0
    litter: int = 0

    @property
    def sound(self) -> bool:
        """Nothing torn and nothing left."""
        return self.torn == self.litter == 0


def _write(folder: Path, number: int) -> None:
    write_atomically(folder / "model.tflite", (b"old", b"new")[number % 2] * 700_000)


def _record(folder: Path, number: int) -> None:
    """What `eval` does when it's done."""
    path = folder / "model.tflite"
    data = BUNDLED_MODEL.read_bytes()
    document = read_model_file(data).document
    if document is not None:
        write_atomically(path, with_document(data, replace(document, accuracy={"top1": number / 1000})))


def _export(folder: Path, number: int) -> None:
    with _narrow():
        export(trained_like("lite0"), folder / f"model.{('tflite', 'onnx')[number % 2]}", source="timm-tf", image_size=_SIZE, labels=_LABELS[number // 2 % 2])


def _reported() -> Step:
    """The end of an export with a report, over and over: both files written anew from records made once."""
    from edge_effnet.exporters.report import write_report

    reports: list[Any] = []
    module = sys.modules["edge_effnet.exporters.export"]
    with tempfile.TemporaryDirectory() as folder, patch.object(module, "write_report", lambda _path, found: reports.append(found)):
        _export_with_report(Path(folder), 0)
        data = (Path(folder) / "model.tflite").read_bytes()

    def step(folder: Path, _number: int) -> None:
        write_atomically(folder / "model.tflite", data)
        write_report(folder / "report.json", reports[0])
        write_report(folder / "report.html", reports[0])

    return step


def _export_with_report(folder: Path, number: int) -> None:
    with _narrow():
        photos = [picture_of(seed) for seed in range(4)]
        options: dict[str, Any] = {"source": "timm-tf", "image_size": _SIZE, "labels": _LABELS[number % 2], "calibration": photos}
        export(trained_like("lite0"), folder / "model.tflite", precision="int8", report=folder / "report.json", **options)


def _events(folder: Path, number: int) -> None:
    """The camera's event file, a line each."""
    sinks, events = (importlib.import_module(f"edge_effnet.live.{name}") for name in ("sinks.file", "events"))
    sinks.FileSink(folder / "events.jsonl").send(events.Event(number + 1, "x" * 200, 1, 0.5, None, 0.0, 0.0, number + 1))


def _is_model(path: Path) -> bool:
    try:
        file = read_model_file(path)
    except ValueError:
        return False
    return file.document is not None and file.document.weights_sha256 is not None


def _is_text(path: Path) -> bool:
    text = path.read_bytes()
    return text in (b"old" * 700_000, b"new" * 700_000)


def _is_exported(path: Path) -> bool:
    if path.suffix == ".html":
        return path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    if path.suffix == ".json":
        try:
            return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
        except ValueError:
            return False
    return _is_model(path)


def _are_lines(path: Path) -> bool:
    try:
        return path.read_bytes()[-1:] == b"\n" and all(isinstance(json.loads(line), dict) for line in path.read_text(encoding="utf-8").splitlines())
    except ValueError:
        return False


SCENES = {
    "write": Scene(lambda: _write, _is_text, 0.05),
    "record": Scene(lambda: _record, _is_model, 0.3),
    "export": Scene(lambda: _export, _is_exported, 1.0),
    "report": Scene(_reported, _is_exported, 0.3),
    "int8": Scene(lambda: _export_with_report, _is_exported, 25.0, share=0.2),
    "events": Scene(lambda: _events, _are_lines, 0.05),
}


@contextmanager
def _narrow() -> Iterator[None]:
    """Networks of an eighth of the width, so that an export takes a fraction of a second."""
    small = {name: replace(variant, width=0.125) for name, variant in VARIANTS.items()}
    with patch("edge_effnet.exporters.identify.VARIANTS", MappingProxyType(small)):
        yield


def run_scene(scene: Scene, kills: int, *, seed: int = 0) -> Tally:
    """Kills a child of this process so many times, and looks at what is left each time."""
    random, tally = np.random.default_rng(seed), Tally()
    with temporary_folder() as parent:
        folder, others = parent / "out", parent / "tmp"
        folder.mkdir()
        others.mkdir()
        step = scene.prepare()
        step(folder, 0)
        for number in range(math.ceil(kills * scene.share)):
            _killed(step, folder, others, number, after_s=float(random.uniform(0, scene.longest_s)))
            _look(scene, folder, others, tally)
    return tally


def _killed(step: Step, folder: Path, others: Path, number: int, *, after_s: float) -> None:
    child = os.fork()
    if child == 0:
        try:
            tempfile.tempdir = str(others)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            for version in range(number, number + 1_000_000):
                step(folder, version)
        finally:
            os._exit(1)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise RuntimeError("the child ended before it was killed: its scene fails")


def _look(scene: Scene, folder: Path, others: Path, tally: Tally) -> None:
    """Counts what is torn, then begins the next run and counts what litter it leaves."""
    tally.kills += 1
    hidden = [path for path in folder.iterdir() if path.name.startswith(".")]
    tally.during += bool(hidden or any(others.iterdir()))
    tally.torn += sum(not scene.is_whole(path) for path in folder.iterdir() if path not in hidden)
    require_writable_folder(folder / "model.tflite")
    remove_stale(others)
    before, tempfile.tempdir = tempfile.tempdir, str(others)
    with temporary_folder():
        pass
    tempfile.tempdir = before
    tally.litter += sum(path.name.startswith(".") for path in folder.iterdir()) + sum(1 for _ in others.iterdir())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the scenes; 1 when a file was torn or litter was left."""
    parser = argparse.ArgumentParser(
        prog="python -m edge_effnet.benchmarks.fuzz.kills", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="of each scene (default 100)")
    parser.add_argument("--only", choices=SCENES, help="one scene")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--results", type=Path, metavar="FILE", help="JSON to write")
    arguments = parser.parse_args(argv)
    found = {}
    for name, scene in SCENES.items():
        if arguments.only in (None, name):
            if name == "events" and importlib.util.find_spec("edge_effnet.live") is None:
                continue
            found[name] = run_scene(scene, arguments.kills, seed=arguments.seed)
            print(f"{name:<8} {found[name]}", flush=True)
    if arguments.results:
        write_atomically(arguments.results, (json.dumps({name: tally.__dict__ for name, tally in found.items()}, indent=1) + "\n").encode())
    return 0 if all(tally.sound for tally in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
