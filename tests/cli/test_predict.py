from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import foreign, golden_files

from edge_effnet import Classifier
from edge_effnet.decoding import read_photo
from edge_effnet.engines.quiet import without_engine_banner
from edge_effnet.errors import UnverifiedModelWarning
from edge_effnet.preprocessing import Preprocessing

from .conftest import PHOTOS, Run, is_one_error

pytestmark = pytest.mark.litert
CAT, COFFEE = PHOTOS / "chelsea.jpg", PHOTOS / "coffee.jpg"
Exported = dict[tuple[str, str], Path]


@pytest.mark.parametrize(
    ("photo", "labels"),
    [("chelsea", ("cat", "tabby")), ("coffee", ("espresso", "cup")), ("rocket", ("missile", "projectile"))],
)
def test_the_bundled_model(run: Run, photo: str, labels: tuple[str, ...]) -> None:
    outcome = run("predict", PHOTOS / f"{photo}.jpg", "--top-k", "1")
    assert (outcome.status, outcome.err) == (0, "")
    name, best = outcome.out.splitlines()
    assert name == str(PHOTOS / f"{photo}.jpg")
    assert best[:10].strip().endswith("%")
    assert any(label in best.lower() for label in labels)


def test_json(run: Run) -> None:
    (result, second) = json.loads(run("predict", CAT, COFFEE, "--format", "json", "--top-k", "2").out)
    assert list(result) == ["source", "status", "model", "engine", "predictions", "timing_ms"]
    assert (result["source"], result["engine"], second["source"]) == (str(CAT), "litert", str(COFFEE))
    assert result["model"].endswith("lite0-int8.tflite")
    assert [list(found) for found in result["predictions"]] == [["index", "label", "score"]] * 2
    assert 1 >= result["predictions"][0]["score"] >= result["predictions"][1]["score"] > 0
    assert list(result["timing_ms"]) == ["decode", "preprocess", "inference", "postprocess"]


def test_json_lines_and_csv(run: Run) -> None:
    lines = run("predict", CAT, COFFEE, "--format", "jsonl", "--top-k", "1").out.splitlines()
    assert [json.loads(line)["source"] for line in lines] == [str(CAT), str(COFFEE)]
    rows = list(csv.DictReader(io.StringIO(run("predict", CAT, "--format", "csv", "--top-k", "3").out)))
    assert list(rows[0]) == ["source", "status", "place", "class_id", "label", "score", "error"]
    assert [row["place"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["label"] == json.loads(lines[0])["predictions"][0]["label"]


@pytest.mark.parametrize("output", ["text", "json", "jsonl", "csv"])
def test_a_broken_file_among_good_ones_is_reported_in_its_place(run: Run, tmp_path: Path, output: str) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    outcome = run("predict", CAT, broken, tmp_path / "gone.jpg", COFFEE, "--format", output, "--top-k", "1")
    assert outcome.status == 2
    errors = [] if output == "text" else [f"edge-effnet: error: {tmp_path / name}" for name in ("broken", "gone")]
    assert [line.split(".jpg")[0] for line in outcome.err.splitlines()] == [*errors, "edge-effnet: 2 of 4 failed"]
    positions = [outcome.out.index(text) for text in (str(CAT), str(broken), "gone.jpg", str(COFFEE))]
    assert positions == sorted(positions)
    if output == "json":
        assert [sorted(result) for result in json.loads(outcome.out)][1:3] == [["error", "source", "status"]] * 2
        assert json.loads(outcome.out)[1]["error"] == f"{broken}: not a JPEG, PNG, WEBP, BMP, GIF image"
    if output == "csv":
        assert [row["error"] != "" for row in csv.DictReader(io.StringIO(outcome.out))] == [False, True, True, False]


def test_decoding_in_full(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        "edge_effnet.runner.read_photo",
        lambda source, **options: asked.append(options["shortest"]) or read_photo(source, **options),
    )
    for words in ((), ("--full-decode",)):
        assert run("predict", CAT, *words).status == 0
    assert asked == [512, None]


def test_folders_and_globs(run: Run) -> None:
    names = sorted(str(path) for path in PHOTOS.glob("*.jpg"))
    for source in (PHOTOS, PHOTOS / "*.jpg"):
        outcome = run("predict", source, "--format", "jsonl", "--top-k", "1")
        assert [json.loads(line)["source"] for line in outcome.out.splitlines()] == names
    assert is_one_error(run("predict", PHOTOS / "*.webp"), "holds no images")


def test_standard_input() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_effnet", "predict", "-", "--format", "json"],
        input=CAT.read_bytes(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)[0]["source"] == "-"
    done = subprocess.run(
        [sys.executable, "-m", "edge_effnet", "predict", "-"], input=b"", capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert b"error: image bytes: empty (0 bytes)" in done.stdout
    assert done.stderr == b"edge-effnet: 1 of 1 failed\n"


def test_choosing_classes(run: Run) -> None:
    def labels(*options: str) -> list[str]:
        (result,) = json.loads(run("predict", CAT, "--format", "json", *options).out)
        return [found["label"] for found in result["predictions"]]

    best = labels("--top-k", "1")[0]
    assert len(labels("--top-k", "5000")) == 1000
    assert sorted(labels("--allow", "espresso, 504,CUP")) == ["coffee mug", "cup", "espresso"]
    assert best not in labels("--deny", best)
    assert labels("--threshold", "1") == []
    assert run("predict", CAT, "--threshold", "1").out.endswith("nothing above the threshold\n")
    assert is_one_error(
        run("predict", CAT, "--allow", "esspresso"),
        "label 'esspresso' is not among the model's 1000; did you mean 'espresso'",
    )


def test_labels_of_ones_own(run: Run, tmp_path: Path, exported: Exported) -> None:
    (tmp_path / "names.txt").write_text("un\ndeux\ntrois\n")
    for (_, ending), path in exported.items():
        outcome = run("predict", CAT, "--model", path, "--labels", tmp_path / "names.txt", "--format", "json")
        (result,) = json.loads(outcome.out)
        assert {found["label"] for found in result["predictions"]} == {"un", "deux", "trois"}
        assert result["engine"] == {"tflite": "litert", "onnx": "onnxruntime"}[ending]
    (tmp_path / "names.txt").write_text("un\n")
    assert is_one_error(
        run("predict", CAT, "--labels", tmp_path / "names.txt"), "labels has 1 labels, the model 1000 classes"
    )


def test_saving_annotated_copies(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "chelsea.png").write_bytes(CAT.read_bytes())
    outcome = run(
        "predict", CAT, tmp_path / "other" / "chelsea.png", "--save", tmp_path / "out" / "deep", "--top-k", "3"
    )
    assert outcome.status == 0
    assert sorted(path.name for path in (tmp_path / "out" / "deep").iterdir()) == ["chelsea-2.jpg", "chelsea.jpg"]
    with Image.open(tmp_path / "out" / "deep" / "chelsea.jpg") as copy, Image.open(CAT) as photo:
        assert copy.format == "JPEG"
        assert copy.height > photo.height
        assert copy.width >= photo.width


def test_saving_where_nothing_can_be_saved(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        assert is_one_error(run("predict", CAT, "--save", folder), f"can't make the folder {folder}: ")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert is_one_error(run("predict", CAT, "--save", tmp_path), f"no permission to write in {tmp_path}")


def test_files_of_other_makers(run: Run, tmp_path: Path) -> None:
    model = foreign.tflite(tmp_path / "m.tflite")
    assert is_one_error(
        run("predict", CAT, "--model", model),
        "made by another tool, and doesn't say how to prepare photos; say it: --input-range 0..255 where",
    )
    outcome = run(
        "predict",
        CAT,
        "--model",
        model,
        "--image-size",
        "8",
        "--mean",
        "0.485,0.456,0.406",
        "--std",
        "0.2",
        "--crop-pct",
        "0.9",
        "--format",
        "json",
    )
    assert [found["label"][:6] for found in json.loads(outcome.out)[0]["predictions"]] == ["class "] * 3
    assert is_one_error(
        run("predict", CAT, "--model", model, "--image-size", "9"), "its input is [1, 8, 8, 3]; expected [1, 9, 9, 3]"
    )


def test_files_of_other_makers_take_the_photos_they_were_trained_with(run: Run, tmp_path: Path) -> None:
    model = foreign.tflite(tmp_path / "m.tflite")
    words = ("--input-range", "0..255", "--resize-mode", "squash", "--resizer", "tensorflow", "--channels", "bgr")
    outcome = run("predict", CAT, "--model", model, *words, "--format", "json")
    said = Preprocessing(
        8,
        8,
        interpolation="bilinear",
        mode="squash",
        resizer="tensorflow",
        channels="bgr",
        mean=(0.0,) * 3,
        std=(1 / 255,) * 3,
    )
    with pytest.warns(UnverifiedModelWarning), Classifier(model, preprocessing=said) as classifier:
        expected = classifier.predict(CAT)
    found = json.loads(outcome.out)[0]["predictions"]
    assert [row["index"] for row in found] == [one.index for one in expected][: len(found)]
    np.testing.assert_allclose(
        [row["score"] for row in found], [one.score for one in expected][: len(found)], atol=1e-6
    )
    assert is_one_error(
        run("predict", CAT, "--model", model, *words, "--interpolation", "hamming"),
        "tensorflow's interpolation 'hamming'; expected",
    )


@pytest.mark.parametrize(("module", "message"), [("onnxruntime", "pip install 'edge-effnet[onnx]'")])
def test_a_missing_extra_is_named(
    run: Run, exported: Exported, monkeypatch: pytest.MonkeyPatch, module: str, message: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert is_one_error(run("predict", CAT, "--model", exported["fp32", "onnx"]), message)


def test_names_that_are_no_text_are_printed_all_the_same(tmp_path: Path) -> None:
    name = bytes(tmp_path) + b"/\xff\xe9.jpg"
    try:
        with open(name, "wb") as file:
            file.write(CAT.read_bytes())
    except OSError:
        pytest.skip("this file system wants text")
    for output in ("text", "json", "csv"):
        environment: Any = {"PATH": "", "PYTHONIOENCODING": "ascii"}
        command = [sys.executable, "-m", "edge_effnet", "predict", "--format", output, "--top-k", "1", name]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        assert b"cat" in done.stdout


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n", False),
        (b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n", False),
        (b"I0000 00:00:1795305074.315220   15684 port.cc:153] oneDNN custom operations are on.\n", False),
        (b"ERROR: something\n", True),
        (b"E0000 00:00:1795305074.315220   15684 port.cc:153] an error\n", True),
        (b"Image\n", True),
    ],
)
def test_the_engines_chatter_is_kept_off_standard_error(
    capfd: pytest.CaptureFixture[str], line: bytes, kept: bool
) -> None:
    with without_engine_banner():
        os.write(2, line)
    assert capfd.readouterr().err == (line.decode() if kept else "")


def test_a_photo_whose_name_leaves_no_room_for_an_ending(run: Run, tmp_path: Path) -> None:
    photo = tmp_path / ("x" * 255)
    photo.write_bytes(Path(CAT).read_bytes())
    out = tmp_path / "out"
    for _ in range(2):
        assert run("predict", photo, "--save", out).status == 0
    assert sorted(path.name for path in out.iterdir()) == [f"{'x' * 200}-2.jpg", f"{'x' * 200}.jpg"]


@pytest.mark.litert
def test_a_file_of_keras_takes_its_pixels_as_they_are(run: Run, tmp_path: Path) -> None:
    path, case = golden_files.unpacked("tflite", "EfficientNetB0-plain-tiny-64-s301.tflite", tmp_path)
    photo = tmp_path / "photo.png"
    Image.fromarray(golden_files.image(case["seed"], case["image_size"])).save(photo)
    arguments = ("predict", photo, "--model", path, "--image-size", "64", "--input-range", "0..255", "--format", "json")
    found = json.loads(run(*arguments).out)[0]["predictions"]
    scores = {item["index"]: item["score"] for item in found}
    assert all(abs(scores[index] - value) < 1e-3 for index, value in enumerate(case["outputs"]))
    assert "--mean" in run(*arguments, "--mean", "0,0,0").err
