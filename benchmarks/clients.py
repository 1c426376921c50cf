"""Do other makers' clients read our files as we do? `python -m edge_effnet.benchmarks.clients PHOTO… --model FILE`.

Each client runs in an environment of its own, made with pip when it's first needed. It gets every photo twice: as the
square that `Preprocessing.pixels` makes (PNG, so that nothing but the network differs) and whole, prepared its own way.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edge_effnet.classifier import BUNDLED_MODEL, Classifier
from edge_effnet.errors import EdgeEffnetError
from edge_effnet.preprocessing import decode
from edge_effnet.version import __version__

_SCRIPTS = Path(__file__).with_name("peers")
_TOP_K = 5
#: Logits nearer to each other than this may change places: the clients bring kernels of their own.
_TIE = 0.1
_MESSAGE_LENGTH = 300


@dataclass(frozen=True)
class Client:
    """A program that opens `.tflite` files by their official metadata."""

    title: str
    script: str
    requirements: tuple[str, ...]


#: Versions as measured. tflite-support also needs Debian's libusb-1.0-0 and libportaudio2, and a Python up to 3.11.
CLIENTS: Mapping[str, Client] = MappingProxyType(
    {
        "mediapipe": Client("MediaPipe Tasks", "classify_mediapipe.py", ("mediapipe==1.2.2",)),
        "tflite-support": Client("TFLite Task library", "classify_tflite_support.py", ("tflite-support==0.4.4",)),
    }
)


class ClientError(EdgeEffnetError, RuntimeError):
    """A client can't be installed, or refuses the file."""


@dataclass(frozen=True)
class Comparison:
    """One photo: (label, logit) of ours, the client's on the same square, and the client's on the whole photo."""

    photo: str
    ours: list[tuple[str, float]]
    square: list[tuple[str, float]]
    whole: list[tuple[str, float]]

    @property
    def agrees(self) -> bool:
        """The same best label, and the same order of all classes that both name and whose logits aren't next to equal."""
        return bool(self.square) and self.ours[0][0] == self.square[0][0] and _same_order(dict(self.ours), self.square)


def _same_order(ours: Mapping[str, float], theirs: Sequence[tuple[str, float]]) -> bool:
    named = [ours[label] for label, _ in theirs if label in ours]
    return all(first > second - _TIE for first, second in pairwise(named))


def prepare(name: str, folder: Path) -> Path:
    """The Python of the client's environment below `folder`, made when it isn't there. Raises ClientError."""
    home = folder / name
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = home / "ready"
    if not ready.exists():
        venv.create(home, with_pip=True)
        _run([str(python), "-m", "pip", "install", "--quiet", *CLIENTS[name].requirements], f"installing {CLIENTS[name].title}")
        ready.touch()
    return python


def compare(name: str, python: Path, model: Path, photos: Sequence[Path]) -> list[Comparison]:
    """What the client and we say of each photo. Raises ClientError, or what Classifier raises."""
    with tempfile.TemporaryDirectory() as text, Classifier(model) as classifier:
        folder, top_k = Path(text), min(_TOP_K, classifier.num_classes)
        ours, squares, wholes = [], [], []
        for number, photo in enumerate(photos):
            logits = classifier.logits(photo)
            names = classifier.labels or [str(index) for index in range(classifier.num_classes)]
            ours.append([(names[index], float(logits[index])) for index in np.argsort(-logits, kind="stable")[:top_k]])
            squares.append(_as_png(classifier.preprocessing.pixels(decode(photo)), folder / f"{number}-square.png"))
            wholes.append(_as_png(np.asarray(decode(photo)), folder / f"{number}-whole.png"))
        answers = _ask(name, python, model, [*squares, *wholes], folder=folder, top_k=top_k)
    count = len(photos)
    return [Comparison(photo.name, *row) for photo, *row in zip(photos, ours, answers[:count], answers[count:], strict=True)]


def _as_png(pixels: np.ndarray[Any, Any], path: Path) -> str:
    from PIL import Image

    Image.fromarray(pixels).save(path)
    return str(path)


def _ask(name: str, python: Path, model: Path, files: list[str], *, folder: Path, top_k: int) -> list[list[tuple[str, float]]]:
    request, result = folder / "request.json", folder / "result.json"
    request.write_text(json.dumps({"files": files, "top_k": top_k}), encoding="utf-8")
    _run([str(python), "-I", str(_SCRIPTS / CLIENTS[name].script), str(model.resolve()), str(request), str(result)], CLIENTS[name].title)
    rows = json.loads(result.read_text(encoding="utf-8"))
    return [[(label or str(index), score) for index, label, score in row] for row in rows]


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or [f"status {done.returncode}, no message"]
        raise ClientError(f"{what} failed: {lines[-1][:_MESSAGE_LENGTH]}")


def _show(found: Sequence[tuple[str, float]]) -> str:
    return " · ".join(f"{label} {logit:.2f}" for label, logit in found)


def _print(comparisons: Sequence[Comparison]) -> None:
    for comparison in comparisons:
        print(f"{comparison.photo}  {'agrees' if comparison.agrees else 'DIFFERS'}")
        print(f"  ours           {_show(comparison.ours)}")
        print(f"  same square    {_show(comparison.square)}")
        print(f"  whole photo    {_show(comparison.whole)}")


def _report(name: str, environments: Path, model: Path, photos: Sequence[Path]) -> bool:
    """Prints one client's answers; whether all agree."""
    print(f"{CLIENTS[name].title} ({', '.join(CLIENTS[name].requirements)}), {model.name}, edge-effnet {__version__}; logits")
    try:
        comparisons = compare(name, prepare(name, environments), model, photos)
    except ClientError as error:
        print(f"  {error}")
        return False
    _print(comparisons)
    agreeing = sum(comparison.agrees for comparison in comparisons)
    print(f"{agreeing} of {len(comparisons)} photos: the same best label and the same order")
    return agreeing == len(comparisons)


def main(words: Sequence[str] | None = None) -> int:
    """1 when a client differs or can't be run."""
    parser = argparse.ArgumentParser(prog="python -m edge_effnet.benchmarks.clients", description="Compare other makers' clients with ours.")
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL, metavar="FILE", help="a .tflite file (default: the bundled one)")
    parser.add_argument("--client", action="append", choices=tuple(CLIENTS), help="repeatable; default: mediapipe")
    parser.add_argument("--environments", type=Path, default=Path("client-environments"), metavar="DIR", help="where the clients are installed")
    arguments = parser.parse_args(words)
    try:
        agree = [_report(name, arguments.environments.resolve(), arguments.model, arguments.photos) for name in arguments.client or ["mediapipe"]]
    except EdgeEffnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if all(agree) else 1


if __name__ == "__main__":
    sys.exit(main())
