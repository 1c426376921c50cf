"""Each example as a user runs it: the file itself, in a process of its own, on real photos."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.chromium import required_program

from edge_effnet.benchmarks.live.scenes import SCENES, video_frames, write_video
from edge_effnet.cli.camera import add_arguments

pytestmark = pytest.mark.litert
EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTOS = EXAMPLES / "photos"
HARDWARE = Path(__file__).parents[1] / "support" / "hardware"


def run(name: str, *words: object, folder: Path, timeout: float = 120, **environment: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *map(str, words)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=folder,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pi_camera(tmp_path: Path) -> None:
    """The hardware's stand-in gives a brown coffee for BGR888 and a blue one for RGB888."""
    lines = run("pi_camera.py", 3, folder=tmp_path, PYTHONPATH=str(HARDWARE)).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("espresso  9") and line.endswith(" ms)") for line in lines)
    assert len((EXAMPLES / "pi_camera.py").read_text().splitlines()) <= 30


def test_opencv_webcam(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    write_video(tmp_path / "film.avi", video_frames(PHOTOS, scenes=SCENES[:2], scene_frames=25))
    lines = run("opencv_webcam.py", tmp_path / "film.avi", folder=tmp_path).splitlines()
    assert [line.partition(",")[0] for line in lines if not line.startswith(" ")] == [
        "espresso  (was nothing)",
        "missile  (was espresso)",
    ]
    assert all(line.count(", ") == 2 for line in lines if line.startswith("   "))


def test_opencv_webcam_without_a_camera(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "opencv_webcam.py"), "77"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("camera 77 can't be opened")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "word", "said"), [("opencv_webcam.py", "--help", "python examples/opencv_webcam.py 0")]
)
def test_help_is_no_traceback(tmp_path: Path, name: str, word: str, said: str) -> None:
    command = [sys.executable, str(EXAMPLES / name), word]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_pi_camera_without_picamera2(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "pi_camera.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("picamera2 is not installed: sudo apt install python3-picamera2")


def loaded(name: str) -> Any:
    specification = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_fastapi_upload() -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")
    from concurrent.futures import ThreadPoolExecutor

    from fastapi.testclient import TestClient

    example = loaded("fastapi_upload")
    with TestClient(example.app) as client:

        def best(name: str) -> str:
            answer = client.post("/predict?top_k=2", files={"photo": (PHOTOS / f"{name}.jpg").read_bytes()})
            assert answer.status_code == 200
            assert len(answer.json()["predictions"]) == 2
            return str(answer.json()["predictions"][0]["label"])

        with ThreadPoolExecutor(6) as pool:  # more requests at once than classifiers
            assert (
                list(pool.map(best, ["coffee", "rocket", "coffee", "rocket", "coffee", "rocket"]))
                == ["espresso", "missile"] * 3
            )
        broken = client.post("/predict", files={"photo": b"no photo"})
        assert broken.status_code == 422
        assert broken.json()["detail"].startswith("image bytes: not a JPEG")
        assert client.post("/predict?top_k=0", files={"photo": (PHOTOS / "coffee.jpg").read_bytes()}).status_code == 422
        assert client.post("/predict", files={"photo": b"x" * (example.LARGEST_BYTES + 1)}).status_code == 413
        assert example.idle.qsize() == example.CLASSIFIERS, "every classifier was given back"
    assert example.idle.empty()


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """The photos, one of them deeper, and a broken one."""
    folder = tmp_path / "album"
    shutil.copytree(PHOTOS, folder / "deep")
    shutil.copy(PHOTOS / "coffee.jpg", folder / "another.jpg")
    (folder / "broken.jpg").write_bytes(b"no photo")
    return folder


def test_batch_folder(album: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    assert run("batch_folder.py", album, results, "--processes", 2, folder=tmp_path) == "0 done before, 6 to do\n"
    found = {Path(row["source"]).stem: row for row in map(json.loads, results.read_text().splitlines())}
    assert sorted(found) == ["another", "astronaut", "broken", "chelsea", "coffee", "rocket"]
    assert found["broken"]["error"].endswith("not a JPEG, PNG, WEBP, BMP, GIF image")
    assert [found[name]["predictions"][0]["label"] for name in ("another", "coffee", "rocket")] == [
        "espresso",
        "espresso",
        "missile",
    ]
    assert len(found["chelsea"]["predictions"]) == 5


def test_batch_folder_goes_on_where_it_was_stopped(album: Path, tmp_path: Path) -> None:
    """Pulled in the middle of a line."""
    results = tmp_path / "results.jsonl"
    run("batch_folder.py", album, results, "--processes", 1, folder=tmp_path)
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join(lines[:4]) + lines[4][:20])
    assert run("batch_folder.py", album, results, "--processes", 1, folder=tmp_path) == "4 done before, 2 to do\n"
    sources = [json.loads(line)["source"] for line in results.read_text().splitlines()]
    assert len(sources) == len(set(sources)) == 6
    assert run("batch_folder.py", album, results, "--processes", 1, folder=tmp_path) == "6 done before, 0 to do\n"


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (pip install 'ray[data]')")
def test_ray_batch(album: Path, tmp_path: Path) -> None:
    run(
        "ray_batch.py",
        album,
        tmp_path / "results",
        "--actors",
        2,
        folder=tmp_path,
        timeout=300,
        RAY_USAGE_STATS_ENABLED="0",
    )
    rows = [
        json.loads(line) for path in (tmp_path / "results").glob("*.json") for line in path.read_text().splitlines()
    ]
    found = {Path(row["path"]).stem: row for row in rows}
    assert sorted(found) == ["another", "astronaut", "broken", "chelsea", "coffee", "rocket"]
    assert [found[name]["label"] for name in ("another", "coffee", "rocket")] == ["espresso", "espresso", "missile"]
    assert (found["broken"]["index"], found["broken"]["label"]) == (-1, "")
    assert found["broken"]["error"].startswith("image bytes: not a JPEG")
    assert 0.9 < found["coffee"]["score"] <= 1


def test_the_systemd_unit(tmp_path: Path) -> None:
    """systemd itself reads it: nothing unknown, nothing misspelt, and little that it could do."""
    program = required_program("systemd-analyze")
    (tmp_path / "edge-effnet").write_text("#!/bin/sh\n")
    (tmp_path / "edge-effnet").chmod(0o755)
    text = (EXAMPLES / "edge-effnet-camera.service").read_text()
    unit = tmp_path / "edge-effnet-camera.service"
    unit.write_text(text.replace("/opt/edge-effnet/bin/edge-effnet", str(tmp_path / "edge-effnet")))
    done = subprocess.run(
        [program, "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(
        [program, "security", "--offline=true", "--threshold=25", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unrecognized option" not in done.stderr:
        assert done.returncode == 0, done.stdout[-300:]


def test_the_systemd_unit_runs_a_command_that_there_is() -> None:
    (line,) = (
        line
        for line in (EXAMPLES / "edge-effnet-camera.service").read_text().splitlines()
        if line.startswith("ExecStart=")
    )
    program, verb, *words = shlex.split(line.partition("=")[2])
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = parser.parse_args(words)
    assert (Path(program).name, verb, arguments.source) == ("edge-effnet", "camera", "picamera2")
