"""Killing the program while it writes: `python -m edge_effnet.benchmarks.fuzz.kills` sends SIGKILL at random moments.

Each scene writes in a loop in a child process that is killed: three of four times within a few milliseconds of a
temporary file's appearance, otherwise after a random time. Afterwards every file must be one of those that were wholly
written, and after the next run's first step nothing else may lie beside it. Of events no line but the last may be torn,
the next event mends that, and none that the child had written is missing. For Linux.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import mmap
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

import numpy as np

from edge_effnet.benchmarks.fuzz.seeds import picture_of, trained_like
from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.errors import UsageError
from edge_effnet.exporters import export
from edge_effnet.files import remove_stale, require_writable_folder, temporary_folder, write_atomically
from edge_effnet.formats import read_model_file, with_document
from edge_effnet.live.events import Event
from edge_effnet.live.sinks import FileSink

_SIZE = 32
#: Share of the kills that wait for a temporary file, and how long after its appearance they come at the latest.
_NEAR, _AFTER_S = 0.75, 0.0015
#: Between the versions of two children; odd, so that they begin with different ones.
_STRIDE = 1_000_001
_LABELS = (("a", "b", "c", "d", "e"), ("one", "two", "three", "four", "five"))


Step: TypeAlias = Callable[[Path, int], None]

#: A temporary file between being made and getting its inode's number into its name, some microseconds.
_UNNAMED = re.compile(r"\.edge-effnet-\w{8}\.part")


@dataclass(frozen=True)
class Scene:
    """prepare: gives what writes the n-th version into the folder; is_whole: whether a file is one of the versions.

    longest_s: a kill comes after 0 to so many seconds. share: of the kills asked for, since some scenes take long.
    near: of those kills, the share that wait for a temporary file. appends: the file grows instead of being replaced.
    """

    prepare: Callable[[], Step]
    is_whole: Callable[[Path], bool]
    longest_s: float
    share: float = 1.0
    near: float = _NEAR
    appends: bool = False


@dataclass
class Tally:
    """What a scene's kills found.

    during: kills in the middle of writing, which left a temporary file or an event that the child hadn't yet called
    written. mended: torn last lines that the next event cut off. lost: written events that are missing.
    """

    kills: int = 0
    during: int = 0
    torn: int = 0
    litter: int = 0
    mended: int = 0
    lost: int = 0

    @property
    def sound(self) -> bool:
        """Nothing torn, nothing left and nothing lost."""
        return self.torn == self.litter == self.lost == 0


def _write(folder: Path, number: int) -> None:
    write_atomically(folder / "model.tflite", (b"old", b"new")[number % 2] * 700_000)


def _record(folder: Path, number: int) -> None:
    """What `eval` does when it's done."""
    path = folder / "model.tflite"
    data = BUNDLED_MODEL.read_bytes()
    document = read_model_file(data).document
    if document is not None:
        write_atomically(path, with_document(data, replace(document, accuracy={"top1": number % 1000 / 1000})))


def _export(folder: Path, number: int) -> None:
    export(
        trained_like("lite0"),
        folder / f"model.{('tflite', 'onnx')[number % 2]}",
        source="timm-tf",
        image_size=_SIZE,
        labels=_LABELS[number // 2 % 2],
    )


def _reported() -> Step:
    """The end of an export with a report, over and over: both files written anew from records made once."""
    from edge_effnet.exporters.report import write_report

    reports: list[Any] = []
    module = sys.modules["edge_effnet.exporters.export"]
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(module, "write_report", lambda _path, found: reports.append(found)),
    ):
        _export_with_report(Path(folder), 0)
        data = (Path(folder) / "model.tflite").read_bytes()

    def step(folder: Path, _number: int) -> None:
        write_atomically(folder / "model.tflite", data)
        write_report(folder / "report.json", reports[0])
        write_report(folder / "report.html", reports[0])

    return step


def _export_with_report(folder: Path, number: int) -> None:
    photos = [picture_of(seed) for seed in range(4)]
    options: dict[str, Any] = {
        "source": "timm-tf",
        "image_size": _SIZE,
        "labels": _LABELS[number % 2],
        "calibration": photos,
        "refine": 0.0,
    }
    export(trained_like("lite0"), folder / "model.tflite", precision="int8", report=folder / "report.json", **options)


def _events(folder: Path, number: int) -> None:
    """The camera's event file: lines of up to ten pages, since a kill tears a line between two of them."""
    label = "x" * (100 + number * 7919 % 40_000)
    FileSink(folder / "events.jsonl").send(Event(number, label, 1, 0.5, None, 0.0, 0.0, number))


def _events_unsynced(folder: Path, number: int) -> None:
    """Nearly all of the time is then spent writing, not waiting for the disk; a kill, unlike a power cut, must lose
    nothing either.
    """
    with patch("edge_effnet.live.sinks.file._sync", lambda _: None):
        _events(folder, number)


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
    """Whether all lines are JSON objects; what stands behind the last line's end may be anything."""
    try:
        return all(isinstance(json.loads(line), dict) for line in path.read_bytes().split(b"\n")[:-1])
    except ValueError:
        return False


SCENES = {
    "write": Scene(lambda: _write, _is_text, 0.05),
    "record": Scene(lambda: _record, _is_model, 0.3),
    "export": Scene(lambda: _export, _is_exported, 1.0),
    "report": Scene(_reported, _is_exported, 0.3),
    "int8": Scene(lambda: _export_with_report, _is_exported, 25.0, share=0.2),
    "events": Scene(lambda: _events, _are_lines, 0.05, near=0.0, appends=True),
    "events-unsynced": Scene(lambda: _events_unsynced, _are_lines, 0.02, near=0.0, appends=True),
}


def run_scene(scene: Scene, kills: int, *, seed: int = 0) -> Tally:
    """Kills a child of this process so many times, and looks at what is left each time."""
    random, tally = np.random.default_rng(seed), Tally()
    with temporary_folder() as parent:
        folder, others = parent / "out", parent / "tmp"
        folder.mkdir()
        others.mkdir()
        step = scene.prepare()
        step(folder, 0)
        for number in range(1, math.ceil(kills * scene.share) + 1):
            first = number * _STRIDE
            done = _killed(step, folder, others, first, wait=_moment(scene, folder, random))
            if scene.appends:
                _look_at_lines(step, folder / "events.jsonl", range(first, first + done), tally)
            _look(scene, folder, others, tally)
    return tally


def _moment(scene: Scene, folder: Path, random: np.random.Generator) -> Callable[[], None]:
    """Waits until it is time to kill."""
    begin_s, after_s = random.uniform(0, scene.longest_s), random.uniform(0, _AFTER_S)
    if random.uniform() >= scene.near:
        return lambda: time.sleep(begin_s)

    def near() -> None:
        time.sleep(min(begin_s, 1.0))
        last = time.monotonic() + scene.longest_s + 10
        while not _hidden(folder) and time.monotonic() < last:
            time.sleep(0.0002)
        time.sleep(after_s)

    return near


def _hidden(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


def _litter(folder: Path) -> list[str]:
    """What is hidden, but for files that were killed before they had the name that proves whose they are: nothing is in
    them yet, and nobody may remove them.
    """
    return [name for name in _hidden(folder) if not (_UNNAMED.fullmatch(name) and not (folder / name).stat().st_size)]


def _killed(step: Step, folder: Path, others: Path, first: int, *, wait: Callable[[], None]) -> int:
    """How many versions the child had written, from `first` on, when it was killed."""
    if sys.platform == "win32":
        raise UsageError("this campaign needs fork, which Windows lacks")
    with mmap.mmap(-1, mmap.PAGESIZE) as shared:
        child = os.fork()
        if child == 0:
            try:
                tempfile.tempdir = str(others)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                for count in range(1, _STRIDE):
                    step(folder, first + count - 1)
                    shared[:8] = count.to_bytes(8, "little")
            finally:
                os._exit(1)
        wait()
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            raise RuntimeError("the child ended before it was killed: its scene fails")
        return int.from_bytes(shared[:8], "little")


def _look_at_lines(step: Step, path: Path, written: range, tally: Tally) -> None:
    """Counts what the next run's first event doesn't mend, and which of the written events are missing; then begins a
    new file.
    """
    before = path.read_bytes() if path.exists() else b""
    torn = before.rpartition(b"\n")[2]
    step(path.parent, 0)
    if not (_are_lines(path) and path.read_bytes().endswith(b"\n")):
        tally.torn += 1
        path.unlink()
        return
    found = {json.loads(line)["number"] for line in path.read_bytes().splitlines()}
    tally.during += bool(torn) or written.stop in found
    tally.mended += bool(torn)
    tally.lost += len(set(written) - found)
    path.unlink()


def _look(scene: Scene, folder: Path, others: Path, tally: Tally) -> None:
    """Counts what is torn, then begins the next run and counts what litter it leaves."""
    tally.kills += 1
    hidden = _hidden(folder)
    tally.during += bool(hidden or any(others.iterdir()))
    tally.torn += sum(not scene.is_whole(path) for path in folder.iterdir() if path.name not in hidden)
    require_writable_folder(folder / "model.tflite")
    remove_stale(others)
    before, tempfile.tempdir = tempfile.tempdir, str(others)
    with temporary_folder():
        pass
    tempfile.tempdir = before
    tally.litter += len(_litter(folder)) + sum(1 for _ in others.iterdir())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the scenes; 1 when a file was torn, litter was left or an event was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m edge_effnet.benchmarks.fuzz.kills",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="of each scene (default 100)")
    parser.add_argument("--only", choices=SCENES, help="one scene")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--results", type=Path, metavar="FILE", help="JSON to write")
    arguments = parser.parse_args(argv)
    logging.getLogger("edge_effnet.live").setLevel(logging.ERROR)  # a mended line is what is looked for
    found = {}
    for name, scene in SCENES.items():
        if arguments.only in (None, name):
            found[name] = run_scene(scene, arguments.kills, seed=arguments.seed)
            print(f"{name:<15} {found[name]}", flush=True)
    if arguments.results:
        write_atomically(
            arguments.results,
            (json.dumps({name: tally.__dict__ for name, tally in found.items()}, indent=1) + "\n").encode(),
        )
    return 0 if all(tally.sound for tally in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
