from __future__ import annotations

import pytest

from edge_effnet.formats.onnx import read_onnx
from edge_effnet.formats.onnx_graph import OnnxInitializer, OnnxNode
from edge_effnet.formats.onnx_precision import node_precisions

from .conftest import make_onnx_model


def _node(op_type: str, inputs: str, outputs: str, **attributes: object) -> OnnxNode:
    return OnnxNode(op_type, "", "", tuple(inputs.split()), tuple(outputs.split()), attributes)


@pytest.mark.onnx
def test_a_float_file() -> None:
    assert read_onnx(make_onnx_model().SerializeToString()).operators_by_precision() == {
        "float32": {"Conv": 1, "Flatten": 1, "Gemm": 1, "GlobalAveragePool": 1, "Relu": 1}
    }


@pytest.mark.onnx
def test_a_quantized_file() -> None:
    """Conv and the Relu that fuses into it lie between the quantizers, the head doesn't."""
    assert read_onnx(make_onnx_model(quantized=True).SerializeToString()).operators_by_precision() == {
        "float32": {"DequantizeLinear": 2, "Flatten": 1, "Gemm": 1, "GlobalAveragePool": 1},
        "int8": {"Conv": 1, "QuantizeLinear": 2, "Relu": 1},
    }


def test_a_tensor_read_in_float_too_is_computed_in_float() -> None:
    nodes = [
        _node("DequantizeLinear", "a s", "b"),
        _node("Sigmoid", "b", "c"),
        _node("QuantizeLinear", "c s", "d"),
        _node("Mul", "b c", "e"),
    ]
    assert node_precisions(nodes, {"a": "int8", "s": "float32"}) == ("float32", "float32", "uint8", "float32")


def test_one_float_input_makes_it_float() -> None:
    nodes = [
        _node("DequantizeLinear", "a s", "b"),
        _node("Relu", "x", "f"),
        _node("Add", "b f", "c"),
        _node("QuantizeLinear", "c s z", "d"),
    ]
    assert node_precisions(nodes, {"a": "int8", "x": "float32", "z": "int8"}) == (
        "float32",
        "float32",
        "float32",
        "int8",
    )


def test_types_follow_the_inputs() -> None:
    nodes = [
        _node("Cast", "x", "half", to=10),
        _node("Conv", "half w", "y"),
        _node("Shape", "y", "sides"),
        _node("Constant", "", "k", value=OnnxInitializer("", (), "int32", 4)),
        _node("Constant", "", "f", value_float=1.0),
        _node("Neg", "nowhere", "n"),
        _node("Cast", "x", "odd", to=99),
        _node("ConvInteger", "q r", "i"),
        _node("QLinearConv", "q r", "l"),
    ]
    assert node_precisions(nodes, {"x": "float32"}) == (
        "float16",
        "float16",
        "int64",
        "int32",
        "float32",
        "unknown",
        "unknown",
        "int8",
        "int8",
    )
