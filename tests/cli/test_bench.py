"""`edge-effnet bench`, with the bundled model and with files of other makers; what a real run prints, not how fast it
is.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from support import foreign

from edge_effnet import machine
from edge_effnet.benching import plot as plotting
from edge_effnet.benching.rows import STAGES
from edge_effnet.classifier import BUNDLED_MODEL

from .conftest import PHOTOS, Run, is_one_error

pytestmark = pytest.mark.litert

#: The contract's keys of a row.
KEYS = {"model", "engine", "threads", "workers", "photos_per_s", "runs", "load_ms", "peak_rss_mb", "machine"}
KEYS |= {f"{stage}_ms" for stage in STAGES}


def test_one_row_per_model_engine_and_thread_count(run: Run) -> None:
    done = run(
        "bench",
        BUNDLED_MODEL,
        "--threads",
        "1,2",
        "--runs",
        "6",
        "--warmup",
        "1",
        "--engine",
        "litert,numpy",
        "--image",
        PHOTOS / "chelsea.jpg",
    )
    rows = json.loads(done.out)
    assert [(row["engine"], row["threads"]) for row in rows] == [
        ("litert", 1),
        ("litert", 2),
        ("numpy", 1),
        ("numpy", 2),
    ]
    for row in rows:
        assert set(row) >= KEYS
        assert (row["model"], row["runs"], row["image"]) == (str(BUNDLED_MODEL), 6, "chelsea.jpg, 451×300")
        for stage in STAGES:
            found = row[f"{stage}_ms"]
            assert 0 < found["min"] <= found["p50"] <= found["p90"] <= found["p99"]
        assert row["total_ms"]["min"] > row["inference_ms"]["min"]
        assert row["load_ms"] > 0
        assert 10 < row["peak_rss_mb"] < 1000
        assert set(row["machine"]) >= set(machine.machine_facts())
        assert row["size_bytes"] == BUNDLED_MODEL.stat().st_size
    assert rows[0]["engine_version"].split()[0] in ("ai-edge-litert", "tflite-runtime")
    assert done.status == 0


def test_the_table_and_the_photo_made_up(run: Run) -> None:
    done = run("bench", "--threads", "1", "--runs", "2", "--warmup", "0", "--format", "text")
    lines = done.out.splitlines()
    assert "made up, 640×480 JPEG" in lines[0]
    assert lines[1].startswith("2 runs by turns")
    assert lines[2].split() == [
        "model",
        "engine",
        "threads",
        "workers",
        *STAGES,
        "photos/s",
        "load",
        "ms",
        "peak",
        "MB",
    ]
    assert lines[3].split()[:3] == ["lite0-int8.tflite", "litert", "1"]
    assert len(lines) == 4


def test_workers(run: Run) -> None:
    """One worker has every thread count; several have one thread each, and time for as many photos in each run."""
    words = ("--threads", "1,2", "--workers", "1,3", "--runs", "3", "--warmup", "0", "--format", "json")
    rows = json.loads(run("bench", *words).out)
    assert [(row["threads"], row["workers"]) for row in rows] == [(1, 1), (2, 1), (1, 3)]
    assert [row["runs"] for row in rows] == [3, 3, 3]
    for row in rows:
        assert row["photos_per_s"] > 0
    alone = rows[0]
    assert alone["photos_per_s"] <= 1000 / alone["total_ms"]["min"]
    assert run("bench", "--workers", "0").status == 2


@pytest.mark.torch
def test_a_plot_names_every_row(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "out.svg"
    assert run("bench", "--threads", "1,2", "--runs", "1", "--warmup", "0", "--plot", path).status == 0
    text = "".join(ElementTree.fromstring(path.read_text(encoding="utf-8")).itertext())
    assert "lite0-int8.tflite, litert, 1 thread:" in text
    assert "lite0-int8.tflite, litert, 2 threads:" in text
    assert "file size, MB" in text


def row(top1: float | None) -> dict[str, Any]:
    return {
        "model": "a.tflite", "engine": "litert", "threads": 1, "workers": 1, "size_bytes": 5_000_000,
        "inference_ms": {"p50": 5.0, "p90": 6.0}, "accuracy": None if top1 is None else {"top1": top1},
    }  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize(
    ("accuracies", "title"), [((0.7, 0.9), "top-1 recorded in the file, %"), ((0.7, None), "file size, MB")]
)
def test_a_plot_goes_up_by_accuracy_where_every_file_records_one(
    accuracies: tuple[float | None, ...], title: str
) -> None:
    pytest.importorskip("matplotlib")
    rows = [row(value) for value in accuracies]
    drawn = plotting.plot(rows)
    assert title in "".join(ElementTree.fromstring(drawn.decode()).itertext())
    assert drawn == plotting.plot(rows)


def test_a_plot_without_matplotlib_is_refused_before_measuring(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert is_one_error(run("bench", "--plot", tmp_path / "out.svg"), "pip install 'edge-effnet[export]'")


def test_files_of_other_makers(run: Run, tmp_path: Path) -> None:
    model = foreign.tflite(tmp_path / "other.tflite")
    size = foreign.SIZE
    done = run("bench", model, "--image-size", size, "--threads", "1", "--runs", "2", "--warmup", "0")
    (found,) = json.loads(done.out)
    assert (found["variant"], found["precision"], found["accuracy"]) == (None, None, None)
    assert is_one_error(run("bench", model, "--threads", "1", "--runs", "1"), "made by another tool")


@pytest.mark.onnx
def test_each_file_gets_the_engines_that_run_it(run: Run, tmp_path: Path) -> None:
    other = foreign.onnx(tmp_path / "other.onnx")
    words = ("--image-size", foreign.SIZE, "--threads", "1", "--runs", "1", "--warmup", "0")
    done = run("bench", foreign.tflite(tmp_path / "other.tflite"), other, "--engine", "litert,onnxruntime", *words)
    assert [found["engine"] for found in json.loads(done.out)] == ["litert", "onnxruntime"]
    assert is_one_error(
        run("bench", other, "--engine", "litert,numpy", *words),
        "none of the engines litert, numpy runs .onnx files; expected onnxruntime",
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("missing.tflite",), "missing.tflite"),
        (("--image", "missing.jpg"), "missing.jpg: no such file"),
        (("--threads", "1,x"), "'x' is not a whole number of at least 1"),
        (("--threads", "0"), "'0' is not a whole number of at least 1"),
        (("--runs", "0"), "'0' is not a whole number of at least 1"),
        (("--warmup", "-1"), "'-1' is not a whole number of at least 0"),
        (("--engine", "litert,tensorrt"), "'tensorrt' is unknown; expected auto, litert, onnxruntime, numpy"),
        (("--plot", "out.png"), "expected a name ending in .svg"),
        (("--plot", "missing-folder/out.svg"), "does not exist"),
    ],
)
def test_what_cannot_be_measured(run: Run, words: tuple[str, ...], text: str) -> None:
    assert is_one_error(run("bench", *words), text)


def test_a_governor_that_saves_power_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = machine._text
    monkeypatch.setattr(machine, "_text", lambda path: "powersave" if path.endswith("scaling_governor") else real(path))
    done = run("bench", "--threads", "1", "--runs", "1", "--warmup", "0")
    assert "edge-effnet: the CPU governor is powersave" in done.err
    (found,) = json.loads(done.out)
    assert found["machine"]["governor"] == "powersave"
    assert any("powersave" in warning for warning in found["warnings"])
