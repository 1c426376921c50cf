"""Does a board learn what this machine learns?"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from edge_effnet.benchmarks.arm.check import Compared, labels_here, predictions
from edge_effnet.benchmarks.arm.emulator import Guest
from edge_effnet.learning import learn


def compare_learning(guest: Guest, folder: Path, new: Sequence[Path], *, engine: str) -> list[Compared]:
    """(file name, labels here, labels there) of new photos, by what each machine learned from the folder itself.

    engine: the board's, for features as for predictions; here it's the one that fits the file. Nothing is taken from a
    cache, nor left in one of the user's.
    """
    with tempfile.TemporaryDirectory() as text:
        there, here, kept = (Path(text) / name for name in ("there.tflite", "here.tflite", "cache"))
        options = ("--engine", engine)
        guest.python("-m", "edge_effnet", "learn", folder.resolve(), "-o", there, "--cache", kept / "there", *options)
        learn(folder, here, cache=kept / "here")
        found = predictions(guest, new, "--model", str(there), "--probe", "never", *options)
        return [(photo.name, labels, found[photo.name]) for photo, labels in labels_here(new, here)]
