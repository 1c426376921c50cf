"""Numbers that can't be meant, and documents that contradict themselves or the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_effnet import Classifier, Preprocessing
from edge_effnet.agreement import check_classes, check_document, check_seed, check_sides, check_threads
from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.formats import read_model_file, with_document
from edge_effnet.metadata import ModelDocument


@pytest.fixture(scope="module")
def document() -> ModelDocument:
    found = read_model_file(BUNDLED_MODEL).document
    assert found is not None
    return found


@pytest.mark.parametrize("threads", [0, -1, 100_000, 10**30, 1.5, "1", True, None])
def test_threads(threads: Any) -> None:
    with pytest.raises(UsageError, match=r"threads is .*; expected a whole number of at least 1 and at most 512"):
        check_threads(threads)
    assert check_threads(4) == 4


@pytest.mark.parametrize("seed", [-1, 1 << 64, 0.5, "0", True])
def test_seeds(seed: Any) -> None:
    with pytest.raises(UsageError, match=r"seed is .*; expected a whole number from 0"):
        check_seed(seed)
    check_seed(0)


@pytest.mark.parametrize(("resize", "crop"), [(10**18, 224), (5000, 5000), (10**18, 10**18)])
def test_sizes(resize: int, crop: int) -> None:
    with pytest.raises(UsageError, match=r"preprocessing: (crop|resize) \d+; expected at most \d+ pixels a side"):
        check_sides(Preprocessing(resize, crop))


def test_documents(document: ModelDocument) -> None:
    check_document(document, "m")
    check_classes(document, 1000, "m")
    check_classes(None, 3, "m")
    with pytest.raises(ModelFileError, match=r"m: .* has image_size 192 and a crop of 224; expected the same"):
        check_document(replace(document, image_size=192), "m")
    with pytest.raises(ModelFileError, match=r"has num_classes 1000, but the model gives 3 scores"):
        check_classes(document, 3, "m")


@pytest.mark.litert
def test_a_file_that_contradicts_its_model(tmp_path: Path, document: ModelDocument) -> None:
    changed = replace(document, num_classes=5, labels=None)
    (tmp_path / "m.tflite").write_bytes(with_document(BUNDLED_MODEL.read_bytes(), changed))
    with pytest.raises(ModelFileError, match=r"m\.tflite: .* has num_classes 5, but the model gives 1000 scores"):
        Classifier(tmp_path / "m.tflite", threads=1, probe="never")
