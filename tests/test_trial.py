"""Opening in a process of its own, and who vouches for a file."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import re
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import foreign

from edge_effnet import Classifier, Preprocessing, trial
from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.cli import main
from edge_effnet.errors import EdgeEffnetError, EngineError, ModelFileError, UnverifiedModelWarning, UsageError
from edge_effnet.formats import read_model_file, with_document

pytestmark = pytest.mark.litert
PHOTO = Image.new("RGB", (20, 30), (255, 51, 102))
FOREIGN = Preprocessing(foreign.SIZE, foreign.SIZE)


def without_bias(path: Path) -> Path:
    """A file on which LiteRT 2.3 ends with SIGSEGV."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    from edge_effnet.exporters.outputs.tflite_writer import TfliteWriter

    writer = TfliteWriter()
    image = writer.tensor("image", (1, 8, 8, 3), "float32")
    options = schema.DepthwiseConv2DOptionsT(
        depthMultiplier=1, dilationWFactor=1, dilationHFactor=1, strideW=1, strideH=1, padding=schema.Padding.SAME
    )
    kernel = writer.constant("w", np.ones((1, 3, 3, 3), np.float32))
    out = writer.operator(
        "DEPTHWISE_CONV_2D", [image, kernel], writer.tensor("out", (1, 8, 8, 3), "float32"), options=options
    )
    path.write_bytes(writer.finish(inputs={"image": image}, outputs={"out": out}, description="crash", metadata={}))
    return path


def unsealed(path: Path) -> Path:
    """The bundled model without its SHA-256."""
    data = BUNDLED_MODEL.read_bytes()
    document = read_model_file(data).document
    assert document is not None
    path.write_bytes(with_document(data, replace(document, weights_sha256=None)))
    return path


def damaged(path: Path) -> Path:
    """The bundled model with one bit of a weight changed."""
    data = bytearray(BUNDLED_MODEL.read_bytes())
    file = read_model_file(bytes(data))
    weight = max(
        (tensor for tensor in file.tensors if tensor.data is not None), key=lambda tensor: len(tensor.data or b"")
    )  # type: ignore[union-attr]
    at = data.index(bytes(weight.data or b""))
    data[at + 1000] ^= 0x40
    path.write_bytes(data)
    return path


# Verification --------------------------------------------------------------------------------------------------------


def test_the_bundled_model_vouches_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "try_in_child", lambda *_, **__: pytest.fail("no trial run is needed"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Classifier(threads=1).close()


def test_one_changed_bit_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        ModelFileError,
        match=r"m\.tflite: its weights have the SHA-256 .*, its document says .*; the file is damaged, get it again",
    ):
        Classifier(damaged(tmp_path / "m.tflite"), threads=1)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Paths of the files that were tried; nothing is remembered from before."""
    found: list[Path] = []
    monkeypatch.setattr(trial, "try_in_child", lambda path, **_: not found.append(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return found


def test_each_file_is_tried_once(tmp_path: Path, tried: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A SHA-256 in the file tells damage, not intent: it doesn't spare the trial."""
    path, same = tmp_path / "m.tflite", tmp_path / "same.tflite"
    for name in (path, same):
        name.write_bytes(BUNDLED_MODEL.read_bytes())
    for name in (path, path, same, BUNDLED_MODEL):
        Classifier(name, threads=1).close()
    assert tried == [path]
    Classifier(path, threads=1, probe="always").close()
    Classifier(path, threads=1, engine="numpy").close()
    monkeypatch.setattr(trial, "_installed", lambda _package: ("newer", 1))
    Classifier(path, threads=1).close()
    assert tried == [path] * 4
    Classifier(unsealed(tmp_path / "other.tflite"), threads=1, probe="never").close()
    assert tried == [path] * 4


def test_a_file_without_a_sha256_is_tried_and_named(tmp_path: Path, tried: list[Path]) -> None:
    path = unsealed(tmp_path / "m.tflite")
    with pytest.warns(
        UnverifiedModelWarning,
        match=re.escape(f"{path} carries no SHA-256 of its weights, so damage to them would go unnoticed"),
    ):
        Classifier(path, threads=1).close()
    assert tried == [path]


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nowhere)
    trial.remember("00", engine="auto")
    assert not trial.has_passed("00", engine="auto")


def test_where_nothing_can_be_remembered(tmp_path: Path, tried: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    path = tmp_path / "m.tflite"
    path.write_bytes(BUNDLED_MODEL.read_bytes())
    for _ in range(2):
        Classifier(path, threads=1).close()
    assert tried == [path] * 2


def test_the_users_own_sha256(tmp_path: Path) -> None:
    path = foreign.tflite(tmp_path / "m.tflite")
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Classifier(path, threads=1, preprocessing=FOREIGN, sha256=f" {right.upper()}\n") as classifier:
            again = pickle.loads(pickle.dumps(classifier))
            assert again._arguments["sha256"] == classifier._arguments["sha256"]
            again.close()
    with pytest.raises(ModelFileError, match=rf"m\.tflite: has the SHA-256 {right}; expected 00"):
        Classifier(path, threads=1, preprocessing=FOREIGN, sha256="00")


def test_an_unknown_probe() -> None:
    with pytest.raises(UsageError, match="probe 'sometimes' is unknown; expected auto, always, never"):
        Classifier(probe="sometimes")  # type: ignore[arg-type]


# The trial run -------------------------------------------------------------------------------------------------------


def attempt(path: Path, **options: Any) -> None:
    content = path.read_bytes() if path.exists() else b""
    options = {"file_format": "tflite", "engine": "litert", "threads": 1, "content": content, **options}
    trial.try_in_child(path, **options)


def test_a_sound_file_and_one_the_engine_refuses(tmp_path: Path) -> None:
    attempt(BUNDLED_MODEL)
    (tmp_path / "m.tflite").write_bytes(b"\0" * 100)
    with pytest.raises(EngineError, match=r"m\.tflite: ai-edge-litert refuses the file"):
        attempt(tmp_path / "m.tflite")


def test_a_file_that_crashes_the_engine(tmp_path: Path) -> None:
    """The rule that refuses it is left out here: what is tested is the fence behind the rules."""
    path = without_bias(tmp_path / "crash.tflite")
    with pytest.raises(
        EngineError,
        match=r"crash\.tflite: crashed the engine in a trial run \(SIG\w+\), or needed more than 768 MB; the file is broken or "
        r"hostile, nothing was classified with it; if you made it yourself, --probe never opens it without a trial",
    ):
        attempt(path)
    with pytest.raises(ModelFileError, match=r"operator 0 \(DEPTHWISE_CONV_2D\) has 2 inputs"):
        Classifier(path, preprocessing=Preprocessing(8, 8), probe="never")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", r"in a trial run \(SIGABRT\)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", r"in a trial run \(SIGKILL\)"),
        ("import sys; sys.exit(7)", r"in a trial run \(exit status 7\)"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGXCPU)",
            "a trial run took more than 28 s; .*; if you made it yourself, --probe never",
        ),
        (
            "import time; time.sleep(60)",
            "a trial run in a process of its own didn't end within 0.5 s; .* hostile; if you made it yourself, --probe",
        ),
    ],
)
def test_ends_of_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str) -> None:
    monkeypatch.setattr(trial, "_CODE", code.replace("{", "{{"))
    with pytest.raises(EngineError, match=message):
        attempt(tmp_path / "m", timeout_s=0.5 if "sleep" in code else 60.0)


def test_a_signal_without_a_name_and_a_python_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trial._name(-200) == "signal 200"
    assert trial._name(-signal.SIGSEGV) == "SIGSEGV"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(
        EngineError, match=r"the process for a trial run can't be started \(No such file or directory\)"
    ):
        attempt(BUNDLED_MODEL)


def test_the_working_folder_is_not_searched_for_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A numpy.py beside a downloaded model must not run."""
    for name in ("numpy.py", "signal.py", "edge_effnet.py"):
        (tmp_path / name).write_text("import pathlib; pathlib.Path('ran').touch(); raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    attempt(BUNDLED_MODEL)
    assert not (tmp_path / "ran").exists()


def test_the_child_itself(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process, without the bound on its memory."""
    monkeypatch.setattr(trial, "_limit", lambda _size: None)
    for content, ends in ((BUNDLED_MODEL.read_bytes(), False), (b"nothing", True)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        with pytest.raises(SystemExit) if ends else contextlib.nullcontext():
            trial.main("name", "tflite", "litert", "1")
    assert "name: ai-edge-litert refuses the file" in capsys.readouterr().out


@pytest.mark.onnx
def test_a_small_file_that_asks_for_much_memory(tmp_path: Path) -> None:
    """411 bytes took 8 GB: a sum over 2·10⁹ zeros, which ONNX Runtime computes while it opens the file."""
    path = foreign.onnx(tmp_path / "m.onnx", zeros=2_000_000_000)
    with pytest.raises(EngineError, match=r"m\.onnx: "):
        attempt(path, file_format="onnx", engine="onnxruntime")


# The command line ----------------------------------------------------------------------------------------------------


def edge_effnet(*words: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_effnet", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_predict_with_trust_options(tmp_path: Path) -> None:
    photo, path = tmp_path / "p.png", foreign.tflite(tmp_path / "m.tflite")
    PHOTO.save(photo)
    words = ("predict", photo, "--model", path, "--image-size", foreign.SIZE, "--top-k", 1, "--threads", 1)
    done = edge_effnet(*words)
    assert (done.returncode, done.stderr.count("\n")) == (0, 2)
    assert done.stderr.startswith(f"edge-effnet: {path} carries no SHA-256 of its weights")
    known = edge_effnet(*words, "--sha256", hashlib.sha256(path.read_bytes()).hexdigest())
    assert known.stderr.startswith("edge-effnet: made by another tool")
    assert known.stderr.count("\n") == 1
    assert edge_effnet(*words, "--sha256", "12").returncode == 2
    crash = without_bias(tmp_path / "crash.tflite")
    done = edge_effnet("predict", photo, "--model", crash, "--image-size", 8)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "has 2 inputs and 1 outputs" in done.stderr


def test_info_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["info", str(BUNDLED_MODEL), "--verify"]) == 0
    assert "verified       SHA-256 of the weights: fits; no crash in a trial run" in capsys.readouterr().out
    assert main(["info", str(unsealed(tmp_path / "m.tflite")), "--verify"]) == 0
    out = capsys.readouterr().out
    assert "SHA-256 of the weights: not in the file; no crash in a trial run" in out
    assert "weights        no SHA-256 in the file" in out
    assert main(["info", str(damaged(tmp_path / "d.tflite"))]) == 0
    capsys.readouterr()
    assert main(["info", str(damaged(tmp_path / "d.tflite")), "--verify"]) == 2
    assert "its document says" in capsys.readouterr().err
    monkeypatch.setattr("edge_effnet.cli.info._engine_for", lambda _format: None)
    assert main(["info", str(BUNDLED_MODEL), "--verify", "--format", "json"]) == 0
    assert '"trial_run": "no engine installed"' in capsys.readouterr().out


def test_every_error_is_one_of_ours(tmp_path: Path) -> None:
    """An unreadable file given with a SHA-256."""
    with pytest.raises(EdgeEffnetError):
        Classifier(tmp_path / "none.tflite", sha256="00")
    if os.geteuid():
        (tmp_path / "m").write_bytes(b"x")
        (tmp_path / "m").chmod(0)
        with pytest.raises(EdgeEffnetError):
            Classifier(tmp_path / "m", sha256="00")


@pytest.mark.onnx
def test_onnx_files_of_other_operators_are_tried(tmp_path: Path) -> None:
    from edge_effnet.formats import read_model_file

    assert not read_model_file(foreign.onnx(tmp_path / "m.onnx")).understood
