"""What is looked at when a model file is opened: its digests, a first run elsewhere, and whether all fits together."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from edge_effnet.agreement import check_document, check_sides
from edge_effnet.engines import Session
from edge_effnet.errors import ModelFileError, UnverifiedModelWarning
from edge_effnet.foreign import input_size, preparation_of
from edge_effnet.formats import ModelFile, weights_are_verified
from edge_effnet.formats.integrity import digest
from edge_effnet.heads import Head
from edge_effnet.preprocessing import Preprocessing

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
        stacklevel=3,
    )


def preprocessing_of(contents: ModelFile, given: Preprocessing | None, path: Path) -> Preprocessing:
    """What is said, otherwise what the document or another maker's file says; raises ModelFileError or UsageError for
    what can't be meant.
    """
    document = contents.document
    if document is not None:
        check_document(document, str(path))
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
