"""Made-up graphs and pickles: the same for a number, judged in a process of their own."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_effnet.benchmarks.fuzz import graphs, inputs
from edge_effnet.benchmarks.fuzz.inputs import INPUTS, damaged, read

pytestmark = [
    pytest.mark.litert,
    pytest.mark.onnx,
    pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc"),
]


TORCH = ("input-archive", "input-legacy")


@pytest.mark.parametrize("kind", INPUTS)
def test_the_inputs_are_read_before_they_are_damaged(kind: str) -> None:
    if kind in TORCH:
        pytest.importorskip("torch")
    files = [seed.data for seed in inputs.sound(kind)]
    for data in files:
        read(kind, data)
    assert damaged(kind, np.random.default_rng(1)) not in files


@pytest.mark.parametrize("kind", graphs.KINDS)
def test_a_short_campaign_finds_nothing(kind: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    if kind in TORCH:
        pytest.importorskip("torch")
    number = "3" if kind in INPUTS else "60"
    assert graphs.main(["--only", kind, "--number", number, "--results", str(tmp_path / "r.json")]) == 0
    assert '"findings": []' in capsys.readouterr().out
    assert graphs.made(kind, 7) == graphs.made(kind, 7) != graphs.made(kind, 8)


def test_the_rows_of_other_kinds_stay(tmp_path: Path) -> None:
    results = tmp_path / "r.json"
    results.write_text(json.dumps([{"kind": "pickle", "files": 1}, {"kind": "onnx", "files": 9}]))
    for count in ("2", "3"):
        assert graphs.main(["--only", "pickle", "--number", count, "--results", str(results)]) == 0
    assert [(row["kind"], row["files"]) for row in json.loads(results.read_text())] == [("pickle", 3), ("onnx", 9)]


def test_a_loop_is_ended_by_what_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the clock: on a busy machine a sound file takes minutes."""

    def loop(data: bytes) -> None:
        while data == b"\x00":
            pass

    monkeypatch.setitem(graphs.KINDS, "test", (lambda _random: b"", loop))
    monkeypatch.setattr(graphs, "made", lambda _kind, number, **_: bytes([number]))
    monkeypatch.setattr(graphs, "HANG_CPU_S", 1)
    found = [(result, detail) for _, result, detail, _ in graphs.outcomes("test", range(2), campaign=0)]
    assert found == [("hang", "SIGXCPU"), ("ran", "")]


def test_making_one_again(tmp_path: Path) -> None:
    assert graphs.main(["--remake", "pickle/3", "-o", str(tmp_path / "p")]) == 0
    assert (tmp_path / "p").read_bytes() == graphs.made("pickle", 3)
    assert graphs.main(["--remake", "other/3"]) == 2


def test_what_becomes_of_a_process_that_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal is a crash, an error that isn't ours unexpected, silence a hang; the next file gets a new process."""
    acts = {
        b"\x00": lambda: os.kill(os.getpid(), signal.SIGTERM),
        b"\x01": lambda: 1 / 0,
        b"\x02": lambda: os.read(os.pipe()[0], 1),
    }

    def act(data: bytes) -> None:
        if data in acts:
            acts[data]()

    monkeypatch.setitem(graphs.KINDS, "test", (lambda _random: b"", act))
    monkeypatch.setattr(graphs, "made", lambda _kind, number, **_: bytes([number]))
    monkeypatch.setattr(graphs, "HANG_S", 1.0)
    found = [(result, detail) for _, result, detail, _ in graphs.outcomes("test", range(4), campaign=0)]
    assert found == [
        ("crash", "SIGTERM"),
        ("unexpected", "ZeroDivisionError: division by zero"),
        ("hang", "SIGKILL"),
        ("ran", ""),
    ]
