"""Do other makers' clients read our files as we do? `python -m edge_effnet.benchmarks.clients PHOTO… --model FILE`.

Each client runs in an environment of its own. It gets every photo twice: as the
square that `Preprocessing.pixels` makes (PNG, so that nothing but the network differs) and whole, prepared its own way.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edge_effnet.benchmarks.environments import Environment, PeerError, prepare, run
from edge_effnet.classifier import BUNDLED_MODEL, Classifier
from edge_effnet.errors import EdgeEffnetError
from edge_effnet.preprocessing import decode
from edge_effnet.version import __version__

_TOP_K = 5
#: Logits nearer to each other than this may change places: the clients bring kernels of their own.
_TIE = 0.1


#: Versions as measured. tflite-support also needs Debian's libusb-1.0-0 and libportaudio2, and a Python up to 3.11.
CLIENTS: Mapping[str, Environment] = MappingProxyType(
    {
        "mediapipe": Environment("mediapipe", "classify_mediapipe.py", ("mediapipe==1.2.2",)),
        "tflite-support": Environment("tflite-support", "classify_tflite_support.py", ("tflite-support==0.4.4",)),
    }
)


@dataclass(frozen=True)
class Comparison:
    """One photo: (label, logit) of ours, the client's on the same square, and the client's on the whole photo."""

    photo: str
    ours: list[tuple[str, float]]
    square: list[tuple[str, float]]
    whole: list[tuple[str, float]]

    @property
    def agrees(self) -> bool:
        """The same best label, and the same order of all classes that both name and whose logits aren't next to
        equal.
        """
        return bool(self.square) and self.ours[0][0] == self.square[0][0] and _same_order(dict(self.ours), self.square)


def _same_order(ours: Mapping[str, float], theirs: Sequence[tuple[str, float]]) -> bool:
    named = [ours[label] for label, _ in theirs if label in ours]
    return all(first > second - _TIE for first, second in pairwise(named))


def compare(name: str, python: Path, model: Path, photos: Sequence[Path]) -> list[Comparison]:
    """What the client and we say of each photo. Raises PeerError, or what Classifier raises."""
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
    return [
        Comparison(photo.name, *row) for photo, *row in zip(photos, ours, answers[:count], answers[count:], strict=True)
    ]


def _as_png(pixels: np.ndarray[Any, Any], path: Path) -> str:
    from PIL import Image

    Image.fromarray(pixels).save(path)
    return str(path)


def _ask(
    name: str, python: Path, model: Path, files: list[str], *, folder: Path, top_k: int
) -> list[list[tuple[str, float]]]:
    request, result = folder / "request.json", folder / "result.json"
    request.write_text(json.dumps({"files": files, "top_k": top_k}), encoding="utf-8")
    client = CLIENTS[name]
    run([str(python), "-I", str(client.program), str(model.resolve()), str(request), str(result)], client.title)
    rows = json.loads(result.read_text(encoding="utf-8"))
    return [[(label or str(index), score) for index, label, score in row] for row in rows]


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
    print(f"{', '.join(CLIENTS[name].requirements)}, {model.name}, edge-effnet {__version__}; logits")
    try:
        comparisons = compare(name, prepare(name, CLIENTS[name], environments), model, photos)
    except PeerError as error:
        print(f"  {error}")
        return False
    _print(comparisons)
    agreeing = sum(comparison.agrees for comparison in comparisons)
    print(f"{agreeing} of {len(comparisons)} photos: the same best label and the same order")
    return agreeing == len(comparisons)


def main(words: Sequence[str] | None = None) -> int:
    """1 when a client differs or can't be run."""
    parser = argparse.ArgumentParser(
        prog="python -m edge_effnet.benchmarks.clients", description="Compare other makers' clients with ours."
    )
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    parser.add_argument(
        "--model", type=Path, default=BUNDLED_MODEL, metavar="FILE", help="a .tflite file (default: the bundled one)"
    )
    parser.add_argument("--client", action="append", choices=tuple(CLIENTS), help="repeatable; default: mediapipe")
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path("client-environments"),
        metavar="DIR",
        help="where the clients are installed",
    )
    arguments = parser.parse_args(words)
    try:
        agree = [
            _report(name, arguments.environments.resolve(), arguments.model, arguments.photos)
            for name in arguments.client or ["mediapipe"]
        ]
    except EdgeEffnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if all(agree) else 1


if __name__ == "__main__":
    sys.exit(main())
