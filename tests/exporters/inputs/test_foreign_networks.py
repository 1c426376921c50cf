"""Float ONNX and TFLite files of other makers, against what their own frameworks give for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import golden_files

from edge_effnet.exporters.inputs.onnx import network_of_onnx
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.tflite import network_of_tflite
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
