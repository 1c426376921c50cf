"""ONNX graphs that are refused before an engine sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_effnet.errors import ModelFileError
from edge_effnet.formats import read_model_file

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

pytestmark = pytest.mark.onnx


def model(nodes: list[Any], *, shape: list[Any] | None = None, constants: dict[str, Any] | None = None) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape or [1, 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(value), name) for name, value in (constants or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def branch() -> Any:
    return helper.make_graph(
        [helper.make_node("Identity", ["image"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )


node: Callable[..., Any] = helper.make_node


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("If", ["c"], ["out"], then_branch=branch(), else_branch=branch())], r"node 0 \(If\) is control flow"),
        ([node("Relu", ["image"], ["out"], hidden=branch())], r"node 0 \(Relu\) is control flow"),
        ([node("Loop", ["c"], ["out"])], r"node 0 \(Loop\) is control flow, text or chance"),
        ([node("RandomNormal", [], ["out"], shape=[9])], r"node 0 \(RandomNormal\) is control flow"),
        (
            [
                node("ReduceSum", ["image"], ["s"]),
                node("Cast", ["s"], ["n"], to=7),
                node("ConstantOfShape", ["n"], ["out"]),
            ],
            r"node 2 \(ConstantOfShape\) takes a size from the photo's values; expected sizes that are the same",
        ),
        (
            [node("Cast", ["image"], ["n"], to=7), node("Range", ["c", "n", "c"], ["out"])],
            r"node 1 \(Range\) takes a size",
        ),
        ([node("Resize", ["c", "", "image"], ["out"])], r"node 0 \(Resize\) takes a size"),
    ],
)
def test_graphs_that_are_refused(nodes: list[Any], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        read_model_file(model(nodes, constants={"c": np.float32(1)}), name="m")


def test_sizes_of_shapes_are_fine() -> None:
    nodes = [
        node("Shape", ["image"], ["s"]),
        node("Gather", ["s", "zero"], ["batch"]),
        node("Concat", ["batch", "rest"], ["shape"], axis=0),
        node("Reshape", ["image", "shape"], ["out"]),
    ]
    assert read_model_file(model(nodes, constants={"zero": np.array([0]), "rest": np.array([-1])})).format == "onnx"


def test_a_huge_image_and_texts() -> None:
    relu = [node("Relu", ["image"], ["out"])]
    with pytest.raises(
        ModelFileError, match=r"the input 'image' is \[None, 3, 20000, 20000\]; expected sides of at most"
    ):
        read_model_file(model(relu, shape=["N", 3, 20000, 20000]))
    with pytest.raises(ModelFileError, match="tensor 't' holds text; expected a network of plain numbers"):
        read_model_file(model(relu, constants={"t": np.array(["text"], object)}))
