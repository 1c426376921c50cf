"""What is true of every exported `.tflite`: one signature, aligned buffers inside the flatbuffer, metadata, size."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.golden import make_state

from edge_effnet.exporters import export
from edge_effnet.formats import TfliteFile, read_tflite

pytestmark = pytest.mark.litert
PRECISIONS = ("fp32", "fp16", "int8", "weight-int8")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, photo_folder: Path) -> dict[str, Path]:
    folder, state = tmp_path_factory.mktemp("b0"), make_state("timm", "b0", classes=1000)
    made = {precision: folder / f"{precision}.tflite" for precision in PRECISIONS}
    for precision, path in made.items():
        export(
            state,
            path,
            precision=precision,
            source="timm",
            image_size=64,
            calibration=photo_folder,
            calibration_images=2,
            refine=0.0,
        )  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_signature_with_the_contracts_names(files: dict[str, Path], precision: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(files[precision]))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["logits"]}}
    interpreter.allocate_tensors()
    (image,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (image["name"], image["dtype"], image["shape"].tolist()) == (
        "image",
        np.uint8 if precision == "int8" else np.float32,
        [1, 64, 64, 3],
    )
    assert (logits["name"], logits["dtype"], logits["shape"].tolist()) == ("logits", np.float32, [1, 1000])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_buffers_lie_aligned_inside_the_flatbuffer(files: dict[str, Path], precision: str) -> None:
    from ai_edge_litert import schema_py_generated as schema

    data = files[precision].read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        end = min(member.header_offset for member in archive.infolist())
    model = schema.Model.GetRootAsModel(data, 0)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    assert all(buffer.Offset() == 0 and buffer.Size() == 0 for buffer in buffers)
    starts = {
        buffer._tab.Vector(buffer._tab.Offset(4)): buffer.DataLength() for buffer in buffers if buffer.DataLength()
    }
    assert len(starts) > 100
    assert all(start % 16 == 0 for start in starts)
    assert all(start + length <= end for start, length in starts.items())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_xnnpack_takes_every_operator(files: dict[str, Path], precision: str) -> None:
    """One partition from image to logits: an operator left out would cut it in two, or feed it a tensor made
    outside.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(files[precision]), num_threads=1)
    interpreter.allocate_tensors()
    (partition,) = (step for step in interpreter._get_ops_details() if step["op_name"] == "DELEGATE")
    made = {index for step in interpreter._get_ops_details() for index in step["outputs"]}
    (image,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert list(partition["outputs"]) == [logits["index"]]
    assert image["index"] in partition["inputs"]
    assert not made & set(partition["inputs"])


def test_sizes(files: dict[str, Path]) -> None:
    """fp32: weights and at most 1 % more. fp16 keeps small layers in float32; int8 adds scales and operators."""
    weights = read_tflite(files["fp32"])
    state_bytes = 4 * (
        5_288_548 - 2 * 21_008
    )  # batch norm's scale and shift are one bias after folding: 21,008 channels
    assert weights.size_bytes <= 1.01 * state_bytes
    assert files["fp16"].stat().st_size <= 0.55 * weights.size_bytes
    assert files["int8"].stat().st_size <= 0.30 * weights.size_bytes
    assert files["weight-int8"].stat().st_size <= 0.29 * weights.size_bytes


def test_the_official_metadata(files: dict[str, Path]) -> None:
    """Identifier M001, found under the name that MediaPipe's clients look for; the label file is packed."""
    for precision, path in files.items():
        file = read_tflite(path)
        assert isinstance(file, TfliteFile)
        assert bytes(file.metadata["TFLITE_METADATA"][4:8]) == b"M001"
        floats = np.frombuffer(
            bytes(file.metadata["TFLITE_METADATA"])[: len(file.metadata["TFLITE_METADATA"]) // 4 * 4], "<f4"
        )
        wanted = (
            (0.0, 1.0)
            if precision == "int8"
            else tuple(np.float32(255 * value) for value in (0.485, 0.456, 0.406, 0.229, 0.224, 0.225))
        )
        assert all((floats == value).any() for value in wanted), precision


def test_labels_are_packed(exported: dict[tuple[str, str], Path]) -> None:
    for precision in ("fp32", "int8"):
        with zipfile.ZipFile(exported[precision, "tflite"]) as archive:
            assert sorted(archive.namelist()) == ["edge_effnet.json", "labels.txt"]
            assert archive.read("labels.txt").decode() == "cat\ndog\nKöln\n"
