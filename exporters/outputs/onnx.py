"""From a graph to the bytes of an `.onnx` file: NCHW, dynamic batch, opset 17, self-contained, QDQ where quantized.

Quantized activations are uint8 (the int8 parameters with 128 added to the zero point): ONNX Runtime's fastest integer
kernels on x86 and ARM take uint8 activations with int8 weights. Source of the operators: onnx.ai/onnx/operators.
"""

from __future__ import annotations

from dataclasses import replace

from edge_effnet.errors import MissingDependencyError
from edge_effnet.exporters.outputs.half import FloatStorage
from edge_effnet.exporters.outputs.onnx_nodes import emit_node, integer_border
from edge_effnet.exporters.outputs.onnx_tensors import OnnxTensors
from edge_effnet.formats.integrity import digest
from edge_effnet.formats.onnx import with_document
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.graph import Border
from edge_effnet.quantization.records import QuantizedGraph

try:
    import onnx
    from onnx import helper
except ImportError as _error:
    raise MissingDependencyError("writing .onnx needs onnx: pip install 'edge-effnet[export]'") from _error

OPSET = 17
#: The intermediate representation of onnx 1.12, the first with opset 17; newer ones would shut older runtimes out.
IR_VERSION = 8


def emit_onnx(quantized: QuantizedGraph, document: ModelDocument, *, float_storage: FloatStorage = "float32") -> bytes:
    """The whole file. float_storage: how weights without int8 values lie in the file (float16 is widened on
    loading).
    """
    table = OnnxTensors(quantized, float_storage)
    _emit_nodes(table)
    model = helper.make_model(
        table.finished(f"EfficientNet-{document.variant}"),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edge-effnet",
        doc_string=f"EfficientNet-{document.variant} {document.precision}",
    )
    onnx.checker.check_model(model)
    data = bytes(model.SerializeToString(deterministic=True))
    return with_document(data, replace(document, weights_sha256=digest([data])))


def _emit_nodes(table: OnnxTensors) -> None:
    """Emits every node and the float32 output under its own name."""
    for node in table.graph.nodes:
        if isinstance(node, Border) and node.inputs[0] in table.integers:
            table.integers[node.name] = integer_border(table, node)
        else:
            table.floats[node.name] = emit_node(table, node)
            if node.name in table.quantized.activations:
                table.integers[node.name] = table.quantize(node.name, table.floats.pop(node.name))
    for output in table.graph.outputs:
        if table.read(output) != output:
            table.node("Identity", [table.read(output)], output)
