"""Every head in every precision, both formats and the three engines decides as the float network does."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.golden import State
from support.networks import SIZE, export_narrow, narrow_state, photos

from edge_effnet import Classifier
from edge_effnet.deciding import agreement
from edge_effnet.errors import UsageError
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.state_dict import network_of
from edge_effnet.network.execute import execute
from edge_effnet.network.records import Network

pytestmark = [pytest.mark.litert, pytest.mark.onnx]
PHOTOS = photos(64, first=200)
#: Of a network of random weights, whose logits lie closer together than those of a trained one. In int8 its answers
#: say little, so their correlation is looked at; docs/networks.md has the decisions of trained ones. With int8 weights a
#: hidden layer's answers are the furthest off: 58 of 64.
LEAST = {"fp32": 1 - 1e-6, "fp16": 0.98, "weight-int8": 0.9, "int8": 0.5}
HIDDEN = 24


def softmax_state() -> State:
    return narrow_state("b0")


def single_state() -> State:
    state = softmax_state()
    bias = np.float32([0.1])
    return {**state, "classifier.weight": state["classifier.weight"][:1], "classifier.bias": bias}


def hidden_state() -> State:
    random, state = np.random.default_rng(4), softmax_state()
    body = {key: value for key, value in state.items() if not key.startswith("classifier")}
    width = state["classifier.weight"].shape[1]
    first, second = random.normal(0, width**-0.5, (HIDDEN, width)), random.normal(0, 1, (5, HIDDEN))
    norm = {"weight": random.uniform(0.5, 2, HIDDEN), "bias": random.normal(0, 1, HIDDEN)}
    norm |= {"running_mean": random.normal(0, 0.1, HIDDEN), "running_var": random.uniform(0.1, 0.3, HIDDEN)}
    head = {"0.weight": first, "3.weight": second, **{f"1.{name}": value for name, value in norm.items()}}
    return body | {f"classifier.{name}": np.float32(value) for name, value in head.items()}


#: Head → its weights, and what is said of it.
HEADS: dict[str, tuple[Any, dict[str, Any]]] = {
    "softmax": (softmax_state, {"labels": list("abcde")}),
    "one sigmoid, one label": (single_state, {"labels": ["cat"], "thresholds": (0.3,)}),
    "one sigmoid, two labels": (single_state, {"labels": ["dog", "cat"]}),
    "sigmoids": (softmax_state, {"head": "sigmoid", "thresholds": (0.5, 0.4, 0.5, 0.6, 0.5)}),
    "hidden layer": (hidden_state, {"head_activation": "gelu"}),
    "features": (softmax_state, {"head": "features"}),
}


@functools.cache
def float_network(name: str) -> tuple[Network, Any]:
    """The network and its outputs for the photos."""
    make, said = HEADS[name]
    told = {key: value for key, value in said.items() if key != "labels"}
    made = network_of(load_checkpoint(make()), InputOptions(source="timm", image_size=(SIZE, SIZE), **told))
    squares = [made.preprocessing.normalise(made.preprocessing.pixels(_image(photo))) for photo in PHOTOS]
    return made, execute(made.graph, np.stack(squares))


def _image(photo: Any) -> Any:
    from PIL import Image

    return Image.fromarray(photo)


def check(name: str, precision: str, ending: str, folder: Path) -> Path:
    make, said = HEADS[name]
    path = folder / f"m.{ending}"
    given = {"calibration": photos(8)} if precision == "int8" else {}
    report = export_narrow(make(), "b0", path, precision=precision, **said, **given)
    network, exact = float_network(name)
    assert report.document.head.kind == network.head.kind
    for engine in ("litert", "numpy") if ending == "tflite" else ("onnxruntime",):
        with Classifier(path, engine=engine, probe="never") as classifier:
            found = np.stack([classifier.logits(photo) for photo in PHOTOS])
        alike = float(agreement(network.head, exact, found).mean())
        if precision == "int8":
            alike = float(np.corrcoef(exact.reshape(-1), found.reshape(-1))[0, 1])
        assert alike >= LEAST[precision], (engine, alike)
    return path


QUICK = [
    *(("fp32", ending, name) for ending in ("tflite", "onnx") for name in HEADS),
    ("fp16", "tflite", "hidden layer"),
    ("weight-int8", "onnx", "one sigmoid, two labels"),
    ("int8", "tflite", "one sigmoid, one label"),
]


@pytest.mark.parametrize(("precision", "ending", "name"), QUICK)
def test_a_head_of_each_kind(name: str, precision: str, ending: str, tmp_path: Path) -> None:
    check(name, precision, ending, tmp_path)


EVERY = [
    pytest.param(*case, marks=pytest.mark.long if case[0] == "int8" else ())
    for case in itertools.product(LEAST, ("tflite", "onnx"), HEADS)
]


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "ending", "name"), EVERY)
def test_all_heads_in_all_precisions(name: str, precision: str, ending: str, tmp_path: Path) -> None:
    check(name, precision, ending, tmp_path)


def test_int8_is_judged_by_what_the_head_decides(tmp_path: Path) -> None:
    make, said = HEADS["sigmoids"]
    given = {"precision": "int8", "calibration": photos(4), "report": tmp_path / "r.html"}
    report = export_narrow(make(), "b0", tmp_path / "m.tflite", **said, **given)
    assert any("% of the decisions the same" in text for text in report.remarks)
    assert "of the decisions as in float" in (tmp_path / "r.html").read_text()
    make, said = HEADS["features"]
    with pytest.raises(UsageError, match="--max-drop counts answers, and the network gives features; leave it out"):
        export_narrow(make(), "b0", tmp_path / "f.tflite", **said, **given, max_drop=1.0)


@pytest.mark.slow
@pytest.mark.long
def test_max_drop_counts_decisions(tmp_path: Path) -> None:
    make, said = HEADS["sigmoids"]
    given = {"precision": "int8", "calibration": photos(40), "calibration_images": 4, "max_drop": 50.0}
    report = export_narrow(make(), "b0", tmp_path / "m.tflite", **said, **given)
    assert any("of decisions on photos like the 36 held out disagree with float" in text for text in report.remarks)


@pytest.mark.slow
@pytest.mark.long
def test_features_are_judged_by_their_cosine(tmp_path: Path) -> None:
    make, said = HEADS["features"]
    report = export_narrow(make(), "b0", tmp_path / "f.tflite", **said, precision="int8", calibration=photos(4))
    assert any("% mean cosine" in text for text in report.remarks)
