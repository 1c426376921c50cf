"""What is looked at when a model file is opened: its digests, a first run elsewhere, and whether all fits together."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from edge_effnet.agreement import check_document, check_sides
from edge_effnet.engines import Session, TensorInfo
from edge_effnet.errors import ModelFileError, UnverifiedModelWarning, UsageError
from edge_effnet.foreign import input_size, preparation_of, require_one_size
from edge_effnet.formats import ModelFile, weights_are_verified
from edge_effnet.formats.derived import feature_tensor
from edge_effnet.formats.integrity import digest
from edge_effnet.heads import Head
from edge_effnet.labels import label_of
from edge_effnet.numerics import dequantize
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.unknown import (
    REFERENCES_NAME,
    UNKNOWN_MODES,
    Answers,
    References,
    Told,
    UnknownMode,
    read_references,
)

if TYPE_CHECKING:
    from edge_effnet.classifier import Classifier
    from edge_effnet.grouping import Grouping

#: When a file is first run in a process of its own: once, each time, or not at all.
Probe: TypeAlias = Literal["auto", "always", "never"]
PROBES: tuple[Probe, ...] = get_args(Probe)


def try_once(contents: ModelFile, content: bytes, path: Path, *, probe: Probe, engine: str, threads: int) -> None:
    """The trial run, unless the file has passed one. Raises EngineError."""
    if probe == "never":
        return
    from edge_effnet import trial

    document = contents.document
    known = document.weights_sha256 if document is not None else None  # has been seen to fit
    found = known or digest(contents.covered)
    if probe == "auto" and trial.has_passed(found, engine=engine):
        return
    if trial.try_in_child(path, content=content, file_format=contents.format, engine=engine, threads=threads):
        trial.remember(found, engine=engine)


def references_of(contents: ModelFile, mode: UnknownMode) -> tuple[References | None, tuple[str, ...]]:
    """(the file's references for unknown, names of the inner tensors they are compared with); raises UsageError for a
    mode that there isn't, ModelFileError where they don't fit.
    """
    if mode not in UNKNOWN_MODES:
        raise UsageError(f"unknown is {mode!r}; expected one of {', '.join(UNKNOWN_MODES)}")
    document = contents.document
    if mode == "off" or document is None or document.unknown is None:
        return None, ()
    tensor = feature_tensor(contents)
    content = contents.packed.get(REFERENCES_NAME)
    return read_references(document.unknown, content, size=tensor.size, name=contents.name), (tensor.name,)


def answers_of(classifier: Classifier, references: References | None, mode: UnknownMode) -> Answers:
    """What a prediction may be; raises UsageError where unknown is to be told by scores that aren't a softmax's."""
    by_scores = references is None and mode == "scores"
    if by_scores and classifier.head.kind != "softmax":
        raise UsageError(
            f"{classifier.model_path} gives {classifier.head.kind}; unknown by the scores needs those of a softmax"
        )
    told: Told = "references" if references is not None else "scores" if by_scores else "nothing"
    return Answers(classifier.labels, classifier.num_classes, told, references)


def check_digests(contents: ModelFile, content: bytes, path: Path, sha256: str | None) -> None:
    """Warns where no SHA-256 vouches for the file, raises ModelFileError where one doesn't fit."""
    if sha256 is not None and (found := digest([content])) != sha256.strip().lower():
        raise ModelFileError(f"{path}: has the SHA-256 {found}; expected {sha256}")
    if weights_are_verified(contents.document, contents.covered, name=str(path)) or sha256 is not None:
        return
    warnings.warn(
        f"{path} carries no SHA-256 of its weights, so damage to them would go unnoticed; give the file's own with "
        "--sha256 or Classifier(…, sha256=…)",
        UnverifiedModelWarning,
        stacklevel=4,
    )


def preprocessing_of(contents: ModelFile, given: Preprocessing | None, path: Path) -> Preprocessing:
    """What is said, otherwise what the document or another maker's file says; raises ModelFileError or UsageError for
    what can't be meant.
    """
    document = contents.document
    if document is not None:
        check_document(document, str(path))
    else:
        require_one_size(contents)
    if given is not None:
        check_sides(given)
        return given
    if document is not None:
        return document.preprocessing
    found = preparation_of(contents)
    if found is None:
        raise ModelFileError(
            f"{path}: made by another tool, and doesn't say how to prepare photos; say it: "
            f"{'' if input_size(contents) else '--image-size N and '}--input-range 0..255 where it normalises them "
            "itself, as Keras' files do, otherwise 0..1, -1..1 or --mean and --std; or Classifier(..., "
            "preprocessing=Preprocessing(...))"
        )
    return found


def check_shapes(session: Session, preprocessing: Preprocessing, head: Head, path: Path) -> int:
    """Number of classes; raises ModelFileError unless the file takes one square RGB image and gives one score a
    class.
    """
    shape, depth, (height, width) = session.input.shape, preprocessing.depth, preprocessing.size
    expected = (1, height, width, depth) if session.layout == "nhwc" else (1, depth, height, width)
    if shape != expected:
        raise ModelFileError(
            f"{path}: its input is {list(shape)}; expected {list(expected)}, from the "
            f"preprocessing's {width}×{height} {preprocessing.channels}"
        )
    classes = math.prod(session.output.shape)
    if session.output.shape[-1:] != (classes,) or classes < (2 if head.kind == "softmax" else 1):
        raise ModelFileError(
            f"{path}: its output is {list(session.output.shape)}; expected one score for each of at least 2 classes"
        )
    return classes


def grouping_of(
    groups: Mapping[str, Sequence[str]] | None, labels: Sequence[str] | None, num_classes: int
) -> Grouping | None:
    """The grouping of a model's labels, or of its indices where it has none; None without groups."""
    if not groups:
        return None
    from edge_effnet.grouping import make_grouping

    return make_grouping(groups, labels or [label_of(index, None) for index in range(num_classes)])


def real_values(raw: npt.NDArray[Any], info: TensorInfo) -> npt.NDArray[np.float32]:
    """float32 of what an engine gives, dequantized where it is integers."""
    if raw.dtype.kind == "f":
        return raw.astype(np.float32, copy=False)
    return dequantize(raw, info.scale or 1.0, info.zero_point)
