from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from edge_effnet import Preprocessing
from edge_effnet.errors import ModelFileError
from edge_effnet.heads import Head
from edge_effnet.metadata import SCHEMA_VERSION, ModelDocument

DOCUMENT = ModelDocument(
    "b0",
    64,
    2,
    ("Köln", "b"),
    Preprocessing(73, 64),
    "int8",
    {"dialect": "timm"},
    {"seed": 0},
    {"top1": 0.5},
    "edge-effnet 0",
    extra={"later": [1, {"x": None}]},
)


def changed(**fields: Any) -> str:
    return json.dumps({**DOCUMENT.to_dict(), **fields})


def test_there_and_back_with_unknown_fields() -> None:
    again = ModelDocument.from_json(DOCUMENT.to_json())
    assert again == DOCUMENT
    assert json.loads(again.to_json())["later"] == [1, {"x": None}]
    bare = replace(DOCUMENT, labels=None, quantization=None, accuracy=None, extra={})
    assert ModelDocument.from_json(bare.to_json().encode()) == bare


def test_the_fields_of_the_contract() -> None:
    assert set(replace(DOCUMENT, extra={}).to_dict()) == {
        "schema_version",
        "variant",
        "image_size",
        "num_classes",
        "labels",
        "preprocessing",
        "precision",
        "source",
        "quantization",
        "accuracy",
        "created_by",
    }
    assert set(DOCUMENT.to_dict()["preprocessing"]) == {"resize", "crop", "interpolation", "mean", "std", "channels"}
    assert (DOCUMENT.schema_version, SCHEMA_VERSION) == (1, 2)


def test_the_text_is_deterministic() -> None:
    turned = replace(DOCUMENT, source=dict(reversed(list({"b": 1, "a": 2}.items()))))
    assert turned.to_json() == replace(DOCUMENT, source={"b": 1, "a": 2}).to_json()
    assert "Köln" in DOCUMENT.to_json()
    assert ": " not in DOCUMENT.to_json()


def test_a_newer_schema_is_refused() -> None:
    with pytest.raises(
        ModelFileError, match="x: made for schema version 3, this program reads up to 2; upgrade edge-effnet"
    ):
        ModelDocument.from_json(changed(schema_version=3), name="x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"model: its edge_effnet\.json is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[1]", "is a list; expected an object"),
        ("null", "is a NoneType; expected an object"),
        ("{}", "has schema_version = None; expected int"),
        (changed(schema_version=True), "has schema_version = True; expected int"),
        (changed(variant=3), "has variant = 3; expected str"),
        (changed(image_size=0), "has image_size = 0; expected 1 to 1,000,000"),
        (changed(image_size=224.0), r"has image_size = 224\.0; expected int"),
        (changed(num_classes=-2), "has num_classes = -2; expected 1 to 1,000,000"),
        (changed(labels="ab"), "has labels = 'ab'; expected list or null"),
        (changed(labels=["a"]), "has 1 labels for 2 classes, or some are no text"),
        (changed(labels=["a", 3]), "or some are no text"),
        (changed(preprocessing=None), "has preprocessing = None; expected dict"),
        (changed(preprocessing={"resize": 3}), r"edge_effnet\.json: preprocessing: "),
        (changed(precision=None), "has precision = None; expected str"),
        (changed(source=[]), "has source = \\[\\]; expected dict"),
        (changed(quantization=1), "has quantization = 1; expected dict or null"),
        (changed(accuracy="good"), "has accuracy = 'good'; expected dict or null"),
        (changed(created_by=None), "has created_by = None; expected str"),
        (changed(variant=["long"] * 1000), "has variant = "),
    ],
)
def test_broken_documents(text: str | bytes, message: str) -> None:
    with pytest.raises(ModelFileError, match=message) as caught:
        ModelDocument.from_json(text)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("value", "fits"), [(0, False), (1, True), (1_000_000, True), (1_000_001, False)])
def test_the_ends_of_what_sizes_may_be(value: int, fits: bool) -> None:
    content = ModelDocument("b0", 8, 2, None, Preprocessing(8, 8), "fp32", {}).to_dict() | {"image_size": value}
    if fits:
        assert ModelDocument.from_json(json.dumps(content)).image_size == value
        return
    with pytest.raises(ModelFileError, match=f"has image_size = {value}; expected 1 to 1,000,000"):
        ModelDocument.from_json(json.dumps(content))


def test_a_document_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        ModelDocument("b0", 8, 2, None, Preprocessing(8, 8), "fp32", {}).variant = "b1"  # type: ignore[misc]


def test_what_version_1_cannot_say_makes_it_2() -> None:
    changes: list[dict[str, Any]] = [
        {"head": Head("sigmoid")},
        {"head": Head("softmax", "probabilities")},
        {"image_size": (48, 64), "preprocessing": Preprocessing((48, 64), (48, 64))},
        {"preprocessing": Preprocessing(64, 64, mode="squash")},
        {"preprocessing": Preprocessing(64, 64, "lanczos")},
        {"preprocessing": Preprocessing(64, 64, mean=(0.4,), std=(0.2,), channels="grey")},
        {"preprocessing": Preprocessing(64, 64, mode="pad", fill=(1, 2, 3))},
    ]
    for change in changes:
        document = replace(DOCUMENT, **change)
        assert document.schema_version == 2
        assert ModelDocument.from_json(document.to_json()) == document
    assert DOCUMENT.schema_version == 1
    assert "head" not in DOCUMENT.to_dict()


def test_one_sigmoid_may_have_one_label_or_two() -> None:
    for labels in (("cat",), ("dog", "cat")):
        document = replace(DOCUMENT, num_classes=1, labels=labels, head=Head("sigmoid"))
        assert ModelDocument.from_json(document.to_json()).labels == labels


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"kind": "tree", "output": "logits"}, "head: 'tree' is unknown; expected one of softmax, sigmoid"),
        ({"kind": "sigmoid"}, "head: 'output' in"),
        ({"kind": "features", "output": "probabilities"}, "features has no probabilities"),
        ({"kind": "sigmoid", "output": "logits", "thresholds": [0.5]}, "has 1 thresholds for 2 outputs"),
        ({"kind": "sigmoid", "output": "logits", "thresholds": [0.5, 1.5]}, "expected numbers from 0 to 1"),
        ([], "has head = \\[\\]; expected dict"),
    ],
)
def test_broken_heads(head: Any, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        ModelDocument.from_json(changed(head=head, schema_version=2))
