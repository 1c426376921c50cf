from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge_effnet.engines.numpy.operands import Workspace
from edge_effnet.engines.numpy.program import compile_program
from edge_effnet.errors import EngineError
from edge_effnet.formats import read_tflite
from engines.numpy.single import Affine, build, one_operator, run_numpy, tensor

pytestmark = pytest.mark.litert
SHAPE = (1, 2, 2, 3)
IMAGE = np.ones(SHAPE, np.float32)


def floats(writer: Any, *names: str) -> list[int]:
    return [tensor(writer, name, SHAPE, "float32", None) for name in names]


def test_a_missing_operator_is_named() -> None:
    file = one_operator(
        "TRANSPOSE",
        [(IMAGE, None)],
        (SHAPE, "float32", None),
        options=schema.TransposeOptionsT(),
        constants=[np.arange(4, dtype=np.int32)],
    )
    with pytest.raises(
        EngineError,
        match=r"single.tflite: operator 0 \(TRANSPOSE\): the numpy engine lacks this operator; it has ADD, "
        r"AVERAGE_POOL_2D",
    ):
        run_numpy(file, IMAGE)


def test_a_tensor_that_is_not_made_yet() -> None:
    def describe(writer: Any) -> Any:
        image, later, out = floats(writer, "image", "later", "out")
        writer.operator("RELU", [later], out)
        writer.operator("RELU6", [image], later)
        return {"image": image}, {"out": out}

    with pytest.raises(
        EngineError,
        match=r"operator 0 \(RELU\) reads 'later', which no operator before it makes; the file is out of order",
    ):
        run_numpy(build(describe), IMAGE)


def test_a_tensor_that_is_made_twice() -> None:
    def describe(writer: Any) -> Any:
        image, out = floats(writer, "image", "out")
        writer.operator("RELU", [image], out)
        writer.operator("RELU6", [image], out)
        return {"image": image}, {"out": out}

    with pytest.raises(
        EngineError, match=r"operator 1 \(RELU6\) makes 'out', which is a constant, an input or made already"
    ):
        run_numpy(build(describe), IMAGE)


def test_an_output_that_nothing_makes() -> None:
    def describe(writer: Any) -> Any:
        image, out, other = floats(writer, "image", "out", "other")
        writer.operator("RELU", [image], out)
        return {"image": image}, {"other": other}

    with pytest.raises(EngineError, match="no operator makes the output 'other'"):
        run_numpy(build(describe), IMAGE)


def test_an_operator_left_without_an_input() -> None:
    def describe(writer: Any) -> Any:
        image, out = floats(writer, "image", "out")
        writer.operator("ADD", [image, -1], out, options=schema.AddOptionsT())
        return {"image": image}, {"out": out}

    with pytest.raises(EngineError, match=r"\(ADD\) has 2 inputs; expected number 2 as well"):
        run_numpy(build(describe), IMAGE)


def test_integers_without_a_scale() -> None:
    integers = IMAGE.astype(np.int8)
    with pytest.raises(EngineError, match="'in0' has 0 scales; expected one above 0"):
        run_numpy(one_operator("RELU", [(integers, None)], (SHAPE, "int8", Affine(0.1, 0))), integers)


def test_work_on_constants_is_done_once() -> None:
    """RELU of a constant disappears from the steps."""

    def describe(writer: Any) -> Any:
        image, clipped, out = floats(writer, "image", "clipped", "out")
        writer.operator("RELU", [writer.constant("constant", -IMAGE)], clipped)
        writer.operator("ADD", [image, clipped], out, options=schema.AddOptionsT())
        return {"image": image}, {"out": out}

    file = build(describe)
    assert [step.output for step in compile_program(read_tflite(file), Workspace()).steps] == [2]
    np.testing.assert_array_equal(run_numpy(file, IMAGE), IMAGE)


def test_a_long_chain_takes_the_memory_of_two_tensors() -> None:
    def describe(writer: Any) -> Any:
        first = last = tensor(writer, "image", (1, 8, 8, 16), "float32", None)
        for index in range(20):
            last = writer.operator("RELU", [last], tensor(writer, f"t{index}", (1, 8, 8, 16), "float32", None))
        return {"image": first}, {"out": last}

    assert compile_program(read_tflite(build(describe)), Workspace()).layout.size == 2 * 8 * 8 * 16 * 4
