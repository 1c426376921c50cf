"""Model files of other makers run when their shape allows, with the preprocessing the caller gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import foreign, golden_files

from edge_effnet import Classifier, Preprocessing
from edge_effnet.errors import EngineError, ModelFileError

pytestmark = [
    pytest.mark.litert,
    pytest.mark.onnx,
    pytest.mark.filterwarnings("ignore::edge_effnet.errors.UnverifiedModelWarning"),
]

HALF = Preprocessing(foreign.SIZE, foreign.SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
COLOUR = (255, 51, 102)
PHOTO = Image.new("RGB", (20, 30), COLOUR)
#: What the weights make of the normalised colour.
LOGITS = foreign.WEIGHTS @ (np.array(COLOUR) / 127.5 - 1)


def scores(values: Any) -> Any:
    return np.exp(values) / np.exp(values).sum()


def open_foreign(path: Path, preprocessing: Preprocessing = HALF, **options: Any) -> Classifier:
    return Classifier(path, threads=1, preprocessing=preprocessing, **options)


@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_float_files(tmp_path: Path, ending: str) -> None:
    path = getattr(foreign, ending)(tmp_path / f"m.{ending}")
    with open_foreign(path, labels=["r", "g", "b"]) as classifier:
        np.testing.assert_allclose(classifier.logits(PHOTO), LOGITS, atol=1e-5)
        np.testing.assert_allclose(classifier.scores(PHOTO), scores(LOGITS), atol=1e-5)
        assert classifier.metadata is None
        assert classifier.predict(PHOTO, top_k=1)[0].label == "r"


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_integers_at_both_ends(tmp_path: Path, dtype: str) -> None:
    """The input is put to the file's own scale, the output taken from it: 1/16 a step."""
    with open_foreign(foreign.tflite(tmp_path / "m.tflite", dtype=dtype)) as classifier:
        np.testing.assert_allclose(classifier.logits(PHOTO), LOGITS, atol=2 * foreign.OUTPUT_SCALE)


@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_a_softmax_at_the_end_is_not_taken_twice(tmp_path: Path, ending: str) -> None:
    path = getattr(foreign, ending)(tmp_path / f"m.{ending}", softmax=True)
    with open_foreign(path) as classifier:
        np.testing.assert_allclose(classifier.scores(PHOTO), scores(LOGITS), atol=1e-5)
        assert [found.label for found in classifier.predict(PHOTO, top_k=1)] == ["class 0"]


def test_onnx_in_nhwc(tmp_path: Path) -> None:
    with open_foreign(foreign.onnx(tmp_path / "m.onnx", layout="nhwc")) as classifier:
        np.testing.assert_allclose(classifier.logits(PHOTO), LOGITS, atol=1e-5)


def test_onnx_that_takes_raw_pixels(tmp_path: Path) -> None:
    """uint8 without a scale can only mean 0..255."""
    with open_foreign(foreign.onnx(tmp_path / "m.onnx", uint8=True)) as classifier:
        np.testing.assert_allclose(classifier.logits(PHOTO), foreign.WEIGHTS @ np.array(COLOUR), rtol=1e-5)


def test_a_network_that_wants_bgr(tmp_path: Path) -> None:
    bgr = Preprocessing(foreign.SIZE, foreign.SIZE, mean=HALF.mean, std=HALF.std, channels="bgr")
    with open_foreign(foreign.tflite(tmp_path / "m.tflite"), bgr) as classifier:
        np.testing.assert_allclose(
            classifier.logits(PHOTO), foreign.WEIGHTS @ (np.array(COLOUR[::-1]) / 127.5 - 1), atol=1e-5
        )


def test_preprocessing_must_be_said(tmp_path: Path) -> None:
    path = foreign.tflite(tmp_path / "m.tflite")
    with pytest.raises(
        ModelFileError,
        match=r"made by another tool, and doesn't say how to prepare photos; say it: --input-range 0\.\.255 where",
    ):
        Classifier(path)


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    for path, shape in (
        (foreign.tflite(tmp_path / "m.tflite"), r"\[1, 9, 9, 3\]"),
        (foreign.onnx(tmp_path / "m.onnx"), r"\[1, 3, 9, 9\]"),
    ):
        with pytest.raises(
            ModelFileError, match=rf"its input is \[.*\]; expected {shape}, from the preprocessing's 9×9 rgb"
        ):
            open_foreign(path, Preprocessing(9, 9))
    with pytest.raises(
        ModelFileError, match=r"its output is \[1, 1\]; expected one score for each of at least 2 classes"
    ):
        open_foreign(foreign.tflite(tmp_path / "one.tflite", weights=foreign.WEIGHTS[:1]))


def of_any_size(path: Path) -> Path:
    """The same file with free sides, as TensorFlow's converter and torch leave them."""
    if path.suffix == ".onnx":
        import onnx

        model = onnx.load(path)
        for place in (2, 3):
            model.graph.input[0].type.tensor_type.shape.dim[place].dim_param = "side"
        onnx.save(model, path)
        return path
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    made = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    image = made.subgraphs[0].tensors[made.subgraphs[0].inputs[0]]
    image.shape, image.shapeSignature = [1, 1, 1, 3], [-1, -1, -1, 3]
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_images_of_any_size(tmp_path: Path, ending: str) -> None:
    """It says what makes a file of one size of it."""
    path = of_any_size(getattr(foreign, ending)(tmp_path / f"m.{ending}"))
    for said in ({}, {"preprocessing": HALF}):
        with pytest.raises(
            ModelFileError,
            match=rf"m\.{ending}: takes images of any size \(.*any.*\); expected one that is fixed.* export .*m\.{ending} "
            rf"--image-size N -o OUT\.{ending}",
        ):
            Classifier(path, **said)


def test_several_inputs_or_outputs(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="has 2 inputs; expected one image input"):
        open_foreign(foreign.tflite(tmp_path / "m.tflite", inputs=2))
    with pytest.raises(EngineError, match="has 2 outputs; expected one image output"):
        open_foreign(foreign.onnx(tmp_path / "m.onnx", outputs=2))


def test_an_input_of_another_type(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"its input is tensor\(double\); expected tensor\(float\)"):
        open_foreign(foreign.onnx(tmp_path / "m.onnx", kind="DOUBLE"))


def test_results_that_are_not_finite(tmp_path: Path) -> None:
    weights = foreign.WEIGHTS.copy()
    weights[1, 1] = np.nan
    with (
        open_foreign(foreign.tflite(tmp_path / "m.tflite", weights=weights)) as classifier,
        pytest.raises(
            EngineError, match="gave NaN or infinite logits; the file is broken or its weights have diverged"
        ),
    ):
        classifier.predict(PHOTO)


@pytest.mark.parametrize("engine", ["litert", "numpy"])
@pytest.mark.parametrize("name", [name for name in golden_files.names("tflite") if name.endswith(".tflite")])
def test_files_of_tensorflow_s_converter_run_as_they_are(tmp_path: Path, name: str, engine: str) -> None:
    """Float and fp16, a free batch, shapes computed around squeeze-excitation, a softmax at the end; 0..255 in."""
    path, case = golden_files.unpacked("tflite", name, tmp_path)
    raw = Preprocessing(64, 64, mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255))
    photo = golden_files.image(case["seed"], case["image_size"])
    with open_foreign(path, raw, engine=engine) as classifier:
        assert np.abs(classifier.scores(photo) - case["outputs"]).max() < 1e-4


@pytest.mark.parametrize("name", [name for name in golden_files.names("tflite") if name.endswith(".onnx")])
def test_files_of_tf2onnx_run_as_they_are(tmp_path: Path, name: str) -> None:
    path, case = golden_files.unpacked("tflite", name, tmp_path)
    raw = Preprocessing(64, 64, mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255))
    photo = golden_files.image(case["seed"], case["image_size"])
    with open_foreign(path, raw) as classifier:
        assert np.abs(classifier.scores(photo) - case["outputs"]).max() < 1e-4
