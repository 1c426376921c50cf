"""A part of the photos, the confusion matrix, groups, and the file's digest."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.datasets import LabelledImage, draw_alike

from .conftest import PHOTOS, Run

CLASSES = {"tabby": 6, "espresso": 3, "missile": 1}


def items(sizes: dict[str, int]) -> list[LabelledImage]:
    return [
        LabelledImage(Path(f"{name}/{number}.jpg"), frozenset({index}))
        for index, (name, size) in enumerate(sizes.items())
        for number in range(size)
    ]


def test_a_limit_draws_from_all_classes_alike() -> None:
    everything = items({"a": 50, "b": 50, "c": 50, "d": 2})
    drawn = draw_alike(everything, 20, seed=0)
    counts = [sum(item.classes == frozenset({index}) for item in drawn) for index in range(4)]
    assert counts == [6, 6, 6, 2]
    assert drawn == sorted(drawn, key=lambda item: item.path)
    assert len({item.path for item in drawn}) == 20
    assert drawn == draw_alike(everything, 20, seed=0) != draw_alike(everything, 20, seed=1)
    assert draw_alike(everything, None, seed=0) == draw_alike(everything, 152, seed=0) == everything
    classes = [len(draw_alike(everything, 3, seed=seed)) for seed in range(3)]
    assert classes == [3, 3, 3]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for (label, count), photo in zip(CLASSES.items(), ("chelsea", "coffee", "rocket"), strict=True):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            shutil.copy(PHOTOS / f"{photo}.jpg", folder / label / f"{number}.jpg")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copy(BUNDLED_MODEL, tmp_path / "m.tflite"))


@pytest.mark.litert
def test_a_part_of_class_folders(run: Run, data: Path, model: Path) -> None:
    outcome = run("eval", model, data, "--limit", "3", "--format", "json")
    assert outcome.err == "edge-effnet: 3 of 10 photos, drawn from all classes alike by seed 0\n"
    assert [row["label"] for row in json.loads(outcome.out)["per_class"]] == ["tabby", "espresso", "missile"] or {
        row["label"] for row in json.loads(outcome.out)["per_class"]
    } == set(CLASSES)


@pytest.mark.litert
def test_confusion_and_the_hardest_classes(run: Run, data: Path, model: Path, tmp_path: Path) -> None:
    table = tmp_path / "confusion.csv"
    outcome = run("eval", model, data, "--format", "json", "--confusion", table, "--no-record")
    confusion = json.loads(outcome.out)["confusion"]
    assert sum(count for _, _, count in confusion["pairs"]) == 10
    assert len(outcome.out) < 5000
    rows = list(csv.reader(table.open(encoding="utf-8")))
    assert len(rows) == len(rows[0]) == 1001
    row = next(row for row in rows if row[0] == "espresso")
    assert row[rows[0].index("espresso")] == "3"
    text = run("eval", model, data, "--format", "text", "--no-record").out
    assert "hardest classes: tabby " in text
    assert "espresso" not in text


@pytest.mark.litert
def test_the_digest_before_and_after(run: Run, data: Path, model: Path) -> None:
    before = hashlib.sha256(model.read_bytes()).hexdigest()
    outcome = run("eval", model, data, "--format", "json")
    after = hashlib.sha256(model.read_bytes()).hexdigest()
    assert f"its SHA-256, which --sha256 asks for, was {before} and is now {after}" in outcome.err


@pytest.mark.litert
@pytest.mark.parametrize("folder", ["cat", "tabby"])
def test_groups(run: Run, data: Path, model: Path, folder: str) -> None:
    """Folders are called like the group, or like a label in it."""
    if folder != "tabby":
        (data / "tabby").rename(data / folder)
    outcome = run("eval", model, data, "--format", "json", "--group", "cat=tabby,tiger cat,Egyptian cat")
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["top1"] == 1.0
    assert "recorded" not in outcome.err
