"""Small model files as other tools make them: without the document, of various types, with known arithmetic.

Every file computes `weights @ mean(image over its pixels)`, three classes from three channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SIZE = 8
#: float32[classes, channels]
WEIGHTS = np.array([[4.0, 0.0, -1.0], [0.0, 3.0, 0.0], [-2.0, 0.0, 5.0]], np.float32)
#: Of a quantized input in -1..1, and of a quantized output of about -8..8.
INPUT_SCALE, OUTPUT_SCALE = 1 / 128, 1 / 16
_ZERO_POINTS = {"int8": 0, "uint8": 128}


def tflite(
    path: Path, *, dtype: str = "float32", softmax: bool = False, inputs: int = 1, weights: Any = WEIGHTS
) -> Path:
    """dtype: of input and output; integers in between are int8, as the kernels want them."""
    from ai_edge_litert import schema_py_generated as schema

    from edge_effnet.exporters.outputs.tflite_writer import TfliteWriter

    writer = TfliteWriter()
    classes = len(weights)

    def tensor(name: str, shape: tuple[int, ...], kind: str, scale: float) -> int:
        return (
            writer.tensor(name, shape, kind)
            if kind == "float32"
            else writer.tensor(name, shape, kind, scale=scale, zero_point=_ZERO_POINTS[kind])
        )

    inner = "float32" if dtype == "float32" else "int8"
    images = [tensor(f"in{number}", (1, SIZE, SIZE, 3), dtype, INPUT_SCALE) for number in range(inputs)]
    values = images[0]
    if dtype != inner:
        values = writer.operator(
            "QUANTIZE",
            [values],
            tensor("in/int8", (1, SIZE, SIZE, 3), inner, INPUT_SCALE),
            version=2,
            options=schema.QuantizeOptionsT(),
        )
    axes = writer.constant("axes", np.array([1, 2], np.int32))
    pooled = writer.operator(
        "MEAN",
        [values, axes],
        tensor("pooled", (1, 3), inner, INPUT_SCALE),
        version=2,
        options=schema.ReducerOptionsT(keepDims=False),
    )
    if inner == "float32":
        kernel, bias = writer.constant("w", weights), writer.constant("b", np.zeros(classes, np.float32))
    else:
        scale = np.array([np.abs(weights).max() / 127], np.float32)
        kernel = writer.constant("w", np.rint(weights / scale).astype(np.int8), scales=scale)
        bias = writer.constant("b", np.zeros(classes, np.int32), scales=scale * np.float32(INPUT_SCALE))
    logits = tensor("out", (1, classes), inner, OUTPUT_SCALE)
    result = writer.operator(
        "FULLY_CONNECTED",
        [pooled, kernel, bias],
        logits,
        version=4 if inner == "int8" else 1,
        options=schema.FullyConnectedOptionsT(),
    )
    if softmax:
        result = writer.operator(
            "SOFTMAX",
            [result],
            writer.tensor("scores", (1, classes), "float32"),
            options=schema.SoftmaxOptionsT(beta=1.0),
        )
    if dtype != inner:
        result = writer.operator(
            "QUANTIZE",
            [result],
            tensor("out/uint8", (1, classes), dtype, OUTPUT_SCALE),
            version=2,
            options=schema.QuantizeOptionsT(),
        )
    names = {f"in{number}": index for number, index in enumerate(images)}
    path.write_bytes(writer.finish(inputs=names, outputs={"out": result}, description="foreign", metadata={}))
    return path


def onnx(
    path: Path,
    *,
    layout: str = "nchw",
    softmax: bool = False,
    uint8: bool = False,
    outputs: int = 1,
    kind: str = "FLOAT",
    zeros: int = 0,
) -> Path:
    """zeros: so many are added up into each logit. layout: "nchw" or "nhwc"; uint8: raw pixels are cast inside; kind: of the input, where it isn't uint8."""
    from onnx import TensorProto, helper, numpy_helper

    shape = ["N", 3, SIZE, SIZE] if layout == "nchw" else [1, SIZE, SIZE, 3]
    nodes = [helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT)]
    nodes.append(
        helper.make_node("ReduceMean", ["float"], ["pooled"], axes=[2, 3] if layout == "nchw" else [1, 2], keepdims=0)
    )
    nodes.append(helper.make_node("Gemm", ["pooled", "w"], ["logits"], transB=1))
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["scores"], axis=1))
    constants = [numpy_helper.from_array(WEIGHTS, "w")]
    if zeros:
        constants += [numpy_helper.from_array(np.array([zeros]), "n"), numpy_helper.from_array(np.array([0]), "axis")]
        nodes.append(helper.make_node("ConstantOfShape", ["n"], ["zeros"]))
        nodes.append(helper.make_node("ReduceSum", ["zeros", "axis"], ["sum"]))
        nodes.append(helper.make_node("Add", ["logits", "sum"], ["scores"]))
        softmax = True
    names = ["scores" if softmax else "logits", "pooled"][:outputs]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("image", TensorProto.UINT8 if uint8 else getattr(TensorProto, kind), shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in names],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
