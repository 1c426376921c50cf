"""Reads model files, `.tflite` and `.onnx`, with the standard library and numpy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.integrity import weights_are_verified
from edge_effnet.formats.records import TensorFacts
from edge_effnet.formats.source import ModelSource, open_source, read_model_bytes
from edge_effnet.formats.tflite import TfliteFile, read_tflite
from edge_effnet.formats.tflite import with_document as tflite_with_document
from edge_effnet.formats.tflite_rules import check_steps
from edge_effnet.formats.tflite_schema import IDENTIFIER
from edge_effnet.metadata import ModelDocument

if TYPE_CHECKING:
    from edge_effnet.formats.onnx import OnnxFile, read_onnx

__all__ = [
    "ModelFile",
    "OnnxFile",
    "TensorFacts",
    "TfliteFile",
    "read_model_bytes",
    "read_model_file",
    "read_onnx",
    "read_tflite",
    "weights_are_verified",
    "with_document",
]

ModelFile: TypeAlias = "TfliteFile | OnnxFile"

#: (position, bytes found there, what such a file is and what to do): files that are often taken for a model.
_FOREIGN = (
    (0, b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (0, b"<!DOCTYPE", "a web page; download the file itself"),
    (0, b"<html", "a web page; download the file itself"),
    (4, b"ORTM", "an ONNX Runtime .ort file; give the .onnx it was made from"),
    (0, b"\x89HDF", "an HDF5 (Keras) file; convert it to .tflite or .onnx first"),
    (0, b"PK\x03\x04", "a zip, as PyTorch and Keras save weights; make a model file of it with `edge-effnet export`"),
    (0, b"\x80\x02", "a pickle, as PyTorch saves weights; make a model file of it with `edge-effnet export`"),
    (8, b'{"', "safetensors weights; make a model file of them with `edge-effnet export`"),
)
_SHOWN_BYTES = 8


def __getattr__(name: str) -> Any:
    """The names of the ONNX half, whose modules are loaded when first used: a .tflite file is opened without them."""
    if name in ("OnnxFile", "read_onnx"):
        from edge_effnet.formats import onnx

        return getattr(onnx, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def read_model_file(source: ModelSource, *, name: str | None = None) -> ModelFile:
    """The records of a model file that an engine may see, its format told by its content, not by its ending.

    source: a path or the file's bytes; name: what messages call the file, by default its path.
    Both classes offer `format`, `input`, `output`, `operators_by_precision()`, `weight_bytes`, `document`, `labels`,
    and `packed`, the further files that travel with the document.
    Raises ModelFileError saying what was found, what was expected and what to do.
    """
    name, data = open_source(source, name=name)
    if _format(data, name) == "tflite":
        file = read_tflite(data, name=name)
        check_steps(file.tensors, file.operators, file.inputs, file.outputs, name)
        return file
    from edge_effnet.formats.onnx import read_onnx
    from edge_effnet.formats.onnx_rules import check_nodes

    found = read_onnx(data, name=name)
    check_nodes(found.nodes, found.initializers, found.inputs, name)
    return found


def with_document(data: bytes, document: ModelDocument, *, name: str | None = None) -> bytes:
    """The same model file with its document replaced; raises ModelFileError when `data` isn't a sound model file."""
    name, view = open_source(data, name=name)
    if _format(view, name) == "tflite":
        return tflite_with_document(data, document, name=name)
    from edge_effnet.formats.onnx import with_document as onnx_with_document

    return onnx_with_document(data, document, name=name)


def _format(data: memoryview, name: str) -> str:
    if data[4:8] == IDENTIFIER:
        return "tflite"
    for position, mark, what in _FOREIGN:
        if data[position : position + len(mark)] == mark:
            raise ModelFileError(f"{name}: is {what}")
    from edge_effnet.formats.onnx import looks_like_onnx

    if looks_like_onnx(data):
        return "onnx"
    raise ModelFileError(
        f"{name}: neither .tflite nor .onnx: it begins with {bytes(data[:_SHOWN_BYTES])!r}; "
        f"expected {IDENTIFIER!r} at byte 4 or an ONNX model, which `edge-effnet export` makes from a checkpoint"
    )
