"""The chapter of docs/accuracy.md on where the error comes from, from benchmarks/results/noise.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edge_effnet.benchmarks.tables import table

_TEXT = """## Where the error comes from

By `python -m edge_effnet.benchmarks.noise`, of the files that `--quick` makes; SQNR in dB. *expected* is what the recipe
goes by; *simulated*, the int8 network computed in float with every tensor rounded; *in LiteRT*, the file, on the new
photos. *without the mean*: the part of the error that is the same on all photos taken off. *median photo*: half of the
photos have a smaller error. *worst three*: the share of the error that three photos make.
"""
_TENSORS = """
The tensors from which the recipe expects most, each rounded alone, everything else in float: expected, and found on
photos calibrated on and on new ones.
"""
#: Tensors that are listed of each network.
_LISTED = 6


def error_sources(found: Mapping[str, Any]) -> Iterator[str]:
    """The chapter; nothing without a study. found: name of the network → its study."""
    if not found:
        return
    yield _TEXT
    header = ["network", "expected", "simulated, calibrated on", "simulated, new", "in LiteRT", "without the mean"]
    yield table([*header, "median photo", "worst three"], [_row(name, study) for name, study in found.items()])
    yield _TENSORS
    yield table(["network", "tensor", "expected", "calibrated on", "new"], list(_tensors(found)))


def _row(name: str, study: Mapping[str, Any]) -> list[str]:
    simulated, engine = study["simulated"], study["litert"]
    decibels = [study["expected_db"], *(simulated[photos]["db"] for photos in ("calibrated", "new"))]
    decibels += [engine[key] for key in ("db", "without_mean_db", "median_db")]
    return [name, *(f"{value:.1f}" for value in decibels), f"{100 * engine['worst']:.0f} %"]


def _tensors(found: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, study in found.items():
        for row in study["tensors"][:_LISTED]:
            decibels = (f"{row[key]:.1f}" for key in ("expected_db", "calibrated", "new"))
            yield [name, f"`{row['tensor']}`", *decibels]
