"""Labels where they lie: which are found, which fit, and what happens where two disagree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.networks import CLASSES, narrow_state

from edge_effnet.errors import UsageError
from edge_effnet.exporters.inputs.label_sources import (
    labels_beside,
    labels_under,
    settled_labels,
    vocabulary_in,
)
from edge_effnet.exporters.inputs.open import open_network
from edge_effnet.exporters.inputs.options import FoundLabels, InputOptions
from edge_effnet.exporters.inputs.records import Record
from edge_effnet.heads import Head
from edge_effnet.network.records import Network

NAMES = ("ant", "bee", "cow", "dog", "eel")


def found(*labels: str, where: str = "classes in the checkpoint") -> FoundLabels:
    return FoundLabels(where, labels)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("class_to_idx", {"0": 0, "1": 1, "10": 2, "2": 3}, ("0", "1", "10", "2")),
        ("label2id", {"dog": 1, "cat": 0}, ("cat", "dog")),
        ("id2label", {"1": "dog", "0": "cat"}, ("cat", "dog")),
        ("idx_to_class", {1: "dog", 0: "cat"}, ("cat", "dog")),
        ("classes", ["cat", "dog"], ("cat", "dog")),
        ("vocab", ["cat", "dog"], ("cat", "dog")),
    ],
)
def test_keys_of_a_checkpoint(key: str, value: Any, expected: tuple[str, ...]) -> None:
    assert list(labels_under({key: value}, "in x")) == [FoundLabels(f"{key} in x", expected)]


def test_what_is_none() -> None:
    values = ([0, 1], 7, "cat", ["a\nb"], {"cat": 0, "dog": 2}, [])
    assert [list(labels_under({"classes": value}, "in x")) for value in values] == [[]] * len(values)


def test_fastais_vocabulary() -> None:
    names = Record("fastcore.foundation.L", state={"items": list(NAMES)})
    vocabulary = Record("fastai.data.transforms.CategoryMap", state={"items": names, "o2i": {}})
    learner = Record(
        "fastai.learner.Learner", state={"dls": Record("fastai.data.core.DataLoaders", args=([vocabulary],))}
    )
    assert vocabulary_in([learner]) == [{"vocab": list(NAMES)}]
    assert vocabulary_in([{"model": 1}]) == []


def test_those_that_are_as_many_as_the_classes_count() -> None:
    sources = [found("a", "b"), found(*NAMES), found("background", *NAMES), found(*map(str.upper, NAMES))]
    labels, remarks = settled_labels(None, sources, Head(), CLASSES)
    assert (labels, remarks) == (NAMES, ("5 labels taken from classes in the checkpoint",))
    left_out = "left out the 2 labels of classes in the checkpoint: the network has 5 outputs"
    assert settled_labels(None, [found("a", "b")], Head(), CLASSES) == (None, (left_out,))
    assert settled_labels(None, [found("a", "b")], Head("sigmoid"), 1)[0] == ("a", "b")
    assert settled_labels(None, sources, Head("features"), CLASSES) == (None, ())


def test_sources_that_disagree() -> None:
    other = found("bee", "ant", *NAMES[2:], where="id2label in config.json")
    with pytest.raises(
        UsageError,
        match=r"classes in the checkpoint and id2label in config\.json disagree: class 0 is 'ant' and 'bee'; say which",
    ):
        settled_labels(None, [found(*NAMES), other], Head(), CLASSES)
    assert settled_labels(NAMES, [found(*NAMES)], Head(), CLASSES) == (NAMES, ())
    new = ("Ameise", "Biene", "Kuh", "Hund", "Aal")
    assert settled_labels(new, [found(*NAMES)], Head(), CLASSES)[0] == new
    with pytest.raises(
        UsageError, match=r"--labels and id2label .* have the same 5 names in another order, class 0 is"
    ):
        settled_labels(NAMES, [other], Head(), CLASSES)


def opened(path: Path) -> Network:
    return open_network(path, InputOptions(source="timm", image_size=(64, 64)))


@pytest.mark.torch
def test_in_the_checkpoint_beside_it_and_in_both(tmp_path: Path) -> None:
    import torch

    tensors = {key: torch.from_numpy(value) for key, value in narrow_state("b0").items()}
    path = tmp_path / "weights.pth"
    torch.save(tensors, path)
    assert opened(path).labels is None
    (tmp_path / "class_indices.json").write_text(json.dumps({name: index for index, name in enumerate(NAMES)}))
    (tmp_path / "labels.txt").write_text("\n\n")  # of something else
    network = opened(path)
    assert network.labels == NAMES
    assert "5 labels taken from class_indices.json beside the weights" in network.remarks
    assert [one.where for one in labels_beside(path)] == ["class_indices.json beside the weights"]
    torch.save({"state_dict": tensors, "class_to_idx": {name: 4 - index for index, name in enumerate(NAMES)}}, path)
    with pytest.raises(
        UsageError, match=r"class_to_idx in the checkpoint and class_indices\.json beside the weights dis"
    ):
        opened(path)
