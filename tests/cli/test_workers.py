"""--workers changes how long many photos take, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.photos import synthetic_photo

from .conftest import PHOTOS, Run

Exported = dict[tuple[str, str], Path]
pytestmark = pytest.mark.litert


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of several sizes, broken ones between, some of the same name, in folders that are classes."""
    folder = tmp_path_factory.mktemp("album")
    for number in range(18):
        place = folder / ("cat", "dog", "Köln")[number % 3]
        place.mkdir(exist_ok=True)
        synthetic_photo(number, 60 + 90 * (number % 4), 70).save(place / f"{number // 3}.png")
    (folder / "cat" / "2.jpg").write_bytes(b"broken")
    (folder / "dog" / "0.jpg").write_bytes((PHOTOS / "coffee.jpg").read_bytes()[:20_000])
    return folder


def without_times(found: Any) -> Any:
    if isinstance(found, list):
        return [without_times(one) for one in found]
    if isinstance(found, dict):
        return {key: without_times(value) for key, value in found.items() if not key.endswith("_ms")}
    return found


@pytest.mark.parametrize("output", ["text", "json", "jsonl", "csv"])
def test_predict_prints_the_same(run: Run, exported: Exported, album: Path, output: str, tmp_path: Path) -> None:
    found = []
    for workers in (1, 2, 7):
        copies = tmp_path / str(workers)
        words = ("--model", exported["int8", "tflite"], "--format", output, "--save", copies)
        outcome = run("predict", album, *words, "--workers", workers)
        out: Any = outcome.out
        if output == "json":
            out = without_times(json.loads(out))
        elif output == "jsonl":
            out = [without_times(json.loads(line)) for line in out.splitlines()]
        saved = {path.name: path.read_bytes() for path in copies.iterdir()}
        found.append((outcome.status, out, outcome.err, saved))
    assert found[0] == found[1] == found[2]
    assert found[0][0] == 2
    assert found[0][2].count("edge-effnet: error: ") == (0 if output == "text" else 2)
    assert len(found[0][3]) == 18


@pytest.mark.parametrize("ending", ["tflite", pytest.param("onnx", marks=pytest.mark.onnx)])
def test_eval_and_compare_count_the_same(
    run: Run, exported: Exported, album: Path, ending: str, tmp_path: Path
) -> None:
    found = []
    for workers in (1, 2, 7):
        model = tmp_path / f"{workers}.{ending}"
        shutil.copy(exported["int8", ending], model)
        evaluated = run("eval", model, album, "--workers", workers)
        compared = run("compare", exported["fp32", ending], exported["int8", ending], album, "--workers", workers)
        results = [without_times(json.loads(outcome.out)) for outcome in (evaluated, compared)]
        assert results[0].pop("model") == str(model)
        assert [len(result["unreadable"]) for result in results] == [2, 2]
        found.append((results, compared.err, model.read_bytes()))
    assert found[0] == found[1] == found[2]


def started(*words: object, cwd: Path) -> subprocess.Popen[str]:
    """The command line in a process of its own, whose first line of output has been seen."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from edge_effnet.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code, *map(str, words)],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def test_an_interrupt_in_the_middle(exported: Exported, album: Path, tmp_path: Path) -> None:
    process = started("predict", *[album] * 100, "--model", exported["int8", "tflite"], "--workers", 3, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "edge-effnet: interrupted"
    assert "Traceback" not in err


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_kill_in_the_middle_leaves_whole_copies(run: Run, exported: Exported, album: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    words = ("--model", exported["int8", "tflite"], "--save", copies, "--workers", 3)
    process = started("predict", *[album] * 100, *words, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline()
    time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)
    from PIL import Image

    for path in copies.glob("*.jpg"):
        with Image.open(path) as image:
            image.load()
    assert run("predict", album, *words).status == 2  # the broken photos
    assert not list(copies.glob(".edge-effnet-*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_in_the_middle(exported: Exported, album: Path, tmp_path: Path) -> None:
    words = ["predict", *map(str, [album] * 5), "--model", str(exported["int8", "tflite"]), "--workers", "3"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edge_effnet", *words], stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "edge-effnet: error: can't write to standard output: No space left on device"


def test_no_number(run: Run) -> None:
    for words in ("0", "-1", "two"):
        outcome = run("predict", PHOTOS, "--workers", words)
        assert outcome.status == 2
        assert "is not a whole number of at least 1" in outcome.err
