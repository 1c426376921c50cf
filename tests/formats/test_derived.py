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
from edge_effnet.formats.derived import dense_maps, feature_tensor, head_of, inner_maps, with_head
from edge_effnet.formats.inner import with_inner
from edge_effnet.formats.official import OFFICIAL
from edge_effnet.formats.tflite_writer import written_tflite
from edge_effnet.heads import Head
from edge_effnet.numerics import softmax

Exported = dict[tuple[str, str], Path]
pytestmark = pytest.mark.litert
ENGINES = ("litert", "numpy")


@pytest.fixture(scope="module")
def lasts(exported: Exported, lite0_state: Any, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """(precision, ending) → a file, of all precisions."""
    from edge_effnet.exporters import export

    folder = tmp_path_factory.mktemp("lasts")
    made = dict(exported)
    for precision in ("fp16", "weight-int8"):
        for ending in ("tflite", "onnx"):
            made[precision, ending] = folder / f"{precision}.{ending}"
            options: dict[str, Any] = {"precision": precision, "source": "timm-tf", "image_size": 64}
            export(lite0_state, made[precision, ending], **options)
    return made


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
    names = (feature_tensor(file).name, dense_maps(file)[0].name)
    plain_session = open_session(path, file_format="tflite", engine=engine, threads=1)
    session = open_session(path, file_format="tflite", engine=engine, threads=1, inner=names)
    noise = np.random.default_rng(0).integers(0, 255, session.input.shape).astype(session.input.dtype)
    logits, pooled, last_map = session.run_all(noise)
    np.testing.assert_array_equal(plain_session.run(noise), logits)
    np.testing.assert_allclose(last_map.astype(np.float64).mean(axis=(1, 2)), pooled, rtol=1e-5, atol=1e-6)
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
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_map_and_the_last_layer_of_onnx(exported: Exported, precision: str) -> None:
    file = read_model_file(exported[precision, "onnx"])
    (found,), head = dense_maps(file), head_of(file)
    assert found.layout == "CHW"
    assert head is not None
    with Classifier(exported[precision, "onnx"]) as classifier:
        photo = synthetic_photo(0)
        logits, values = classifier.inner(photo, (found.name,))
        assert found.positions(values[0]).shape == (2, 2, found.size)
        mean = found.mean(values[0])
        np.testing.assert_allclose(mean, classifier.features(photo), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(head.logits(mean[None]), logits, rtol=1e-4, atol=1e-3)


@pytest.mark.onnx
def test_onnx_networks_that_end_otherwise(exported: Exported) -> None:
    file: Any = read_model_file(exported["fp32", "onnx"])
    with pytest.raises(ModelFileError, match="its output isn't made by a dense layer"):
        feature_tensor(replace(file, nodes=file.nodes[:-1]))
    with pytest.raises(ModelFileError, match="its features aren't the mean of a feature map"):
        dense_maps(replace(file, nodes=[node for node in file.nodes if node.op_type != "GlobalAveragePool"]))
    with pytest.raises(
        ModelFileError, match=r"'logits/weight' are no weights of two sides or more; expected \[C, D, …\]"
    ):
        feature_tensor(replace(file, initializers=()))
    numbers = [replace(item, raw=None) for item in file.initializers]
    with pytest.raises(ModelFileError, match="'logits/weight' of its last dense layer is float32, or not as raw_data"):
        head_of(replace(file, initializers=numbers))


@pytest.mark.onnx
def test_files_that_travel_in_an_onnx_file(exported: Exported) -> None:
    """They don't pile up when a file is derived again, and damage to them is said."""
    file: Any = read_model_file(exported["fp32", "onnx"])
    head = head_of(file)
    assert head is not None
    data = with_head(file, head, file.document, packed={"a.bin": b"\x00\xff", "b": b""})
    again: Any = read_model_file(data)
    assert dict(again.packed) == {"a.bin": b"\x00\xff", "b": b""}
    assert read_model_file(with_head(again, head, file.document)).packed == {}
    broken = replace(again, metadata_props={"edge_effnet/a.bin": "é*"})
    with pytest.raises(ModelFileError, match=r"its metadata 'edge_effnet/a\.bin' is no base64"):
        broken.packed  # noqa: B018
    for properties in ({f"edge_effnet/{index}": "" for index in range(17)}, {"edge_effnet/a": "A" * (12 << 20)}):
        with pytest.raises(ModelFileError, match=r"packed files of .* bytes together; at most 16 of 8388608 are read"):
            replace(again, metadata_props=properties).packed  # noqa: B018


def test_a_tensor_that_is_not_there(exported: Exported) -> None:
    with pytest.raises(ModelFileError, match="m: has no tensor 'nothing'"):
        with_inner(exported["int8", "tflite"].read_bytes(), ["nothing"], name="m")


@pytest.mark.parametrize("engine", ENGINES)
def test_two_outputs_on_disk_stay_refused(exported: Exported, engine: str) -> None:
    path = exported["int8", "tflite"]
    content = with_inner(path.read_bytes(), [feature_tensor(read_tflite(path)).name], name="m")
    with pytest.raises(EngineError, match="2 outputs; expected one"):
        open_session(path, file_format="tflite", engine=engine, threads=1, content=content)


@pytest.mark.parametrize("ending", ["tflite", pytest.param("onnx", marks=pytest.mark.onnx)])
@pytest.mark.parametrize("output", ["logits", "probabilities"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "weight-int8", "int8"])
def test_another_last_layer(precision: Any, output: Any, ending: str, lasts: Exported, tmp_path: Path) -> None:
    file = read_model_file(lasts[precision, ending])
    assert file.document is not None
    size = feature_tensor(file).size
    random = np.random.default_rng(1)
    head = DenseHead(
        random.standard_normal((7, size)).astype(np.float32) / 40, random.standard_normal(7).astype(np.float32)
    )
    document = replace(file.document, num_classes=7, labels=tuple("abcdefg"), head=Head("softmax", output))
    data = with_head(file, head, document, packed={"more.bin": b"more"})
    assert data == with_head(file, head, document, packed={"more.bin": b"more"})
    path = tmp_path / f"m.{ending}"
    path.write_bytes(data)
    made: Any = read_model_file(data)
    assert made.packed["more.bin"] == b"more"
    if ending == "tflite":
        assert b"labels.txt" in bytes(made.metadata[OFFICIAL])
    else:
        import onnx

        onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    again = head_of(made)
    assert again is not None
    np.testing.assert_allclose(again.weights, head.weights, atol=0 if precision == "fp32" else 2e-3)
    with Classifier(lasts[precision, ending]) as base, Classifier(path) as classifier:
        photo = synthetic_photo(0)
        logits = again.logits(base.features(photo)[None])[0]
        values = classifier.outputs_of(photo, "rgb", None)[0].reshape(-1)
        np.testing.assert_allclose(values, softmax(logits) if output == "probabilities" else logits, atol=1e-3)
        np.testing.assert_allclose(classifier.scores(photo), softmax(logits), atol=1e-3)
        np.testing.assert_array_equal(classifier.features(photo), base.features(photo))


@pytest.mark.parametrize("ending", ["tflite", pytest.param("onnx", marks=pytest.mark.onnx)])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "weight-int8", "int8"])
def test_a_last_layer_that_reads_maps_inside_the_network(
    precision: Any, ending: str, lasts: Exported, tmp_path: Path
) -> None:
    file = read_model_file(lasts[precision, ending])
    assert file.document is not None
    maps = inner_maps(file)
    assert [found.size for found in maps] == [1152, 672]
    sizes = [feature_tensor(file).size, *(found.size for found in maps)]
    random = np.random.default_rng(2)
    head = DenseHead(random.standard_normal((3, sum(sizes))).astype(np.float32) / 40, np.zeros(3, np.float32))
    data = with_head(file, head, file.document, maps=maps)
    path = tmp_path / f"m.{ending}"
    path.write_bytes(data)
    made = read_model_file(path)
    assert feature_tensor(made) == feature_tensor(file)
    assert [found.size for found in dense_maps(made)] == sizes
    assert inner_maps(made) == maps
    again = head_of(made)
    assert again is not None
    assert with_head(made, again, file.document, maps=maps) == data, "derived from it, not piled up"
    photo = synthetic_photo(0)
    with Classifier(lasts[precision, ending]) as base, Classifier(path) as classifier:
        _, *values = base.inner(photo, tuple(found.name for found in maps))
        means = [found.mean(value[0]) for found, value in zip(maps, values, strict=True)]
        row = np.concatenate([base.features(photo), *means])
        np.testing.assert_allclose(classifier.logits(photo), again.logits(row[None])[0], atol=1e-3)
        np.testing.assert_array_equal(classifier.features(photo), base.features(photo))
    if ending == "tflite":
        with Classifier(path, engine="numpy") as classifier:
            np.testing.assert_allclose(classifier.logits(photo), again.logits(row[None])[0], atol=1e-2)


def test_networks_that_end_otherwise(exported: Exported) -> None:
    file = read_tflite(exported["fp32", "tflite"])
    cut = replace(file, operators=file.operators[:-1], outputs=file.operators[-2].outputs, document=None)
    for ask in (feature_tensor, dense_maps, head_of):
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
