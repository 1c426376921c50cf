"""Is a board's answer the one of this machine, and does it cost what it cost before?"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.benchmarks.arm.counting import count_model, count_photos, guest_logits
from edge_effnet.benchmarks.arm.emulator import Guest
from edge_effnet.benchmarks.arm.integer_part import integer_part
from edge_effnet.benchmarks.arm.made_up import made_up_b0
from edge_effnet.classifier import BUNDLED_MODEL, Classifier

#: The names under which counts are stored.
BUNDLED, MADE_UP = "bundled Lite0 int8", "B0 int8, made-up weights"
#: The float32 classifier behind the integers: processors sum in different orders.
_FLOAT_TOLERANCE = 1e-5
_TOP = 5
#: File name, labels here and labels there, best first.
Compared: TypeAlias = tuple[str, list[str], list[str]]
_PACKAGES = ("ai-edge-litert", "numpy", "pillow")


@dataclass(frozen=True)
class Answers:
    """What a machine finds. labels: of `predict`, best first; logits, integers: float32 vectors; all by photo's
    name.
    """

    labels: Mapping[str, Sequence[str]]
    logits: Mapping[str, npt.NDArray[np.float32]]
    integers: Mapping[str, npt.NDArray[np.float32]]


def measure(guests: Sequence[Guest], photos: Sequence[Path]) -> tuple[dict[str, dict[str, dict[str, int]]], list[str]]:
    """Board → program → region → instructions, and the ways in which a board's answers aren't this machine's.

    guests: one a board, all of one architecture.
    """
    count_photos(guests[0], photos[:1])  # not kept: Python writes its byte code, which all later runs read
    counts, problems = {}, []
    with tempfile.TemporaryDirectory() as text, ThreadPoolExecutor(len(guests)) as pool:
        network, cut = Path(text) / "b0.tflite", Path(text) / "integers.tflite"
        network.write_bytes(made_up_b0(photos))
        cut.write_bytes(integer_part(BUNDLED_MODEL.read_bytes()))
        here = own_answers(cut, photos)
        found = pool.map(
            lambda guest: (_counts(guest, network, photos), differing(here, board_answers(guest, cut, photos))), guests
        )
        for guest, (programs, differences) in zip(guests, found, strict=True):
            counts[guest.board] = programs
            problems += [f"{guest.board}: {text}" for text in differences]
    return counts, problems


def _counts(guest: Guest, network: Path, photos: Sequence[Path]) -> dict[str, dict[str, int]]:
    return {
        BUNDLED: dict(count_photos(guest, photos).regions),
        MADE_UP: {"inference": count_model(guest, network).inference},
    }


def predictions(guest: Guest, photos: Sequence[Path], *options: str) -> dict[str, list[str]]:
    """File name → labels, best first, by `edge-effnet predict` on the board."""
    printed = guest.python(
        "-m", "edge_effnet", "predict", *(photo.resolve() for photo in photos), "--format", "json", *options
    )
    return {
        Path(entry["source"]).name: [found["label"] for found in entry["predictions"]] for entry in json.loads(printed)
    }


def board_answers(guest: Guest, cut: Path, photos: Sequence[Path]) -> Answers:
    """The bundled model's answers on the board. cut: `integer_part` of it."""
    logits, integers = (guest_logits(guest, model, photos) for model in (guest.bundled_model, cut))
    return Answers(predictions(guest, photos), logits, integers)


def own_answers(cut: Path, photos: Sequence[Path]) -> Answers:
    """The bundled model's answers on this machine."""
    with Classifier(threads=1) as classifier, Classifier(cut, threads=1) as shortened:
        labels = {photo.name: [found.label for found in classifier.predict(photo, top_k=_TOP)] for photo in photos}
        logits, integers = (
            {photo.name: opened.logits(photo) for photo in photos} for opened in (classifier, shortened)
        )
    return Answers(labels, logits, integers)


def differing(here: Answers, there: Answers) -> list[str]:
    """One line for each photo and way in which the answers differ; integers must be equal to the bit."""
    problems = []
    for name in here.labels:
        if list(there.labels[name]) != list(here.labels[name]):
            problems.append(
                f"{name}: predict gives {', '.join(there.labels[name])}; here {', '.join(here.labels[name])}"
            )
        if not np.array_equal(there.integers[name], here.integers[name]):
            different = np.mean(there.integers[name] != here.integers[name])
            problems.append(
                f"{name}: {100 * different:.1f} % of the last int8 values differ; expected equal bits ({_versions()} "
                "here)"
            )
        error = float(np.abs(there.logits[name] - here.logits[name]).max() / np.abs(here.logits[name]).max())
        if error > _FLOAT_TOLERANCE:
            problems.append(
                f"{name}: logits differ by {error:.1e} of the largest; expected at most {_FLOAT_TOLERANCE:g}"
            )
    return problems


def compare_predictions(guest: Guest, photos: Sequence[Path], *, model: Path | None, engine: str) -> list[Compared]:
    """(file name, labels here, labels there) of `predict`. engine: the board's; here it's the one that fits the
    file.
    """
    there = predictions(
        guest, photos, "--engine", engine, *(["--model", str(model.resolve()), "--probe", "never"] if model else [])
    )
    return [(photo.name, labels, there[photo.name]) for photo, labels in labels_here(photos, model)]


def labels_here(photos: Sequence[Path], model: Path | None) -> list[tuple[Path, list[str]]]:
    """Each photo and its labels on this machine, best first. model: None for the bundled one."""
    with Classifier(model, probe="never") as classifier:
        return [(photo, [found.label for found in classifier.predict(photo, top_k=_TOP)]) for photo in photos]


def _versions() -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
