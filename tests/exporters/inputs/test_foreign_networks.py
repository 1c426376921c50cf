"""Float ONNX and TFLite files of other makers, against what their own frameworks give for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import golden_files
from support.golden import make_state
from support.networks import export_narrow, narrow_state

from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.exporters import export
from edge_effnet.exporters.inputs.onnx import network_of_onnx
from edge_effnet.exporters.inputs.open import open_network
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.tflite import network_of_tflite
from edge_effnet.exporters.order import order_channels
from edge_effnet.network.execute import execute
from edge_effnet.network.records import Network


def network_of(path: Path) -> Network:
    reader = network_of_tflite if path.suffix == ".tflite" else network_of_onnx
    return reader(path, InputOptions())


@pytest.mark.parametrize("name", golden_files.names("onnx"))
def test_onnx_of_torch(name: str, tmp_path: Path) -> None:
    path, case = golden_files.unpacked("onnx", name, tmp_path)
    network = network_of(path)
    logits = execute(network.graph, golden_files.seeded_input(case["seed"], case["image_size"]))
    assert golden_files.logit_error(logits, case["logits"]) < 1
    assert network.head.kind == "softmax"
    assert network.output_size == case["num_classes"]


@pytest.mark.parametrize("name", golden_files.names("tflite"))
def test_files_of_tensorflow_converters(name: str, tmp_path: Path) -> None:
    path, case = golden_files.unpacked("tflite", name, tmp_path)
    network = network_of(path)
    photo = golden_files.image(case["seed"], case["image_size"])
    logits = execute(network.graph, network.preprocessing.normalise(photo)[None])
    if "fp16" not in name:  # its weights were rounded after the logits were computed
        assert golden_files.logit_error(logits, case["logits"]) < 1
    assert np.abs(golden_files.probabilities(logits) - case["outputs"]).max() < 1e-4


def test_the_normalisation_inside_becomes_the_preprocessing(tmp_path: Path) -> None:
    path, _ = golden_files.unpacked("tflite", "EfficientNetB0-nested-imagenet-augment-tiny-64-s302.tflite", tmp_path)
    preprocessing = network_of(path).preprocessing
    assert (preprocessing.mean, preprocessing.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(("source", "variant"), [("timm", "b0"), ("timm-tf", "lite0")])
@pytest.mark.parametrize("ending", ["onnx", "tflite"])
def test_a_network_that_comes_back_is_the_same(source: str, variant: str, ending: str, tmp_path: Path) -> None:
    """By whatever road: the same nodes under the same names, the same weights, labels and preparation."""
    state = make_state(source, variant, classes=3)
    direct = open_network(state, InputOptions(source=source, image_size=(64, 64)))
    path = tmp_path / f"m.{ending}"
    export(state, path, source=source, image_size=64, labels=("a", "b", "c"))
    back = open_network(path, InputOptions())
    assert (back.architecture, back.labels, back.preprocessing) == (variant, ("a", "b", "c"), direct.preprocessing)
    for one, other in zip(order_channels(direct.graph).nodes, order_channels(back.graph).nodes, strict=True):
        assert (one.name, one.inputs, type(one)) == (other.name, other.inputs, type(other))
        for field in ("weight", "bias", "padding", "stride", "activation", "kind"):
            np.testing.assert_array_equal(getattr(one, field, None), getattr(other, field, None))


def test_a_quantized_file_is_told_what_to_bring(tmp_path: Path) -> None:
    path = tmp_path / "int8.tflite"
    path.write_bytes(BUNDLED_MODEL.read_bytes())
    with pytest.raises(UsageError, match=r"quantized already.*bring the float network"):
        open_network(path, InputOptions())


def test_weights_beside_an_onnx_file_are_found_in_its_folder_alone(tmp_path: Path) -> None:
    name = "timm-b0-external-dynamo-s402.onnx"
    path, _ = golden_files.unpacked("onnx", name, tmp_path)
    data = tmp_path / f"{name}.data"
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(ModelFileError, match="isn't beside the model"):
        open_network(path, InputOptions())
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelFileError, match="is a link"):
        open_network(path, InputOptions())
    content = path.read_bytes()
    path.write_bytes(content.replace(f"{name}.data".encode(), b"../" + b"x" * (len(name) + 2)))
    with pytest.raises(ModelFileError, match="model's own folder"):
        open_network(path, InputOptions())


@pytest.mark.onnx
def test_of_several_outputs_the_first_is_taken_and_said(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    export_narrow(narrow_state("b0"), "b0", tmp_path / "one.onnx", verification="none")
    model = onnx.load(tmp_path / "one.onnx")
    del model.metadata_props[:]
    features = model.graph.node[-2].output[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(features, onnx.TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "two.onnx")
    one, two = (network_of(tmp_path / name) for name in ("one.onnx", "two.onnx"))
    assert one.output_size == two.output_size
    assert f"took the first of 2 outputs, 'logits', and left out {features!r}" in two.remarks
    assert not any("outputs" in remark for remark in one.remarks)
