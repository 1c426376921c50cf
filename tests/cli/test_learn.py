from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.classes import class_folder, class_photo

from edge_effnet.learning import Learned

from .conftest import PHOTOS, Run, is_one_error

Exported = dict[tuple[str, str], Path]
pytestmark = pytest.mark.litert


def test_it_says_what_was_learned(run: Run, exported: Exported, class_photos: Path, tmp_path: Path) -> None:
    words = ("learn", class_photos, "-o", tmp_path / "m.tflite", "--base", exported["int8", "tflite"])
    found = run(*words, "--report", tmp_path / "r.html", "--format", "text")
    assert found.status == 0
    assert "3 classes from 24 photos" in found.out
    assert "photos it hasn't seen" in found.out
    assert "calls a photo unknown whose likeness to yours is below" in found.out
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "What is taken for what" in page
    assert "<script" not in page
    assert "http" not in page
    told = json.loads(run(*words, "--unknown", "off").out)
    assert told["labels"] == ["moss", "rust", "sea"]
    assert told["threshold"] is None
    assert told["path"] == str(tmp_path / "m.tflite")


def test_photos_in_the_wrong_folder_are_named(run: Run, tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "p", photos=12)
    shutil.move(folder / "moss" / "3.png", folder / "sea" / "wrong <b>.png")
    words = ("learn", folder, "-o", tmp_path / "m.tflite", "--format", "json")
    told = json.loads(run(*words, "--report", tmp_path / "r.html").out)
    assert [(Path(row["path"]).name, row["looks_like"]) for row in told["doubtful"]][:1] == [("wrong <b>.png", "moss")]
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "wrong &lt;b&gt;.png" in page
    assert 'src="data:image/jpeg;base64,' in page


def test_wrong_options(run: Run, class_photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.tflite"
    assert is_one_error(run("learn", class_photos, "-o", output, "--unknown", "5"), "'5' is not between 0 and 1")
    assert is_one_error(run("learn", tmp_path, "-o", output), "has photos of no class; expected a folder of photos")
    assert is_one_error(run("learn", class_photos, "-o", output, "--report", output), "are the same file")
    kept = run("learn", class_photos, "-o", output, "--keep-classes", "--unknown", "0.1")
    assert is_one_error(kept, "--unknown has no effect with --keep-classes")


def test_a_class_name_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "p", photos=2)
    name = folder / "sea" / "label.txt"
    name.write_text("ocean\n")
    found = run("learn", folder, "-o", tmp_path / "m.tflite", "--report", name)
    assert is_one_error(found, "is a photo or a class's name, which it would overwrite")
    assert name.read_text() == "ocean\n"


def test_predict_says_unknown(run: Run, taught: Learned, tmp_path: Path) -> None:
    class_photo("sea", 100).save(tmp_path / "sea.png")
    words = ("predict", tmp_path / "sea.png", PHOTOS / "coffee.jpg", "--model", taught.path)
    sea, other = json.loads(run(*words, "--format", "json").out)
    assert (sea["status"], sea["predictions"][0]["label"], sea["unknown"]["is_unknown"]) == ("ok", "sea", False)
    assert (other["status"], other["predictions"][0]["label"]) == ("unknown", "unknown")
    assert other["unknown"]["value"] < other["unknown"]["threshold"] == sea["unknown"]["threshold"]
    assert len(other["predictions"]) == 4
    text = run(*words, "--top-k", "1").out
    assert f"unknown: similarity is {other['unknown']['value']:.3f}, below {taught.threshold:.3f}" in text
    assert ",unknown,1,3,unknown," in run(*words, "--format", "csv").out
    _, off = json.loads(run(*words, "--format", "json", "--unknown", "off").out)
    assert off["status"] == "ok"
    assert "unknown" not in off


def test_predict_draws_heat_maps(run: Run, taught: Learned, class_photos: Path, tmp_path: Path) -> None:
    words = ("predict", class_photos / "sea", "--model", taught.path, "--heatmap", tmp_path / "heat")
    rows: list[dict[str, Any]] = json.loads(run(*words, "--format", "json").out)
    assert {path.name for path in (tmp_path / "heat").iterdir()} == {f"{number}.jpg" for number in range(8)}
    assert {row["heatmap"]["label"] for row in rows} == {"sea"}
    assert all(0 <= row["heatmap"]["hottest_share"] <= 1 for row in rows)
    same = run(*words, "--save", tmp_path / "heat")
    assert is_one_error(same, "are the same folder; give each its own")


def test_eval_counts_what_is_called_unknown(run: Run, taught: Learned, tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "p", photos=6, first=200)
    shutil.copytree(PHOTOS, folder / "none")
    words = ("eval", taught.path, folder, "--no-record", "--format")
    found = json.loads(run(*words, "json").out)
    assert found["top1"] > 0.9
    assert sum(map(sum, found["confusion"])) == 18
    assert (found["unknown"]["known"], found["unknown"]["unknown"]) == (18, len(list(PHOTOS.glob("*.jpg"))))
    assert found["unknown"]["unknown_recognised"] == 1
    assert found["unknown"]["auroc"] == 1
    assert "of 18 photos of the classes called unknown" in run(*words, "text").out


def test_info_says_what_was_learned(run: Run, taught: Learned) -> None:
    text = run("info", taught.path).out
    assert "24 photos of 3 classes; " in text
    assert f"below a similarity of {taught.threshold:.3f} to 24 references, 5%" in text
    document = json.loads(run("info", taught.path, "--format", "json").out)["document"]
    assert document["unknown"]["measure"] == "similarity"
    assert document["learned"]["photos"] == {"moss": 8, "rust": 8, "sea": 8}
