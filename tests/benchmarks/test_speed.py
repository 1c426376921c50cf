"""The comparison's arithmetic, its files and its page; the peers themselves aren't here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")
pytest.importorskip("torch")

from support.golden import make_state

from edge_effnet.benching import workers
from edge_effnet.benching.workers import RUNS_A_TURN
from edge_effnet.benchmarks import speed, speed_measure, speed_peers, speed_subject
from edge_effnet.benchmarks.environments import PeerError
from edge_effnet.benchmarks.speed_measure import Task, summary
from edge_effnet.benchmarks.speed_peers import BASE, SUBJECTS, make_peer_files
from edge_effnet.benchmarks.speed_render import render

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "examples" / "photos"
MS = {"min": 4.0, "p50": 5.0, "p90": 6.0, "p99": 7.0}
MACHINE = {"cpu": "Some CPU", "cores": 2, "architecture": "x86_64", "features": ["avx2"], "python": "3.11.7"}


def times(*values: float) -> list[dict[str, float]]:
    return [{"inference": value} for value in values]


def test_ratios_are_taken_turn_by_turn() -> None:
    """The machine is twice as slow in the second turn; the ratio doesn't notice."""
    ours = times(*[4.0] * RUNS_A_TURN, *[8.0] * RUNS_A_TURN, *[4.0] * RUNS_A_TURN)
    theirs = times(*[8.0] * RUNS_A_TURN, *[16.0] * RUNS_A_TURN, *[8.0] * (RUNS_A_TURN - 1), 800.0)
    found = summary(theirs, ours)
    assert found["base_ratio"] == 0.5
    assert found["ms"]["p50"] == 8.0
    assert summary(ours, ours)["base_ratio"] == 1.0


def test_the_whole_call_counts_where_there_is_one() -> None:
    assert summary([{"inference": 1.0, "total": 3.0}], times(6.0)) == {
        "ms": dict.fromkeys(("min", "p50", "p90", "p99"), 3.0),
        "base_ratio": 2.0,
    }


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """With our files of a small network; the int8 ones are the float ones by another name, which their timing doesn't
    mind.
    """
    import torch

    from edge_effnet.exporters import export

    folder = tmp_path_factory.mktemp("work")
    state = {key: torch.from_numpy(values) for key, values in make_state("timm-tf", "lite0", classes=3).items()}
    torch.save(state, folder / "weights.pth")
    for name in ("ours-fp32.tflite", "ours-int8.tflite", "ours-int8.onnx", "float.onnx"):
        export(folder / "weights.pth", folder / name, source="timm-tf", image_size=32)
    return Task(folder / "weights.pth", "timm-tf", PHOTOS, 3, folder, folder / "venvs", None)


def test_the_arrays_are_what_the_networks_take(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str, _folder: Path, _venvs: Path) -> None:
        raise PeerError(f"no {name} here")

    monkeypatch.setattr(speed_measure, "make_peer_files", refused)
    said: list[str] = []
    failed = speed_measure.make_files(task, said.append)
    assert set(failed) == {subject.environment for subject in SUBJECTS.values() if subject.environment}
    with np.load(task.folder / "arrays.npz") as arrays:
        assert arrays["calibration"].shape == (3, 3, 32, 32)
        assert arrays["image"].shape == arrays["pixels"].shape == (1, 3, 32, 32)
        assert (arrays["calibration"].dtype, arrays["pixels"].dtype) == (np.float32, np.uint8)
        expected = (arrays["pixels"].astype(np.float64) / 255 - 0.5) / 0.5
        assert np.abs(arrays["image"] - expected).max() < 1e-6
    assert not any(line.startswith("exporting") for line in said)


def test_our_subjects_are_timed_and_missing_peers_told(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_measure, "make_peer_files", lambda *_: None)
    speed_measure.make_files(task, lambda _text: None)
    failed = {name: f"no {name} here" for name in speed_peers.ENVIRONMENTS}
    found = speed_measure.measure_inference(task, failed, runs=2, warmup=0)
    assert list(found) == list(SUBJECTS)
    for name, subject in SUBJECTS.items():
        if subject.environment is None:
            assert found[name]["ms"]["min"] > 0
            assert found[name]["versions"].startswith("edge-effnet ")
        else:
            assert found[name] == {"not_measured": f"no {subject.environment} here"}
    assert found[BASE]["base_ratio"] == 1.0


def test_our_subject_runs_the_file_it_is_told(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_measure, "make_peer_files", lambda *_: None)
    speed_measure.make_files(task, lambda _text: None)
    outputs = [
        np.asarray(speed_subject.open_subject({"folder": str(task.folder), "model": name})())
        for name in ("ours-fp32.tflite", "float.onnx")
    ]
    assert outputs[0].shape == (1, 3)
    assert np.allclose(outputs[0], outputs[1], atol=1e-4)


def test_peer_files_are_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[Any] = []
    monkeypatch.setattr(speed_peers, "prepare", lambda *_: Path("python"))
    monkeypatch.setattr(speed_peers, "run", lambda command, _what, **_: commands.append(command))
    for _ in range(2):
        make_peer_files("ncnn", tmp_path, tmp_path)
    (command,) = commands
    assert command[-2:] == ["make", str(tmp_path)]


def test_a_worker_is_kept_to_a_core(tmp_path: Path) -> None:
    if not hasattr(workers.os, "sched_getaffinity"):
        pytest.skip("no affinity here")
    program = tmp_path / "program.py"
    program.write_text(
        "import os\ndef open_subject(_):\n    class S:\n        def describe(self): return {'cores': "
        "sorted(os.sched_getaffinity(0))}\n    return S()\n"
    )
    core = max(workers.os.sched_getaffinity(0))
    with speed_peers.serving_worker("x", Path(sys.executable), program) as worker:
        worker.pin(core)
        assert worker.open({}) == {"cores": [core]}


def network(**changes: Any) -> dict[str, Any]:
    inference = {name: {"ms": MS, "base_ratio": 0.5, "versions": "some engine 1.0"} for name in SUBJECTS}
    inference["ncnn-fp32"] = {"not_measured": "installing ncnn failed: no wheel"}
    return {
        "variant": "b0",
        "image_size": 224,
        "calibration_images": 114,
        "runs": 50,
        "inference": inference,
        **changes,
    }


def test_the_page_has_every_figure() -> None:
    found = {
        "photo": "640×480",
        "ours": {"ms": MS, "base_ratio": 1.0},
        "mediapipe": {"ms": {**MS, "p50": 10.0}, "base_ratio": 0.47},
    }
    whole = {"small": found, "large": {**found, "photo": "4000×3000"}, "versions": "mediapipe 1.2.2"}
    start = {"ours_s": 0.31, "mediapipe_s": 1.9, "ratio": 0.16, "runs": 5}
    speed_results = {"machine": MACHINE, "networks": {"B0": network(end_to_end=whole, start=start)}}
    counts = {"pi4": {"bundled": {"decode": 41_000_000}}, "pi5": {"bundled": {"decode": 40_000_000}}}
    arm = {
        "counts": counts,
        "models": {"B0 int8": {"size_bytes": 4_900_000, "engine": "LiteRT 2", "pi4": 156_800_000, "pi5": 79_000_000}},
    }
    page = render(
        speed_results, arm, {"rows": [{"name": "12 MP JPEG", "ours_ms": 54.0, "plain_ms": 244.0, "ratio": 0.22}]}
    )
    for text in (
        "| **edge-effnet int8 `.tflite`**, LiteRT | 4.00 | 5.00 | 6.00 | 1 |",
        "| nncf int8, OpenVINO | 4.00 | 5.00 | 6.00 | 0.50 |",
        "- pnnx fp32, ncnn: installing ncnn failed: no wheel",
        "| B0 int8, JPEG of 4000×3000, file to labels | 5.0 ms | 10.0 ms | 0.47 |",
        "| B0 int8, process start to labels | 0.31 s | 1.90 s | 0.16 |",
        "| 12 MP JPEG | 54.00 | 244.00 | 0.22 |",
        "| B0 int8 | 4.9 MB | 156.8 | 79.0 | LiteRT 2 |",
        "| bundled | decode | 41.0 | 40.0 |",
        "- some engine 1.0\n- mediapipe 1.2.2",
        "Some CPU, 2 cores",
    ):
        assert text in page


def test_the_page_without_results_still_says_how() -> None:
    page = render({}, {"counts": {}}, None)
    assert "edge-effnet bench --format json > bench.json" in page
    assert "From photo to tensor" not in page
    assert "From photo to labels" not in page


def test_the_stored_page_is_the_stored_results() -> None:
    results = ROOT / "benchmarks" / "results"
    read = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in results.glob("*.json")}
    assert (ROOT / "docs" / "performance.md").read_text(encoding="utf-8") == render(
        read["speed"], read["arm"], read.get("photo_path"), throughput=read.get("throughput")
    )


def test_the_stored_results_name_no_place() -> None:
    stored = json.loads((ROOT / "benchmarks" / "results" / "speed.json").read_text(encoding="utf-8"))
    assert not set(stored["machine"]) & {"system", "model"}
    assert "/" not in json.dumps([network["inference"] for network in stored["networks"].values()])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "expected --checkpoint FILE with --calibration DIR, or --render"),
        (("--checkpoint", "b0.pth"), "--calibration DIR"),
        (("--checkpoint", "b0.pth", "--calibration", ".", "--results", "missing/speed.json"), "does not exist"),
    ],
)
def test_what_cannot_be_compared(words: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert speed.main(words) == 2
    assert text in capsys.readouterr().err
