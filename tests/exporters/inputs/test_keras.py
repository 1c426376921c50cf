"""Keras files, against what Keras gives for the models that were saved."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import golden_files, keras_files

from edge_effnet.errors import CheckpointError, OperatorError, UsageError
from edge_effnet.exporters.inputs.assembly.finish import finished
from edge_effnet.exporters.inputs.assembly.operands import head_of
from edge_effnet.exporters.inputs.keras import network_of_keras, rehearsal
from edge_effnet.exporters.inputs.keras.archive import opened
from edge_effnet.exporters.inputs.keras.network import assembled
from edge_effnet.exporters.inputs.keras.weights_alone import assembled_from_weights
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.network.execute import execute

h5py = pytest.importorskip("h5py")
SIZE = InputOptions(image_size=(64, 64))
#: Full-size files for every run of the tests; all of them are slow.
QUICK = {
    ("EfficientNetB0-nested-flatten-128-s109", ".keras"),
    ("EfficientNetB0-nested-anysize-225-s106", ".weights.h5"),
}
#: What weights alone don't say is asked for: the activation between dense layers, and the size of a nested base where it
#: matters. What is asked, and the answer.
UNSAID: dict[str, tuple[str, dict[str, Any]]] = {
    "hidden": ("the activation between them", {"head_activation": "relu"}),
    "anysize-225": ("built for 225×225 or for any size", {"padding_size": 224}),
    "sigmoid-200": ("built for 200×200 or for any size", {"padding_size": 200}),
    "augment-300": ("built for 300×300 or for any size", {"padding_size": 300}),
}
SMALL = [
    (case, name)
    for case in golden_files.names("kerasfiles")
    for name in json.loads((golden_files.FOLDER / "kerasfiles" / f"{case}.json").read_text(encoding="utf-8"))["files"]
]
FULL = [
    pytest.param(name, ending, marks=() if (name, ending) in QUICK else pytest.mark.slow)
    for name in golden_files.names("keras")
    for ending in (".keras", ".h5", ".weights.h5")
]


@pytest.fixture(autouse=True)
def _in_this_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound files need no process of their own first."""
    if "first_reading" not in request.node.name:
        monkeypatch.setattr("edge_effnet.exporters.inputs.keras.network.rehearse", lambda *_: None)


def error_of(path: Path, case: dict[str, Any], **said: Any) -> float:
    """The logits' error, in tolerances. Graphs of images that aren't square are run without a preprocessing."""
    height, width, _ = case["image_size"]
    photo = golden_files.image(case["seed"], case["image_size"])
    options = InputOptions(image_size=(height, width), **said)
    if height == width:
        network = network_of_keras(path, options)
        return golden_files.logit_error(
            execute(network.graph, network.preprocessing.normalise(photo)[None]), case["logits"]
        )
    with opened(path) as file:
        if file.config is None:
            assembler, image, output, _ = assembled_from_weights(file, options)
        else:
            assembler, image, output = assembled(file, options.image_size, str(path))
        graph = finished(assembler, image, head_of(assembler, output)[0])
    scale, shift = assembler.normalisation or (np.ones(3), np.zeros(3))
    return golden_files.logit_error(execute(graph, (photo * scale + shift).astype(np.float32)[None]), case["logits"])


@pytest.mark.parametrize(("case", "name"), SMALL)
def test_small_files_of_both_keras(case: str, name: str, tmp_path: Path) -> None:
    golden_files.unpacked("kerasfiles", case, tmp_path)
    known = json.loads((golden_files.FOLDER / "kerasfiles" / f"{case}.json").read_text(encoding="utf-8"))
    assert error_of(tmp_path / name, known) < 1


@pytest.mark.parametrize(("name", "ending"), FULL)
def test_full_size_files(name: str, ending: str, tmp_path: Path) -> None:
    path, case = keras_files.rebuilt(name, ending, tmp_path)
    question, answer = next((said for what, said in UNSAID.items() if what in name), ("", {}))
    if ending != ".weights.h5" or not question:
        assert error_of(path, case) < 1
        return
    with pytest.raises(UsageError, match=question):
        error_of(path, case)
    assert error_of(path, case, **answer) < 1


def test_a_first_reading_that_crashes_or_never_ends(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5's library does both on damaged files (`benchmarks.fuzz.graphs`, input-h5/198 of campaign 3)."""
    rehearsal.rehearse(small, (64, 64))
    monkeypatch.setattr(rehearsal, "_CODE", "import os; os.abort()")
    with pytest.raises(CheckpointError, match=r"HDF5's library crashed \(status .*\) on reading it"):
        rehearsal.rehearse(small, None)
    monkeypatch.setattr(rehearsal, "_CODE", "import time; time.sleep(60)")
    with pytest.raises(CheckpointError, match=r"reading it didn't end within 0\.2 s; the file is damaged"):
        rehearsal.rehearse(small, None, timeout_s=0.2)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    case, name = next(pair for pair in SMALL if pair[1].startswith("keras3") and pair[1].endswith(".h5"))
    golden_files.unpacked("kerasfiles", case, tmp_path)
    return tmp_path / name


def _edited(path: Path, change: Any) -> None:
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config["config"]["layers"])
        file.attrs["model_config"] = json.dumps(config)


def test_the_normalisation_inside_and_the_head_are_read(small: Path) -> None:
    network = network_of_keras(small, InputOptions())
    assert (network.preprocessing.mean, network.preprocessing.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert network.head.kind == "softmax"
    found = network.preprocessing
    assert (found.mode, found.resizer, found.interpolation) == ("squash", "tensorflow", "bilinear")


def test_a_lambda_is_refused_by_name(small: Path) -> None:
    def change(layers: list[dict[str, Any]]) -> None:
        layers[-2]["class_name"] = "Lambda"

    _edited(small, change)
    with pytest.raises(OperatorError, match=r"Lambda.*isn't run"):
        network_of_keras(small, InputOptions())


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("Conv2D", "filters", 7),
        ("Conv2D", "kernel_size", [5, 3]),
        ("DepthwiseConv2D", "kernel_size", 9),
        ("Dense", "units", 8),
    ],
)
def test_a_configuration_that_contradicts_its_weights(small: Path, kind: str, key: str, value: Any) -> None:
    def change(layers: list[dict[str, Any]]) -> None:
        for layer in layers:
            change(layer["config"].get("layers", []))
            if layer["class_name"] == kind:
                layer["config"][key] = value

    _edited(small, change)
    message = rf"has {key} {re.escape(str(value))} in its configuration, and weights of .*; expected those of one model"
    with pytest.raises(CheckpointError, match=message):
        network_of_keras(small, InputOptions())


def test_a_link_to_another_file_is_not_followed(small: Path) -> None:
    with h5py.File(small, "r+") as file:
        name = next(iter(file["model_weights"]))
        del file["model_weights"][name]
        for layer in list(file["model_weights"]):
            del file["model_weights"][layer]
            file["model_weights"][layer] = h5py.ExternalLink("elsewhere.h5", "/x")
    with pytest.raises(CheckpointError, match=r"link to elsewhere|no weights"):
        network_of_keras(small, InputOptions())


def test_weights_that_unpack_to_far_more_than_the_file_are_refused(small: Path) -> None:
    with h5py.File(small, "r+") as file:
        found: list[str] = []
        file["model_weights"].visititems(lambda name, item: found.append(name) if hasattr(item, "dtype") else None)
        for name in found:
            del file["model_weights"][name]
            file["model_weights"].create_dataset(name, (1 << 24,), "f4", compression="gzip", chunks=(1 << 20,))
    with pytest.raises(CheckpointError, match="far more than the file has"):
        network_of_keras(small, InputOptions())


def test_a_cut_off_file_is_an_error(small: Path) -> None:
    small.write_bytes(small.read_bytes()[: small.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="HDF5"):
        network_of_keras(small, InputOptions())


def test_weights_alone_say_what_was_assumed(tmp_path: Path) -> None:
    case, name = next(pair for pair in SMALL if pair[1].endswith(".weights.h5"))
    golden_files.unpacked("kerasfiles", case, tmp_path)
    assert any("weights alone" in remark for remark in network_of_keras(tmp_path / name, SIZE).remarks)
    with pytest.raises(UsageError, match="--image-size"):
        network_of_keras(tmp_path / name, InputOptions())
