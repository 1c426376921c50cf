"""Every kind of input that `export` refuses, in one list: each sentence says what was found, what is expected, and what
to do.

The tests of the parts hold the details; what a damaged or hostile file is refused with stands in test_hostile_*.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from support.golden import State
from support.networks import CLASSES, SIZE, narrow_state, photos

from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.errors import EdgeEffnetError
from edge_effnet.exporters import export
from edge_effnet.exporters.inputs.open import open_network
from edge_effnet.exporters.inputs.options import InputOptions

Change: TypeAlias = Callable[[State], Any]
Options: TypeAlias = Mapping[str, Any]
#: What all say of a network that isn't understood from its tensors, and of a head that isn't.
FAMILIES = "supported are EfficientNet, EfficientNet-EdgeTPU, EfficientNetV2, of any width and depth"
ANOTHER = "its nn.Module, or an ONNX file of it, says what it computes"
WITHOUT = "--head features leaves the head out"
PHOTOS = r"3 (channels )?\(RGB\) or 1 \(grey\), which is what photos have"
WIDTH = 320  # of the narrow network's features
TIMM: Options = {"source": "timm"}


def less(state: State, *keys: str) -> State:
    return {key: value for key, value in state.items() if not key.startswith(keys)}


def more(state: State, **tensors: Any) -> State:
    """`__` stands for a dot."""
    return state | {key.replace("__", "."): np.float32(value) for key, value in tensors.items()}


def headed(state: State, **tensors: Any) -> State:
    return more(less(state, "classifier"), **tensors)


def wide(state: State, channels: int) -> State:
    return state | {"conv_stem.weight": np.tile(state["conv_stem.weight"], (1, 2, 1, 1))[:, :channels]}


#: (what is refused, the change of a state dict, what is said beside it, what was found, expected, to do).
STATES: list[tuple[str, Change, Options, str, str, str]] = [
    (
        "timm's two families",
        dict,
        {},
        r"efficientnet_\* .* and tf_efficientnet_\*",
        "have the same tensors",
        "say which it was: --source timm, --source timm-tf or the model's name",
    ),
    (
        "another network",
        lambda _: {"conv1.weight": np.ones((4, 3, 3, 3)), "fc.weight": np.ones((2, 4))},
        {},
        r"keys like \['conv1.weight', 'fc.weight'\]",
        "expected the names of timm, ",
        ANOTHER,
    ),
    (
        "a relative by its name",
        dict,
        {"source": "mobilenetv3_large_100"},
        "--source mobilenetv3_large_100 is no EfficientNet of ours, but one with stages of another search",
        FAMILIES,
        ANOTHER,
    ),
    (
        "a relative by the name beside it",
        lambda state: {"arch": "efficientnet_blur_b0", "state_dict": state},
        {},
        "the name beside the weights, efficientnet_blur_b0, .* with blur pooling in place of strides",
        FAMILIES,
        ANOTHER,
    ),
    (
        "a relative by its tensors",
        lambda state: more(state, blocks__0__0__conv_dw__weight=np.ones((8, 8, 3, 3))),
        TIMM,
        r"convolutions in groups of 8 channels \(blocks\.0\.0\.conv_dw\.weight",
        FAMILIES,
        ANOTHER,
    ),
    (
        "no batch norm",
        lambda state: {key: value for key, value in state.items() if "running" not in key},
        TIMM,
        "one with no running statistics anywhere: GroupNorm or LayerNorm, or batch norm folded in",
        FAMILIES,
        ANOTHER,
    ),
    (
        "a stage missing",
        lambda state: less(state, "blocks.6"),
        TIMM,
        r"blocks\.6|conv_head\.weight \[320, 80, 1, 1\]",
        r"fits no variant \(timm names\): .*expected",
        ANOTHER,
    ),
    (
        "a tensor missing",
        lambda state: less(state, "blocks.1.0.bn1.bias"),
        TIMM,
        r"missing blocks\.1\.0\.bn1\.bias",
        r"fits no variant \(timm names\)",
        ANOTHER,
    ),
    (
        "channels that were pruned",
        lambda state: {
            key: value[:-8] if key.startswith(("blocks.0.0.conv_pw.", "blocks.0.0.bn2.")) else value
            for key, value in more(state, conv_stem__weight=state["conv_stem.weight"]).items()
        },
        TIMM,
        "no EfficientNet of ours|fits no variant|stages like",
        "expected|follow from no width|nearest",
        ANOTHER,
    ),
    (
        "a source of other keys",
        dict,
        {"source": "torchvision"},
        "--source torchvision doesn't fit its keys",
        "which are those of timm or timm-tf",
        "say one of these",
    ),
    (
        "a source that is unknown",
        dict,
        {"source": "caffe"},
        "--source 'caffe' is unknown",
        "expected timm, timm-tf, torchvision, lukemelas",
        "or a model name like tf_efficientnet_b0",
    ),
    (
        "a name of another variant",
        dict,
        {"source": "efficientnet_b3"},
        "--source efficientnet_b3 is a b3",
        "the tensors are those of a b-w0.25-d",
        "say the right --source",
    ),
    (
        "four channels",
        lambda state: wide(state, 4),
        TIMM,
        "the stem takes 4 channels",
        f"expected {PHOTOS}",
        "train it with one of these",
    ),
    (
        "maximum pooling, as timm's trainer keeps it",
        lambda state: {"args": {"gp": "max"}, "state_dict": state},
        TIMM,
        "what stands beside the weights says that features are pooled by 'max'",
        "supported is the average",
        "train it with global_pool='avg'",
    ),
    (
        "generalised mean pooling",
        lambda state: more(state, global_pool__p=np.ones(1)),
        TIMM,
        r"the head has unexpected tensors global_pool\.p \[1\]",
        "expected linear layers and batch norm",
        WITHOUT,
    ),
    (
        "average and maximum pooling",
        lambda state: headed(state, classifier__weight=np.ones((2, 2 * WIDTH))),
        TIMM,
        f"classifier takes {2 * WIDTH} values, twice the {WIDTH} features",
        "only average pooling is",
        WITHOUT,
    ),
    (
        "a head of another width",
        lambda state: headed(state, classifier__weight=np.ones((2, 100))),
        TIMM,
        r"classifier\.weight \[2, 100\]",
        f"expected it to take {WIDTH} values",
        WITHOUT,
    ),
    (
        "a bias of another length",
        lambda state: headed(state, classifier__weight=np.ones((2, WIDTH)), classifier__bias=np.ones(3)),
        TIMM,
        r"classifier\.bias \[3\]",
        r"expected \[2\], one value for each class",
        WITHOUT,
    ),
    (
        "a layer norm in the head",
        lambda state: headed(
            state, fc__0__weight=np.ones(WIDTH), fc__0__bias=np.ones(WIDTH), fc__1__weight=np.ones((2, WIDTH))
        ),
        TIMM,
        r"fc\.0\.weight .* without running statistics \(LayerNorm\?\)",
        "expected linear layers and batch norm",
        WITHOUT,
    ),
    (
        "an activation that isn't among the weights",
        lambda state: headed(state, fc__0__weight=np.ones((8, WIDTH)), fc__2__weight=np.ones((2, 8))),
        TIMM,
        r"the head has 2 linear layers \(fc\.0, fc\.2\)",
        "which activation stands between them isn't among the weights",
        r"say it: --head-activation relu\|silu",
    ),
    (
        "thresholds of a softmax",
        dict,
        {**TIMM, "thresholds": (0.5,)},
        "1 thresholds don't fit a softmax head",
        "expected one, or one a class",
        "of a sigmoid head",
    ),
    (
        "probabilities of features",
        dict,
        {**TIMM, "head": "features", "output": "probabilities"},
        "features has no probabilities",
        "expected the output logits",
        "expected",
    ),
    (
        "quantized weights",
        lambda state: state | {"conv_stem.weight": np.ones((8, 3, 3, 3), np.int8)},
        TIMM,
        r"tensor conv_stem\.weight holds integers",
        "expected floating-point weights",
        "bring the float network it was made from",
    ),
    (
        "weights that aren't numbers",
        lambda state: state | {"conv_stem.weight": np.full((8, 3, 3, 3), np.nan, np.float32)},
        TIMM,
        r"tensor conv_stem\.weight holds 216 NaN or infinite values",
        "expected numbers",
        "bring an earlier checkpoint",
    ),
    (
        "several networks",
        lambda state: {"student": state, "teacher": {key: value * 2 for key, value in state.items()}},
        TIMM,
        "holds 2 networks, under '.*student', '.*teacher'",
        "say which",
        "--weights",
    ),
    (
        "no weights",
        lambda _: {"epoch": 3, "loss": [1.0]},
        TIMM,
        r"no weights found under \['epoch', 'loss'\]",
        "expected a state dict",
        "at any key",
    ),
    (
        "two sources of labels",
        lambda state: {"classes": list("abcde"), "class_names": list("abced"), "state_dict": state},
        TIMM,
        "class_names in the checkpoint and classes in the checkpoint disagree",
        "class 3 is '[de]' and '[de]'",
        "say which are right: --labels FILE",
    ),
    (
        "labels in another order",
        lambda state: {"classes": list("abcde"), "state_dict": state},
        {**TIMM, "labels": list("abced")},
        "--labels and classes in the checkpoint have the same 5 names",
        "in another order, class 3 is 'e' and 'd'",
        "leave --labels out, or rename them in the file that is made",
    ),
]


def says(sentence: str, *parts: str) -> None:
    assert not [part for part in parts if not re.search(part, sentence)], sentence


def refusal(source: Any, options: Options) -> str:
    with pytest.raises(EdgeEffnetError) as caught:
        open_network(source, InputOptions(**options))
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "options", "parts"), [pytest.param(*row[1:3], row[3:], id=row[0]) for row in STATES]
)
def test_a_state_dict_is_refused(change: Change, options: Options, parts: tuple[str, ...]) -> None:
    says(refusal(change(narrow_state("b0")), options), *parts)


def _onnx(path: Path, *, shape: list[Any], op: str = "GlobalAveragePool") -> Path:
    """One operator."""
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "out")]
    given = ["image"] if op != "QuantizeLinear" else ["image", "image"]
    graph = helper.make_graph([helper.make_node(op, given, ["out"])], "g", ends[:1], ends[1:])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return path


def _saved_model(folder: Path) -> Path:
    (folder / "saved_model.pb").write_bytes(b"")
    return folder


def _hub_folder(folder: Path, **config: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _keras(folder: Path, **config: Any) -> Path:
    import io
    import zipfile

    import h5py

    weights = io.BytesIO()
    h5py.File(weights, "w").close()
    with zipfile.ZipFile(folder / "m.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", weights.getvalue())
    return folder / "m.keras"


#: (what is refused, a file or folder of it below a folder, what was found, expected, to do).
FILES: list[tuple[str, Callable[[Path], Path], str, str, str]] = [
    (
        "quantized TFLite",
        lambda _: BUNDLED_MODEL,
        r"is quantized already \(its tensor .* is int8\)",
        "it runs as it is",
        "bring the float network it was made from",
    ),
    (
        "quantized ONNX",
        lambda folder: _onnx(folder / "m.onnx", shape=[1, 3, 32, 32], op="QuantizeLinear"),
        r"is quantized already \(QuantizeLinear\)",
        "it runs as it is",
        "bring the float network it was made from",
    ),
    (
        "ONNX of four channels",
        lambda folder: _onnx(folder / "m.onnx", shape=[1, 4, 32, 32]),
        r"takes \[1, 4, 32, 32\]",
        f"expected an image of {PHOTOS}",
        "train it with one of these",
    ),
    (
        "ONNX of any size",
        lambda folder: _onnx(folder / "m.onnx", shape=[1, 3, "h", "w"]),
        "takes images of any size",
        "say which",
        "--image-size N",
    ),
    (
        "ONNX of no image",
        lambda folder: _onnx(folder / "m.onnx", shape=[1, 3]),
        "takes image float32",
        "expected one image of four sides",
        "must be frozen into the file",
    ),
    (
        "ONNX with maximum pooling",
        lambda folder: _onnx(folder / "m.onnx", shape=[1, 3, 32, 32], op="GlobalMaxPool"),
        "the network computes GlobalMaxPool .*, which no operator here does",
        "expected one of Add, AveragePool",
        "If it's meant for training only, save the network in evaluation mode",
    ),
    (
        "a SavedModel",
        _saved_model,
        "a TensorFlow SavedModel, whose graph is a program",
        "make a Keras file of it",
        r"model\.save\('model\.keras'\)",
    ),
    (
        "a folder without weights",
        lambda folder: _hub_folder(folder, architecture="efficientnet_b0"),
        "no weights of a known name",
        r"expected model\.safetensors, pytorch_model\.bin",
        r"beside its config\.json",
    ),
    (
        "maximum pooling, as timm's config.json has it",
        lambda folder: _hub_folder(folder / save(folder), architecture="efficientnet_b0", global_pool="catavgmax"),
        r"config\.json says that features are pooled by 'catavgmax'",
        "supported is the average",
        "train it with",
    ),
    (
        "a Keras class of the user's own",
        lambda folder: _keras(folder, class_name="MyNet", config={}),
        "the model is a 'MyNet'",
        "expected Functional or Sequential",
        "rebuild it as keras.Model",
    ),
]


def save(folder: Path) -> str:
    (folder / "model.safetensors").write_bytes(b"")
    return "."


@pytest.mark.onnx
@pytest.mark.parametrize(("make", "parts"), [pytest.param(row[1], row[2:], id=row[0]) for row in FILES])
def test_a_file_is_refused(make: Callable[[Path], Path], parts: tuple[str, ...], tmp_path: Path) -> None:
    says(refusal(make(tmp_path), {}), *parts)


#: (what is refused, options of export, what was found, expected, to do).
OPTIONS: list[tuple[str, Options, str, str, str]] = [
    ("another ending", {"output": "m.pb"}, r"ends in \.pb", "expected", r"\.tflite or \.onnx"),
    ("another precision", {"precision": "int4"}, "precision 'int4' is unknown", "expected one of fp32", "int8"),
    ("a crop said twice", {"crop_pct": 0.9, "resize": 80}, "say the same thing twice", "expected one", "crop-pct"),
    ("pad and a resize", {"resize_mode": "pad", "resize": 80}, "pad resizes to", "the network's own", "other modes"),
    ("fill without room", {"fill": (1, 2, 3)}, "fill goes with", "the resize modes pad and longer", "leave room"),
    ("a mode that is none", {"resize_mode": "warp"}, "mode 'warp'", "expected one of shorter", "squash"),
    ("a resizer that is none", {"resizer": "skimage"}, "resizer 'skimage'", "expected one of pillow", "torch"),
    (
        "a way that its library hasn't",
        {"resizer": "opencv", "interpolation": "lanczos"},
        "opencv's interpolation 'lanczos'",
        "expected nearest, bilinear",
        "area or bicubic",
    ),
    ("a size that is none", {"image_size": 8}, "8", "expected", "32"),
    ("as many labels as not", {"labels": ["a", "b"]}, "has 2 labels, the model 5 classes", "expected as many", ""),
    ("int8 without photos", {"precision": "int8"}, "int8", "calibration", "--calibration"),
    (
        "a drop of features",
        {"precision": "int8", "head": "features", "max_drop": 1.0, "calibration": photos(2)},
        "--max-drop counts answers, and the network gives features",
        "counts answers",
        "leave it out",
    ),
]


@pytest.mark.parametrize(("options", "parts"), [pytest.param(row[1], row[2:], id=row[0]) for row in OPTIONS])
def test_options_are_refused(options: Options, parts: tuple[str, ...], tmp_path: Path) -> None:
    told = {"output": "m.tflite", "image_size": SIZE, "refine": 0.0, **options}
    with pytest.raises(EdgeEffnetError) as caught:
        export(narrow_state("b0"), tmp_path / told.pop("output"), source="timm", **told)
    says(str(caught.value), *parts)
    assert not list(tmp_path.iterdir())


#: (what is refused, a label file's text, what was found, expected).
LABELS: list[tuple[str, str, str, str]] = [
    ("nothing", "", "it is empty", "expected one label a line"),
    ("a blank line", "ant\n\nbee\n", "line 2 is blank", "expected one label a line"),
    ("an index twice", "0 ant\n1 bee\n1 cow\n", "the index 1 stands twice", "expected each index from 0 or 1 on once"),
    ("an index missing", "0 ant\n1 bee\n3 cow\n", "", "expected each index from 0 or 1 on once"),
    ("JSON of something else", '{"lr": 0.1}', "JSON without labels", "expected a list of names, or an object"),
    ("too few", "ant\nbee\n", "has 2 labels, the model 5 classes", "expected as many"),
]


@pytest.mark.parametrize(("text", "parts"), [pytest.param(row[1], row[2:], id=row[0]) for row in LABELS])
def test_a_label_file_is_refused(text: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(EdgeEffnetError) as caught:
        export(
            narrow_state("b0"), tmp_path / "m.tflite", source="timm", image_size=SIZE, labels=str(tmp_path / "l.txt")
        )
    says(str(caught.value), *parts)


@pytest.mark.torch
@pytest.mark.parametrize(("layer", "named"), [("AdaptiveMaxPool2d", "adaptive_max_pool2d"), ("LPPool2d", "")])
def test_a_module_with_another_pooling_is_refused(layer: str, named: str) -> None:
    from torch import nn

    pooling = nn.AdaptiveMaxPool2d(1) if layer == "AdaptiveMaxPool2d" else nn.LPPool2d(3, 16)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), pooling, nn.Flatten(), nn.Linear(8, CLASSES)).eval()
    says(refusal(module, {"image_size": (32, 32)}), named, "which no operator here does", "expected one of ")
