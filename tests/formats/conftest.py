"""Small real files of both formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_effnet.metadata import ONNX_PROPERTY, ModelDocument
from edge_effnet.network.geometry import Padding
from edge_effnet.network.graph import Activation, Add, Conv2D, Dense, DepthwiseConv2D, GlobalMean, Graph, Mul, weighted
from edge_effnet.numerics import SIGMOID_PARAMS, QuantParams, quantize
from edge_effnet.preprocessing import Preprocessing

CLASSES = 5
SIZE = 32


def make_document(
    precision: str = "fp32", labels: tuple[str, ...] | None = ("cat", "dog", "Köln", "a b", "z")
) -> ModelDocument:
    return ModelDocument(
        "lite0", SIZE, CLASSES, labels, Preprocessing(SIZE, SIZE), precision, {"dialect": "timm"}, created_by="test"
    )


def make_graph() -> Graph:
    """Every kind of weighted node, a swish, a squeeze-excitation and a residual sum."""
    random = np.random.default_rng(7)

    def floats(*shape: int) -> Any:
        return random.standard_normal(shape, dtype=np.float32)

    return Graph(
        "image",
        (1, SIZE, SIZE, 3),
        (
            Conv2D("stem", ("image",), floats(8, 3, 3, 3), floats(8), 2, Padding(1, 1, 1, 1)),
            Activation("stem.swish", ("stem",), "swish"),
            DepthwiseConv2D("depthwise", ("stem.swish",), floats(3, 3, 8), floats(8), 1, Padding(1, 1, 1, 1), "relu6"),
            GlobalMean("mean", ("depthwise",), keep_dims=True),
            Conv2D("reduce", ("mean",), floats(8, 1, 1, 8), floats(8)),
            Activation("gate", ("reduce",), "sigmoid"),
            Mul("scale", ("depthwise", "gate")),
            Conv2D("project", ("scale",), floats(8, 1, 1, 8), floats(8)),
            Add("add", ("project", "stem.swish")),
            GlobalMean("pooled", ("add",), keep_dims=False),
            Dense("logits", ("pooled",), floats(CLASSES, 8), floats(CLASSES)),
        ),
        ("logits",),
    )


def make_tflite(kind: str, document: ModelDocument | None = None) -> bytes:
    """kind: "float32", "float16" or "int8"."""
    from edge_effnet.exporters.outputs.tflite import emit_tflite
    from edge_effnet.quantization.records import QuantizedGraph, QuantizedWeight

    graph = make_graph()
    document = document or make_document(kind)
    if kind != "int8":
        return bytes(
            emit_tflite(QuantizedGraph(graph), document, float_storage="float16" if kind == "float16" else "float32")
        )
    activations = {
        name: QuantParams(0.05, -3)
        for name in ("image", *(node.name for node in graph.nodes if node.name not in ("logits", "gate")))
    }
    activations["gate"] = SIGMOID_PARAMS
    weights = {}
    for node in weighted(graph.nodes):
        scales = np.full(node.bias.shape, 0.02, np.float32)
        weights[node.name] = QuantizedWeight(quantize(node.weight, 0.02, low=-127), scales)
    return bytes(emit_tflite(QuantizedGraph(graph, activations, weights), document))


@pytest.fixture(scope="session", params=["float32", "float16", "int8"])
def tflite_bytes(request: pytest.FixtureRequest) -> bytes:
    return make_tflite(request.param)


@pytest.fixture(scope="session")
def int8_tflite() -> bytes:
    return make_tflite("int8")


@pytest.fixture(scope="session")
def repack(int8_tflite: bytes) -> Callable[..., bytes]:
    """The int8 file's flatbuffer after `change(model)` on the generated schema's objects."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def packed(change: Callable[[Any], Any]) -> bytes:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(int8_tflite, 0))
        change(model)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    return packed


def make_onnx_model(quantized: bool = False) -> Any:
    """Conv, Relu, pool, Gemm with the document; `quantized` puts DequantizeLinear and QuantizeLinear around the
    first.
    """
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(3)
    arrays = {
        "w": random.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "b": np.zeros(4, np.float32),
        "dense": random.standard_normal((CLASSES, 4)).astype(np.float32),
        "scale": np.float32(0.1),
        "zero": np.int8(3),
    }
    nodes: list[Any] = []

    def append(op_type: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op_type, inputs, [op_type.lower() + str(len(nodes))], name=op_type, **attributes))
        return str(nodes[-1].output[0])

    def quantize_and_back(tensor: str) -> str:
        return (
            append("DequantizeLinear", append("QuantizeLinear", tensor, "scale", "zero"), "scale", "zero")
            if quantized
            else tensor
        )

    tensor = append("Conv", quantize_and_back("image"), "w", "b", pads=[1, 1, 1, 1])
    tensor = quantize_and_back(append("Relu", tensor))
    nodes.append(helper.make_node("GlobalAveragePool", [tensor], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", "dense"], ["logits"], transB=1))
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
        value_info=[helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["N", 4, 1, 1])],
    )
    model = helper.make_model(
        graph,
        producer_name="test",
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=9,
    )
    helper.set_model_props(model, {"other": "kept", ONNX_PROPERTY: make_document().to_json()})
    return model


@pytest.fixture(scope="session")
def onnx_bytes() -> bytes:
    return bytes(make_onnx_model().SerializeToString())
