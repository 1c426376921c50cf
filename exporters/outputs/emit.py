"""Either file format, by the output's ending."""

from __future__ import annotations

from typing import Literal

from edge_effnet.metadata import ModelDocument
from edge_effnet.quantization.records import QuantizedGraph


def emit(quantized: QuantizedGraph, document: ModelDocument, ending: str) -> bytes:
    """The whole file, ".tflite" or ".onnx"; weights that aren't int8 are stored as the document's precision says."""
    storage: Literal["float32", "float16"] = "float16" if document.precision == "fp16" else "float32"
    if ending == ".tflite":
        from edge_effnet.exporters.outputs.tflite import emit_tflite

        return emit_tflite(quantized, document, float_storage=storage)
    from edge_effnet.exporters.outputs.onnx import emit_onnx

    return emit_onnx(quantized, document, float_storage=storage)
