"""Files of one operator, run by LiteRT and by the numpy engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edge_effnet.engines.numpy.execution import allocate, execute
from edge_effnet.engines.numpy.operands import Workspace
from edge_effnet.engines.numpy.program import compile_program
from edge_effnet.exporters.outputs.tflite_writer import TfliteWriter
from edge_effnet.formats import read_tflite

Array = npt.NDArray[Any]
Build = Callable[[TfliteWriter], tuple[dict[str, int], dict[str, int]]]
EVERY_INT8 = np.arange(-128, 128).astype(np.int8)


@dataclass(frozen=True)
class Affine:
    scale: float
    zero_point: int


def draw_affine(random: np.random.Generator, low: float = 0.005, high: float = 0.1, dtype: str = "int8") -> Affine:
    limits = np.iinfo(dtype)
    return Affine(float(np.float32(random.uniform(low, high))), int(random.integers(limits.min, limits.max + 1)))


def draw_integers(random: np.random.Generator, shape: Sequence[int], dtype: str = "int8") -> Array:
    """Over the whole range, so that sums saturate on both sides."""
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max + 1, shape).astype(dtype)


def tensor(writer: TfliteWriter, name: str, shape: Sequence[int], dtype: str, affine: Affine | None) -> int:
    if affine is None:
        return writer.tensor(name, tuple(shape), dtype)
    return writer.tensor(name, tuple(shape), dtype, scale=affine.scale, zero_point=affine.zero_point)


def build(describe: Build) -> bytes:
    writer = TfliteWriter()
    inputs, outputs = describe(writer)
    return writer.finish(inputs=inputs, outputs=outputs, description="single", metadata={})


def one_operator(
    code: str,
    inputs: Sequence[tuple[Array, Affine | None]],
    output: tuple[Sequence[int], str, Affine | None],
    *,
    options: Any = None,
    version: int = 2,
    constants: Sequence[Array] = (),
) -> bytes:
    """inputs: arrays whose shape and type the file declares; constants stand behind them, unquantized."""

    def describe(writer: TfliteWriter) -> tuple[dict[str, int], dict[str, int]]:
        given = {
            f"in{index}": tensor(writer, f"in{index}", array.shape, array.dtype.name, affine)
            for index, (array, affine) in enumerate(inputs)
        }
        fixed = [writer.constant(f"constant{index}", values) for index, values in enumerate(constants)]
        out = tensor(writer, "out", *output)
        writer.operator(code, [*given.values(), *fixed], out, version=version, options=options)
        return given, {"out": out}

    return build(describe)


def run_litert(file: bytes, *arrays: Array) -> Array:
    interpreter = Interpreter(model_content=file, num_threads=1)
    interpreter.allocate_tensors()
    for details, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(details["index"], array)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def run_numpy(file: bytes, *arrays: Array) -> Array:
    records = read_tflite(file, name="single.tflite")
    program = compile_program(records, Workspace())
    found = execute(program, allocate(program), dict(zip(records.inputs, arrays, strict=True)))
    return np.array(found[records.outputs[0]])


def assert_equal(file: bytes, *arrays: Array) -> Array:
    """Every bit; gives back the output."""
    expected, found = run_litert(file, *arrays), run_numpy(file, *arrays)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    return found


def assert_close(file: bytes, *arrays: Array, tolerance: float) -> None:
    """float32: the order of the sums and the approximation of exp differ."""
    expected, found = run_litert(file, *arrays), run_numpy(file, *arrays)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def fused(name: str) -> int:
    return int(getattr(schema.ActivationFunctionType, name))
