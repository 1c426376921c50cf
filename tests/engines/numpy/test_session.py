"""Whole files: the numpy engine against LiteRT, and what a session promises."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from formats.conftest import SIZE, make_tflite
from formats.mutants import mutations

from edge_effnet import Classifier
from edge_effnet.cli import main
from edge_effnet.engines import open_session
from edge_effnet.engines.litert import LitertSession
from edge_effnet.engines.numpy import NumpySession, status
from edge_effnet.errors import EdgeEffnetError, EngineError, SlowEngineWarning
from engines.numpy.single import one_operator

pytestmark = pytest.mark.litert
PHOTOS = sorted((Path(__file__).parents[3] / "examples" / "photos").glob("*.jpg"))


@pytest.fixture(scope="module", params=["float32", "float16", "int8"])
def model_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / f"{request.param}.tflite"
    path.write_bytes(make_tflite(request.param))
    return path


def test_small_networks_with_every_kind_of_node(model_path: Path) -> None:
    """Stem, swish, depthwise, squeeze-excitation, residual sum: float32 differs by the order of its sums, int8 not at
    all.
    """
    ours, theirs = (
        NumpySession(model_path, 1, model_path.read_bytes()),
        LitertSession(model_path, 1, model_path.read_bytes()),
    )
    assert (ours.input, ours.output, ours.layout) == (theirs.input, theirs.output, theirs.layout)
    random = np.random.default_rng(1)
    for _ in range(10):
        image = random.integers(0, 256, (1, SIZE, SIZE, 3)).astype(np.uint8)
        tensor = image if ours.input.dtype == "uint8" else (image / 128 - 1).astype(np.float32)
        np.testing.assert_allclose(ours.run(tensor), theirs.run(tensor), rtol=1e-4, atol=1e-4)


def test_the_bundled_model_on_the_example_photos() -> None:
    with Classifier(engine="numpy", threads=1) as ours, Classifier(engine="litert", threads=1) as theirs:
        assert (ours.engine, ours.engine_version) == ("numpy", f"numpy {np.__version__}")
        for photo in PHOTOS:
            np.testing.assert_allclose(
                ours.logits(photo), theirs.logits(photo), atol=1e-4
            )  # integers equal, the classifier is float


def test_results_are_copies(model_path: Path) -> None:
    session = NumpySession(model_path, 1, model_path.read_bytes())
    first = session.run(np.zeros(session.input.shape, session.input.dtype))
    kept = first.copy()
    session.run(np.full(session.input.shape, 1, session.input.dtype))
    np.testing.assert_array_equal(first, kept)


def test_a_wrong_tensor_and_a_closed_session(model_path: Path) -> None:
    session = NumpySession(model_path, 1, model_path.read_bytes())
    with pytest.raises(EngineError, match=r"got float64\[1, 2\]; the model expects"):
        session.run(np.zeros((1, 2)))
    session.close()
    session.close()
    with pytest.raises(EngineError, match="closed"):
        session.run(np.zeros(session.input.shape, session.input.dtype))


@pytest.fixture
def no_litert(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in ("ai_edge_litert", "tflite_runtime") else found(name, *rest),
    )


@pytest.mark.usefixtures("no_litert")
def test_auto_is_left_with_numpy(model_path: Path) -> None:
    with pytest.warns(
        SlowEngineWarning,
        match="no inference engine is installed, so numpy runs the model; LiteRT runs int8 files 7 to 8",
    ):
        session = open_session(model_path, file_format="tflite", threads=1)
    assert session.engine == "numpy"


@pytest.mark.usefixtures("no_litert")
def test_the_command_line_remarks_it_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", *(str(photo) for photo in PHOTOS[:2]), "--top-k", "1"]) == 0
    remarks = [line for line in capfd.readouterr().err.splitlines() if "numpy runs the model" in line]
    assert len(remarks) == 1
    assert remarks[0].startswith("edge-effnet: no inference engine is installed")


def test_numpy_by_name_needs_no_remark(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(PHOTOS[0]), "--engine", "numpy", "--format", "json"]) == 0
    output = capfd.readouterr()
    assert json.loads(output.out)[0]["engine"] == "numpy"
    assert "numpy runs" not in output.err


def test_auto_prefers_litert(model_path: Path) -> None:
    assert open_session(model_path, file_format="tflite", threads=1).engine == "litert"


def test_status() -> None:
    assert status().version == np.__version__


def test_numpy_alone_is_imported() -> None:
    """Nothing but numpy and the standard library: what boards without wheels have."""
    code = (
        "import sys, edge_effnet.engines.numpy; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'PIL', 'ai_edge_litert', 'flatbuffers', "
        "'onnx', 'torch', 'scipy'}))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_damaged_files_end_in_an_error_of_ours(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "damaged.tflite"
    outcomes = set()
    for data in mutations(make_tflite(kind), 400, seed=9):
        path.write_bytes(data)
        try:
            session = NumpySession(path, 1, path.read_bytes())
            session.run(np.zeros(session.input.shape, session.input.dtype))
        except EdgeEffnetError as error:
            outcomes.add(type(error).__name__)
    assert outcomes == {"ModelFileError", "EngineError"}


def test_files_of_several_inputs_are_refused(tmp_path: Path) -> None:
    arrays = [np.zeros((1, 4), np.float32)] * 2
    path = tmp_path / "two.tflite"
    path.write_bytes(
        one_operator(
            "ADD", [(array, None) for array in arrays], ((1, 4), "float32", None), options=schema.AddOptionsT()
        )
    )
    with pytest.raises(EngineError, match="has 2 inputs and 1 outputs; expected one image input and one output"):
        NumpySession(path, 1, path.read_bytes())
