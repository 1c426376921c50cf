"""Whether what is said of a model can be meant, and agrees with itself and with the model."""

from __future__ import annotations

from typing import Any

from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.formats.bounds import MOST_SIDE
from edge_effnet.metadata import DOCUMENT_NAME, ModelDocument
from edge_effnet.preprocessing import Preprocessing

#: The resize before the crop; a crop of an eighth is far from any in use.
MOST_RESIZE = 8 * MOST_SIDE
MOST_THREADS = 512


def check_threads(threads: Any) -> int:
    """The number; raises UsageError outside 1 … MOST_THREADS, and for what is no whole number."""
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= MOST_THREADS:
        raise UsageError(
            f"threads is {threads!r:.40}; expected a whole number of at least 1 and at most {MOST_THREADS}"
        )
    return threads


def check_seed(seed: Any) -> None:
    """Raises UsageError for what numpy's generators take for no seed."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 1 << 64:
        raise UsageError(f"seed is {seed!r:.40}; expected a whole number from 0 to below 2^64")


def check_sides(preprocessing: Preprocessing) -> None:
    """Raises UsageError for sizes that no network has, and no memory would hold."""
    for name, most in (("crop", MOST_SIDE), ("resize", MOST_RESIZE)):
        if max(_sides(getattr(preprocessing, name))) > most:
            raise UsageError(
                f"preprocessing: {name} {getattr(preprocessing, name)!r:.40}; expected at most {most} pixels a side"
            )


def check_document(document: ModelDocument, name: str) -> None:
    """Raises ModelFileError for a document that contradicts itself."""
    if document.schema_version < 1:
        raise ModelFileError(
            f"{name}: {DOCUMENT_NAME} has schema_version {document.schema_version}; expected 1 or more"
        )
    if _sides(document.image_size) != _sides(document.preprocessing.crop):
        raise ModelFileError(
            f"{name}: {DOCUMENT_NAME} has image_size {document.image_size} and a crop of "
            f"{document.preprocessing.crop}; expected the same"
        )
    try:
        check_sides(document.preprocessing)
    except UsageError as error:
        raise ModelFileError(f"{name}: {DOCUMENT_NAME}: {error}") from error


def check_classes(document: ModelDocument | None, num_classes: int, name: str) -> None:
    """Raises ModelFileError where the document speaks of another number of classes than the model gives."""
    if document is not None and document.num_classes != num_classes:
        raise ModelFileError(
            f"{name}: {DOCUMENT_NAME} has num_classes {document.num_classes}, but the model gives {num_classes} scores"
        )


def _sides(value: Any) -> tuple[int, int]:
    """(height, width) of one side for both, or of two."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])
