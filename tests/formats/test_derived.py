"""Files derived from files: written anew, with further outputs, with another last layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.photos import synthetic_photo

from edge_effnet import Classifier
from edge_effnet.engines import open_session
from edge_effnet.errors import EngineError, ModelFileError
from edge_effnet.formats import read_model_file, read_tflite
from edge_effnet.formats.dense import DenseHead
from edge_effnet.formats.derived import feature_tensor, head_of, map_tensor, with_head
from edge_effnet.formats.inner import with_inner
from edge_effnet.formats.official import OFFICIAL
from edge_effnet.formats.tflite_writer import written_tflite

Exported = dict[tuple[str, str], Path]
pytestmark = pytest.mark.litert
ENGINES = ("litert", "numpy")


def plain(file: Any) -> Any:
    tensors = [
        (one.name, one.shape, one.dtype, one.signature, one.scales.tolist(), one.zero_points.tolist(), one.data)
        for one in file.tensors
    ]
    return tensors, file.operators, file.inputs, file.outputs, file.description, dict(file.metadata)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_records_are_written_as_they_were_read(exported: Exported, precision: str) -> None:
    file = read_tflite(exported[precision, "tflite"])
    again = written_tflite(file)
    assert plain(read_tflite(again)) == plain(file)
    assert written_tflite(read_tflite(again)) == again


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_file_written_anew_computes_the_same(exported: Exported, engine: str, precision: str) -> None:
    path = exported[precision, "tflite"]
    content = written_tflite(read_tflite(path))
    old, new = (
        open_session(path, file_format="tflite", engine=engine, threads=1, content=data)
        for data in (path.read_bytes(), content)
    )
    noise = np.random.default_rng(0).integers(0, 255, old.input.shape).astype(old.input.dtype)
    np.testing.assert_array_equal(old.run(noise), new.run(noise))


@pytest.mark.parametrize("engine", ENGINES)
def test_inner_tensors_cost_the_output_nothing(exported: Exported, engine: str) -> None:
    path = exported["int8", "tflite"]
    file = read_tflite(path)
    names = (feature_tensor(file).name, map_tensor(file))
    plain_session = open_session(path, file_format="tflite", engine=engine, threads=1)
    session = open_session(path, file_format="tflite", engine=engine, threads=1, inner=names)
    noise = np.random.default_rng(0).integers(0, 255, session.input.shape).astype(session.input.dtype)
    logits, pooled, feature_map = session.run_all(noise)
    np.testing.assert_array_equal(plain_session.run(noise), logits)
    np.testing.assert_allclose(feature_map.astype(np.float64).mean(axis=(1, 2)), pooled, rtol=1e-5, atol=1e-6)
    head = head_of(file)
    assert head is not None
    np.testing.assert_allclose(head.logits(pooled), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.onnx
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_features_of_onnx(exported: Exported, precision: str) -> None:
    """Those of the .tflite file, as near as the two files are."""
    photo = synthetic_photo(0)
    with Classifier(exported[precision, "onnx"]) as one, Classifier(exported[precision, "tflite"]) as other:
        logits = one.logits(photo)
        found, expected = one.features(photo), other.features(photo)
        np.testing.assert_array_equal(one.logits(photo), logits)
    assert found.shape == expected.shape
    cosine = float(found @ expected) / float(np.linalg.norm(found) * np.linalg.norm(expected))
    assert cosine > (0.99999 if precision == "fp32" else 0.98)


@pytest.mark.onnx
def test_onnx_networks_that_end_otherwise(exported: Exported) -> None:
    file: Any = read_model_file(exported["fp32", "onnx"])
    with pytest.raises(ModelFileError, match="its output isn't made by a dense layer"):
        feature_tensor(replace(file, nodes=file.nodes[:-1]))


def test_a_tensor_that_is_not_there(exported: Exported) -> None:
    with pytest.raises(ModelFileError, match="m: has no tensor 'nothing'"):
        with_inner(exported["int8", "tflite"].read_bytes(), ["nothing"], name="m")


@pytest.mark.parametrize("engine", ENGINES)
def test_two_outputs_on_disk_stay_refused(exported: Exported, engine: str) -> None:
    path = exported["int8", "tflite"]
    content = with_inner(path.read_bytes(), [feature_tensor(read_tflite(path)).name], name="m")
    with pytest.raises(EngineError, match="2 outputs; expected one"):
        open_session(path, file_format="tflite", engine=engine, threads=1, content=content)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_another_last_layer(exported: Exported, tmp_path: Path, precision: str) -> None:
    file = read_tflite(exported[precision, "tflite"])
    assert file.document is not None
    size = feature_tensor(file).size
    random = np.random.default_rng(1)
    head = DenseHead(random.standard_normal((7, size)).astype(np.float32), random.standard_normal(7).astype(np.float32))
    document = replace(file.document, num_classes=7, labels=tuple("abcdefg"))
    data = with_head(file, head, document, packed={"more.bin": b"more"})
    assert data == with_head(file, head, document, packed={"more.bin": b"more"})
    (tmp_path / "m.tflite").write_bytes(data)
    made = read_tflite(data)
    assert made.packed["more.bin"] == b"more"
    assert b"labels.txt" in bytes(made.metadata[OFFICIAL])
    with Classifier(exported[precision, "tflite"]) as base, Classifier(tmp_path / "m.tflite") as classifier:
        photo = synthetic_photo(0)
        expected = head.logits(base.features(photo)[None])[0]
        found = classifier.logits(photo)
        np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
        np.testing.assert_array_equal(classifier.features(photo), base.features(photo))


def test_networks_that_end_otherwise(exported: Exported) -> None:
    file = read_tflite(exported["fp32", "tflite"])
    cut = replace(file, operators=file.operators[:-1], outputs=file.operators[-2].outputs, document=None)
    for ask in (feature_tensor, map_tensor, head_of):
        if ask is head_of:
            assert head_of(cut) is None
        else:
            with pytest.raises(ModelFileError, match="its output isn't made by a dense layer"):
                ask(cut)


def test_operators_that_cannot_be_written_anew(exported: Exported) -> None:
    file = read_tflite(exported["fp32", "tflite"])
    odd = replace(file.operators[0], code="BUILTIN_99")
    with pytest.raises(ModelFileError, match="BUILTIN_99 can't be written anew; expected the operators of our files"):
        written_tflite(replace(file, operators=(odd, *file.operators[1:])))
