"""The front: a file's format is told by its content."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge_effnet import formats
from edge_effnet.errors import ModelFileError
from edge_effnet.formats import OnnxFile, TfliteFile, read_model_file, with_document

from .conftest import make_document


@pytest.mark.litert
@pytest.mark.onnx
def test_the_content_decides_not_the_ending(tmp_path: Path, int8_tflite: bytes, onnx_bytes: bytes) -> None:
    for name, data, kind in (
        ("a.onnx", int8_tflite, TfliteFile),
        ("b.tflite", onnx_bytes, OnnxFile),
        ("c", onnx_bytes, OnnxFile),
    ):
        (tmp_path / name).write_bytes(data)
        found = read_model_file(tmp_path / name)
        assert isinstance(found, kind)
        assert found.name == str(tmp_path / name)
        assert found.format == read_model_file(data).format
        assert found.labels == make_document().labels
        assert found.document is not None
        assert found.output.dtype == "float32"
        assert found.weight_bytes < found.size_bytes


@pytest.mark.litert
@pytest.mark.onnx
def test_with_document_for_both(int8_tflite: bytes, onnx_bytes: bytes) -> None:
    document = replace(make_document("int8"), accuracy={"top1": 1.0})
    for data in (int8_tflite, onnx_bytes):
        assert read_model_file(with_document(data, document)).document == document
    with pytest.raises(ModelFileError, match=r"x: neither \.tflite nor \.onnx"):
        with_document(b"hello world", document, name="x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"hello world",
            r"neither .tflite nor .onnx: it begins with b'hello wo'; expected b'TFL3' at byte 4 or an ONNX model",
        ),
        (b"x", "neither .tflite nor .onnx"),
        (b"\x08\x09\x12", "the number at byte 3 doesn't end"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a Git LFS pointer; fetch the file itself with `git lfs pull`",
        ),
        (b"<!DOCTYPE html>", "is a web page; download the file itself"),
        (b"<html>", "is a web page"),
        (b"\0\0\0\0ORTM", "is an ONNX Runtime .ort file"),
        (b"\x89HDF\r\n\x1a\n", r"is an HDF5 \(Keras\) file"),
        (b"PK\x03\x04....", "is a zip, as PyTorch and Keras save weights"),
        (b"\x80\x02}q", "is a pickle, as PyTorch saves weights"),
        (bytes(8) + b'{"a"', "is safetensors weights"),
        (b"", "0 bytes"),
    ],
)
def test_files_that_are_no_model(data: bytes, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        read_model_file(data)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        read_model_file(tmp_path / "x.tflite")
    with pytest.raises(ModelFileError, match="a folder"):
        read_model_file(tmp_path)


def test_everything_exported_exists() -> None:
    assert all(hasattr(formats, name) for name in formats.__all__)
    assert formats.__all__ == sorted(formats.__all__)


def test_importing_brings_no_more_than_numpy() -> None:
    code = "import sys, edge_effnet.formats; print([n for n in ('zipfile','flatbuffers','onnx','google','ai_edge_litert','PIL') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
