from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import foreign
from support.golden import State

from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.formats import read_model_file

from .conftest import PHOTOS, Run, is_one_error

pytestmark = [pytest.mark.litert, pytest.mark.onnx]
Exported = dict[tuple[str, str], Path]


def test_info_as_text(run: Run) -> None:
    outcome = run("info", BUNDLED_MODEL)
    assert (outcome.status, outcome.err) == (0, "")
    for text in (
        "EfficientNet-Lite0, 1000 classes, 224×224, int8",
        "shorter side to 256, centre 224, bicubic; mean 0.5, std 0.5, rgb",
        "lukemelas, same-baked padding, BN eps 0.001",
        "image  uint8[1, 224, 224, 3]",
        "logits  float32[1, 1000]",
        "1000: ",
        "int8 ops",
        "litert (",
        "edge-effnet ",
    ):
        assert text in outcome.out


def test_info_as_json(run: Run, exported: Exported) -> None:
    for (precision, ending), path in exported.items():
        facts = json.loads(run("info", path, "--format", "json").out)
        assert (facts["format"], facts["size_bytes"], facts["labels"]) == (
            ending,
            path.stat().st_size,
            ["cat", "dog", "Köln"],
        )
        assert facts["document"]["precision"] == precision
        assert facts["document"]["schema_version"] == 1
        assert facts["input"]["dtype"] == ("uint8" if precision == "int8" else "float32")
        assert precision == "fp32" or sum(facts["operators"]["int8"].values()) > 49
        assert facts["engine"].startswith({"tflite": "litert (", "onnx": "onnxruntime ("}[ending])


def test_info_of_a_foreign_file_and_of_none(run: Run, tmp_path: Path) -> None:
    outcome = run("info", foreign.onnx(tmp_path / "m.onnx"))
    assert outcome.status == 0
    assert (
        "none: made by another tool\nphotos         it doesn't say how they are prepared: --input-range" in outcome.out
    )
    (tmp_path / "x").write_bytes(b"hello world, no model")
    assert is_one_error(run("info", tmp_path / "x"), "neither .tflite nor .onnx")


def test_info_where_the_terminal_lacks_a_letter(exported: Exported) -> None:
    command = [sys.executable, "-m", "edge_effnet", "info", str(exported["fp32", "tflite"])]
    done = subprocess.run(
        command, capture_output=True, timeout=60, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"K\\u00f6ln" in done.stdout


def test_info_without_an_engine(run: Run, exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "none installed: see edge-effnet doctor" in run("info", exported["fp32", "onnx"]).out
    assert json.loads(run("info", exported["fp32", "onnx"], "--format", "json").out)["engine"] is None


def test_doctor(run: Run) -> None:
    text = run("doctor")
    assert (text.status, text.err) == (0, "")
    assert all(
        word in text.out for word in ("Engines", "litert", "onnxruntime", "Machine", "cores", "governor", "throttled")
    )
    content = json.loads(run("doctor", "--format", "json").out)
    engines = {engine["engine"]: engine for engine in content["engines"]}
    assert engines["litert"]["version"]
    assert engines["onnxruntime"]["problem"] is None
    assert content["machine"]["cores"] >= 1


def test_doctor_says_what_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "not usable: .onnx files need onnxruntime: pip install 'edge-effnet[onnx]'" in run("doctor").out


def test_doctor_without_any_engine_is_status_two(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_effnet.cli import doctor
    from edge_effnet.engines import EngineStatus

    monkeypatch.setattr(doctor, "engine_statuses", lambda: (EngineStatus("litert", "ai-edge-litert", None, "why"),))
    outcome = run("doctor")
    assert outcome.status == 2
    assert "litert       not usable: why" in outcome.out


@pytest.mark.torch
def test_export(run: Run, tmp_path: Path, lite0_state: State, photo_folder: Path) -> None:
    from safetensors.numpy import save_file

    source = tmp_path / "c.safetensors"
    save_file(lite0_state, source)
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    target = tmp_path / "m.tflite"
    words = [
        "export",
        source,
        "-o",
        target,
        "--source",
        "timm-tf",
        "--image-size",
        "48",
        "--labels",
        tmp_path / "labels.txt",
    ]
    outcome = run(
        *words,
        "--precision",
        "int8",
        "--quick",
        "--calibration",
        photo_folder,
        "--calibration-images",
        "3",
        "--seed",
        "7",
        "--crop-pct",
        "1",
        "--std",
        "0.4",
    )
    assert outcome.status == 0
    said = [line for line in outcome.err.splitlines() if not re.fullmatch(r"edge-effnet: [a-z ]+: \d+ s", line)]
    assert said[0].startswith("edge-effnet: int8 against float on 3 photos not calibrated on: ")
    assert outcome.out.startswith(f"{target}: EfficientNet-Lite0, int8, 3 classes, 48×48, ")
    document = read_model_file(target).document
    assert document is not None
    assert document.quantization is not None
    assert (document.quantization["seed"], document.quantization["calibration_images"]) == (7, 3)
    assert (document.preprocessing.resize, document.preprocessing.std, document.labels) == (
        48,
        (0.4, 0.4, 0.4),
        ("a", "b", "c"),
    )
    assert run("predict", photo_folder / "photo0.png", "--model", target).status == 0


@pytest.mark.torch
def test_export_reads_the_photos_it_is_told_to(
    run: Run, tmp_path: Path, lite0_state: State, photo_folder: Path
) -> None:
    from PIL import Image
    from safetensors.numpy import save_file

    save_file(lite0_state, tmp_path / "c.safetensors")
    (tmp_path / "photos").mkdir()
    Image.open(photo_folder / "photo0.png").save(tmp_path / "photos" / "a.tiff")
    words = [
        "export",
        tmp_path / "c.safetensors",
        "-o",
        tmp_path / "m.tflite",
        "--source",
        "timm-tf",
        "--image-size",
        "32",
        "--precision",
        "int8",
        "--quick",
    ]
    words += ["--calibration", tmp_path / "photos"]
    assert is_one_error(run(*words), "a TIFF, which is read on request alone: --allow-tiff")
    assert is_one_error(run(*words, "--allow-tiff", "--max-pixels", "100"), "at most 100 are decoded")
    assert is_one_error(run(*words, "--allow-tiff", "--max-pixels", "999999999"), "expected 1 to 178,956,970 pixels")
    assert run(*words, "--allow-tiff").status == 0
    assert (tmp_path / "m.tflite").exists()


@pytest.mark.torch
def test_export_errors_and_remarks(run: Run, tmp_path: Path, lite0_state: State) -> None:
    import torch

    tensors = {f"module.{key}": torch.from_numpy(value) for key, value in lite0_state.items()}
    torch.save({"model": tensors, "epoch": 1}, tmp_path / "c.pth")
    assert is_one_error(
        run("export", tmp_path / "c.pth", "-o", tmp_path / "m.onnx"),
        "say which it was: --source timm, --source timm-tf",
    )
    outcome = run("export", tmp_path / "c.pth", "-o", tmp_path / "m.onnx", "--source", "timm", "--image-size", "32")
    assert (outcome.status, outcome.err.splitlines()) == (
        0,
        [
            "edge-effnet: took the weights under 'model'",
            "edge-effnet: took strided convolutions for granted, as efficientnet_* has them; efficientnet_blur_* has the "
            "same tensors and pools with a blur",
            "edge-effnet: classes without names; --labels FILE puts them into the file",
        ],
    )
    assert is_one_error(
        run("export", tmp_path / "c.pth", "-o", tmp_path / "m.onnx", "--source", "timm", "--precision", "int8"),
        "int8 needs photos to calibrate on",
    )
    assert is_one_error(
        run("export", tmp_path / "c.pth", "-o", tmp_path / "m.onnx", "--quick", "--refine", "1"),
        "--refine: not allowed with argument --quick",
    )
    assert is_one_error(
        run("export", tmp_path / "c.pth", "-o", tmp_path / "m.onnx", "--precision", "int8", "--refine=-1"),
        "refinement of -1 minutes",
    )


def test_export_without_its_extra(
    run: Run, tmp_path: Path, lite0_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import save_file

    save_file(lite0_state, tmp_path / "c.safetensors")
    for ending, package in (("tflite", "flatbuffers"), ("onnx", "onnx")):
        for module in [
            name
            for name in sys.modules
            if name.startswith(("edge_effnet.exporters.outputs.tflite", "edge_effnet.exporters.outputs.onnx"))
        ]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, package, None)
        outcome = run(
            "export",
            tmp_path / "c.safetensors",
            "-o",
            tmp_path / f"m.{ending}",
            "--source",
            "timm",
            "--image-size",
            "32",
        )
        assert is_one_error(outcome, "pip install 'edge-effnet[export]'"), (ending, outcome)
        monkeypatch.undo()


def test_what_learning_needs_is_asked_for_before_the_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "c.safetensors").touch()  # whose emptiness the work would find first
    outcome = run(
        "export",
        tmp_path / "c.safetensors",
        "-o",
        tmp_path / "m.tflite",
        "--precision",
        "int8",
        "--calibration",
        PHOTOS,
    )
    assert is_one_error(outcome, "pip install 'edge-effnet[refine]', or leave it out: --quick")
