"""From a graph to the bytes of a `.tflite` file: NHWC, batch 1, tensors `image` and `logits`, metadata packed behind.

A node is computed in int8 where its output and all its inputs have int8 parameters and the kernels can, otherwise in
float32 with a QUANTIZE or DEQUANTIZE at the border.
"""

from __future__ import annotations

from dataclasses import replace

from edge_effnet.exporters.outputs.half import FloatStorage
from edge_effnet.exporters.outputs.tflite_nodes import emit_node
from edge_effnet.exporters.outputs.tflite_tensors import TensorTable
from edge_effnet.formats.integrity import digest
from edge_effnet.formats.official import OFFICIAL, official_metadata
from edge_effnet.formats.packed import packed_files
from edge_effnet.metadata import ModelDocument
from edge_effnet.quantization.records import QuantizedGraph, is_integer


def emit_tflite(
    quantized: QuantizedGraph, document: ModelDocument, *, float_storage: FloatStorage = "float32"
) -> bytes:
    """The whole file. float_storage: how weights without int8 values lie in the file (float16 is widened on
    loading).
    """
    table, graph = TensorTable(quantized, float_storage), quantized.graph
    for node in graph.nodes:
        integer = is_integer(node, quantized.activations)
        params = quantized.activations[node.name] if integer else None
        table.keep(node.name, emit_node(table, node, params), integer=integer)
    outputs = {name: table.read(name, integer=False) for name in graph.outputs}
    flatbuffer = table.writer.finish(
        inputs={graph.input_name: table.image},
        outputs=outputs,
        description=f"EfficientNet-{document.variant} {document.precision}",
        metadata={OFFICIAL: official_metadata(document)},
    )
    return flatbuffer + packed_files(replace(document, weights_sha256=digest([flatbuffer])))
