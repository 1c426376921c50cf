"""The benchmark of the ways of resizing runs each of them, and says how each compares with Pillow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_effnet.benchmarks.resizers import PILLOW, main, measure, render
from edge_effnet.taps import AXES


def test_every_way_has_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--frame", "40x30", "--result", "20X15", "--runs", "2", "-o", str(tmp_path / "r.json")]) == 0
    printed, found = capsys.readouterr().out, json.loads((tmp_path / "r.json").read_text())
    ways = [PILLOW, *(f"{resizer} {kind}" for resizer, kinds in AXES.items() for kind in kinds)]
    assert list(found["ms"]) == ways
    assert [line.split("  ")[0] for line in printed.splitlines()[1:]] == ways
    assert (found["frame"], found["result"], found["runs"]) == ([40, 30], [20, 15], 2)


def test_the_table_compares_with_pillow() -> None:
    found = {**measure((8, 8), (4, 4), runs=1), "ms": {PILLOW: 2.0, "torch bicubic": 3.0}}
    assert render(found).splitlines()[-1].split() == ["torch", "bicubic", "3.00", "1.50"]
