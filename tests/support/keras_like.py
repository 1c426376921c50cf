"""The quarter-wide B0 of `support.networks` as a `.keras` file."""

from __future__ import annotations

from pathlib import Path

from edge_effnet.benchmarks.fuzz.keras_files import efficientnet, keras_archive
from support.golden import State
from support.networks import EPS, NARROW, SIZE


def write_keras(state: State, path: Path) -> Path:
    """What takes pixels in 0..255, normalises them inside and gives probabilities."""
    path.write_bytes(keras_archive(efficientnet(NARROW["b0"], state, SIZE, bn_eps=EPS["b0"])))
    return path
