"""Files made up from a number: graphs of both formats, and pickles from opcodes; mostly sound, with a flaw or a few.

Byte mutants of real files rarely pass the reader's first checks in new ways. These are built operator by operator, and
their types, shapes, scales, constants and sizes drawn, now and then from what no writer would choose.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

Random = np.random.Generator
_SIDES = (0, 1, 2, 3, 7, 8, 16, 224, 4096, 20_000, 1 << 20, 1 << 30, -1)
_SCALES = (0.1, 0.02, 1.0, 0.0, 2e-38, 1e-30, 1e-9, 300.0, 3e38, float("nan"), float("inf"), -0.1)
_FLAW = 0.025
_MOST = (1 << 31) - 1


def _pick(random: Random, values: Any) -> Any:
    return values[int(random.integers(len(values)))]


def _flawed(random: Random) -> bool:
    return bool(random.random() < _FLAW)


# .tflite -------------------------------------------------------------------------------------------------------------

_UNARY = ("RELU", "RELU6", "HARD_SWISH", "LOGISTIC", "TANH", "ABS", "EXP", "QUANTIZE", "DEQUANTIZE", "CAST", "SOFTMAX")
_BINARY = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW")
_SHAPED = ("RESHAPE", "SQUEEZE", "MEAN", "PAD", "TRANSPOSE", "TILE", "EXPAND_DIMS", "BROADCAST_TO", "SLICE", "SUM")
_WINDOWED = ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "FULLY_CONNECTED")
_STRANGE = ("WHILE", "IF", "FILL", "RANGE", "GATHER", "SHAPE", "STRIDED_SLICE", "PACK", "RESIZE_BILINEAR", "TOPK_V2")
_OPTIONS = {
    "CONV_2D": "Conv2DOptionsT",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptionsT",
    "AVERAGE_POOL_2D": "Pool2DOptionsT",
    "MAX_POOL_2D": "Pool2DOptionsT",
    "FULLY_CONNECTED": "FullyConnectedOptionsT",
    "SOFTMAX": "SoftmaxOptionsT",
    "MEAN": "ReducerOptionsT",
    "SUM": "ReducerOptionsT",
    "RESHAPE": "ReshapeOptionsT",
    "SQUEEZE": "SqueezeOptionsT",
}


class _Tflite:
    """One graph while it is built; `shapes` and `kinds` of its tensors."""

    def __init__(self, random: Random) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.random = schema, random
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]
        self.codes: list[Any] = []
        self.operators: list[Any] = []
        self.shapes: list[tuple[int, ...]] = []
        self.quantized = bool(random.integers(2))
        self.kind = "INT8" if self.quantized else "FLOAT32"

    def tensor(self, shape: tuple[int, ...], *, kind: str | None = None, data: bytes | None = None) -> int:
        """The index of a new tensor, a constant where there is `data`."""
        random, schema = self.random, self.schema
        if _flawed(random):
            names = [name for name in vars(schema.TensorType) if name.isupper()]
            kind = _pick(random, names)
        kind = kind or self.kind
        if _flawed(random) and shape:
            at = int(random.integers(len(shape)))
            shape = (*shape[:at], _pick(random, _SIDES), *shape[at + 1 :])
        shape = tuple(min(side, _MOST) for side in shape)
        made = schema.TensorT(name="t", shape=list(shape), type=getattr(schema.TensorType, kind), buffer=0)
        made.isVariable = bool(random.random() < _FLAW / 8)
        if kind in ("INT8", "UINT8", "INT16") and not _flawed(random):
            scale = _pick(random, _SCALES) if random.random() < 0.15 else 0.1
            made.quantization = schema.QuantizationParametersT(scale=[scale], zeroPoint=[0])
        if data is not None or random.random() < _FLAW / 4:
            data = data if data is not None else bytes(max(0, min(math.prod(shape), 4096)) * 4)
            self.buffers.append(schema.BufferT(data=np.frombuffer(data, np.uint8)))
            made.buffer = len(self.buffers) - 1
        self.tensors.append(made)
        self.shapes.append(tuple(shape))
        return len(self.tensors) - 1

    def numbers(self, values: Any) -> int:
        """A small constant of int32."""
        found = np.array(values, np.int32)
        if _flawed(self.random) and found.size:
            found.reshape(-1)[int(self.random.integers(found.size))] = _pick(self.random, _SIDES)
        return self.tensor(found.shape, kind="INT32", data=found.tobytes())

    def weights(self, shape: tuple[int, ...]) -> int:
        """A constant of the graph's type."""
        values = self.random.integers(-5, 6, shape)
        return self.tensor(shape, data=values.astype(np.int8 if self.quantized else np.float32).tobytes())

    def operator(self, code: str, inputs: list[int], shape: tuple[int, ...]) -> int:
        """The output of a new operator."""
        schema, random = self.schema, self.random
        output = self.tensor(shape)
        self.codes.append(schema.OperatorCodeT(builtinCode=getattr(schema.BuiltinOperator, code), version=1))
        self.codes[-1].deprecatedBuiltinCode = min(self.codes[-1].builtinCode, 127)
        made = schema.OperatorT(opcodeIndex=len(self.codes) - 1, inputs=inputs, outputs=[output])
        if _flawed(random):
            made.inputs = made.inputs[:-1] if random.integers(2) else [*made.inputs, int(random.integers(-1, output))]
        name = _OPTIONS.get(code)
        if name is not None and not _flawed(random):
            made.builtinOptions = self._options(getattr(schema, name)())
            made.builtinOptionsType = getattr(schema.BuiltinOptions, name.removesuffix("T"))
        self.operators.append(made)
        return output

    def _options(self, options: Any) -> Any:
        for name in ("strideH", "strideW", "dilationHFactor", "dilationWFactor", "depthMultiplier", "beta"):
            if hasattr(options, name):
                setattr(options, name, _pick(self.random, (0, 1 << 20, -1)) if _flawed(self.random) else 1)
        for name in ("filterHeight", "filterWidth"):
            if hasattr(options, name):
                setattr(options, name, _pick(self.random, (0, 1 << 30)) if _flawed(self.random) else 2)
        if hasattr(options, "keepDims"):
            options.keepDims = True
        return options

    def step(self, source: int) -> int:
        """One operator more, on the tensor `source`."""
        random, shape = self.random, self.shapes[source]
        family = _pick(
            random, (_UNARY, _BINARY, _SHAPED, _WINDOWED, _WINDOWED, _STRANGE if _flawed(random) else _UNARY)
        )
        code = _pick(random, family)
        if code in _WINDOWED and len(shape) == 4:
            return self._window(code, source, shape)
        if code in _BINARY:
            return self.operator(code, [source, source if random.integers(2) else self.weights((1,))], shape)
        if code in _SHAPED and len(shape) == 4:
            return self._shaped(code, source, shape)
        return self.operator(code if code not in (*_WINDOWED, *_SHAPED) else "RELU", [source], shape)

    def _window(self, code: str, source: int, shape: tuple[int, ...]) -> int:
        batch, height, width, depth = shape
        if code == "CONV_2D":
            made = [self.weights((4, 3, 3, max(depth, 0) % 64)), self._bias(4)]
            return self.operator(code, [source, *made], (batch, height, width, 4))
        if code == "DEPTHWISE_CONV_2D":
            made = [self.weights((1, 3, 3, max(depth, 0) % 64)), self._bias(max(depth, 0) % 64)]
            return self.operator(code, [source, *made], shape)
        if code == "FULLY_CONNECTED":
            made = [self.weights((5, max(depth, 0) % 64)), self._bias(5)]
            return self.operator(code, [source, *made], (batch * height * width, 5))
        return self.operator(code, [source], shape)

    def _bias(self, count: int) -> int:
        kind = "INT32" if self.quantized else "FLOAT32"
        return self.tensor((count,), kind=kind, data=bytes(4 * count))

    def _shaped(self, code: str, source: int, shape: tuple[int, ...]) -> int:
        batch, height, width, depth = shape
        if code == "PAD":
            by = int(_pick(self.random, (0, 1, 2, 100, 5000)))
            amounts = self.numbers([[0, 0], [by, by], [by, by], [0, 0]])
            return self.operator(code, [source, amounts], (batch, height + 2 * by, width + 2 * by, depth))
        if code in ("MEAN", "SUM"):
            return self.operator(code, [source, self.numbers([1, 2])], (batch, 1, 1, depth))
        if code == "TRANSPOSE":
            return self.operator(code, [source, self.numbers([0, 2, 1, 3])], (batch, width, height, depth))
        if code == "RESHAPE":
            return self.operator(code, [source, self.numbers([1, -1])], (1, math.prod(shape)))
        if code == "TILE":
            by = int(_pick(self.random, (1, 2, 1000)))
            return self.operator(code, [source, self.numbers([1, by, by, 1])], (batch, height * by, width * by, depth))
        return self.operator(code, [source, self.numbers([1, 1, 1, 1])], shape)

    def finish(self, image: int, output: int) -> bytes:
        """The file's bytes."""
        import flatbuffers

        schema, random = self.schema, self.random
        graph = schema.SubGraphT(tensors=self.tensors, inputs=[image], outputs=[output], operators=self.operators)
        if _flawed(random):
            graph.outputs = [int(random.integers(len(self.tensors)))]
        graphs = [graph] * (1 if random.random() > _FLAW / 4 else 3)
        model = schema.ModelT(version=3, operatorCodes=self.codes, subgraphs=graphs, buffers=self.buffers)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def tflite_graph(random: Random) -> bytes:
    """A `.tflite` of up to ten operators."""
    made = _Tflite(random)
    side = 8 if random.random() > _FLAW / 2 else int(_pick(random, _SIDES[5:10]))
    image = current = made.tensor((1, side, side, 3))
    for _ in range(int(random.integers(1, 11))):
        current = made.step(current)
    return made.finish(image, current)


# .onnx ---------------------------------------------------------------------------------------------------------------

_ONNX_UNARY = (
    "Relu",
    "Sigmoid",
    "Exp",
    "Shape",
    "Cast",
    "Identity",
    "GlobalAveragePool",
    "Flatten",
    "Softmax",
    "NonZero",
)
_ONNX_SIZED = ("ConstantOfShape", "Expand", "Tile", "Reshape", "Pad", "Resize", "Range", "Slice", "Unsqueeze", "OneHot")
_ONNX_OTHERS = ("Add", "Mul", "MatMul", "Conv", "Gemm", "Concat", "ReduceSum", "Where", "Gather", "QuantizeLinear")
_ONNX_STRANGE = (
    "Loop",
    "If",
    "Scan",
    "RandomNormal",
    "Einsum",
    "TopK",
    "ScatterND",
    "DequantizeLinear",
    "Split",
    "Clip",
)


def onnx_graph(random: Random) -> bytes:
    """An `.onnx` of up to ten nodes, on whatever names are there."""
    from onnx import TensorProto, helper, numpy_helper

    side: Any = 8 if random.random() > _FLAW else _pick(random, _SIDES[3:11])
    names, nodes, constants = ["image"], [], []
    for index in range(int(random.integers(1, 11))):
        family = _pick(random, (_ONNX_UNARY, _ONNX_UNARY, _ONNX_SIZED, _ONNX_OTHERS, _ONNX_STRANGE))
        code = _pick(random, family)
        inputs = [names[-1]] if random.integers(3) else [_pick(random, names)]
        for place in range(int(random.integers(1, 3)) if code not in _ONNX_UNARY else 0):
            name = f"c{index}_{place}"
            constants.append(numpy_helper.from_array(_onnx_constant(random), name))
            if code in ("ConstantOfShape", "Range") and random.integers(2):
                inputs = []
            inputs.insert(len(inputs) if random.integers(8) else 0, name)
        attributes: Any = {"to": int(random.integers(1, 17))} if code == "Cast" else {}
        nodes.append(helper.make_node(code, inputs, [f"t{index}"], **attributes))
        names.append(f"t{index}")
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, None)],
        constants,
    )
    opset = int(random.integers(11, 23))
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()
    )


def _onnx_constant(random: Random) -> Any:
    if random.integers(2):
        length = int(random.integers(0, 5))
        pool = (1, 1, 2, 8, 3, -1) if random.integers(4) else (0, 1000, 2_000_000_000, 1 << 62)
        return np.array([_pick(random, pool) for _ in range(length)], np.int64)
    return random.normal(size=_pick(random, ((3,), (1,), (4, 3, 3, 3), (3, 8), ()))).astype(np.float32)


# Pickles -------------------------------------------------------------------------------------------------------------

_GLOBALS = (
    "collections\nOrderedDict",
    "torch._utils\n_rebuild_tensor_v2",
    "torch\nFloatStorage",
    "torch._utils\n_rebuild_parameter",
    "numpy.core.multiarray\n_reconstruct",
    "numpy\ndtype",
    "numpy\nndarray",
    "numpy.core.multiarray\nscalar",
    "_codecs\nencode",
    "builtins\nbytearray",
    "builtins\nset",
    "builtins\nlist",
    "builtins\ndict",
    "copyreg\n_reconstructor",
    "os\nsystem",
    "torch.storage\n_load_from_bytes",
    "torch.nn.modules.conv\nConv2d",
    "torch.fx.graph_module\nreduce_graph_module",
)
_KEYS = (
    "conv_stem.weight",
    "state_dict",
    "_modules",
    "_parameters",
    "_buffers",
    "a",
    "storage",
    "0",
    "f4",
    "<",
    "latin1",
)


def _argument(random: Random) -> bytes:
    """A value in opcodes."""
    choices: tuple[Callable[[], bytes], ...] = (
        lambda: b"K" + bytes([int(random.integers(256))]),
        lambda: b"J" + struct.pack("<i", int(_pick(random, (-1, 0, 1 << 30, 5)))),
        lambda: b"\x8a\x08" + random.bytes(8),
        lambda: b"X" + struct.pack("<I", len(word := _pick(random, _KEYS).encode())) + word,
        lambda: b"C\x04" + random.bytes(4),
        lambda: b"c" + _pick(random, _GLOBALS).encode() + b"\n",
        lambda: _pick(random, (b"N", b"\x88", b"\x89", b")", b"]", b"}", b"\x8f", b"(")),
        lambda: b"h" + bytes([int(random.integers(16))]),
        lambda: b"G" + random.bytes(8),
        lambda: b"X" + struct.pack("<I", int(_pick(random, (1 << 20, (1 << 32) - 1, 3)))) + b"abc",
    )
    return choices[int(random.integers(len(choices)))]()


_COMBINE = (
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
    b"R",
    b"\x81",
    b"b",
    b"s",
    b"u",
    b"a",
    b"e",
    b"d",
    b"l",
    b"Q",
    b"2",
    b"0",
    b"o",
)
_MEMO = (b"\x94", b"q\x00", b"q\x01", b"q\x02", b"h\x00", b"h\x01", b"h\x02", b"1", b"\x90", b"\x91", b"\x92", b"\x93")


def pickle_stream(random: Random) -> bytes:
    """Opcodes: from nothing, or strewn into a sound stream."""
    if random.integers(3):
        stream = b"\x80\x04"
        for _ in range(int(random.integers(1, 60))):
            made = (_argument(random), _argument(random), _pick(random, _COMBINE), _pick(random, _MEMO))
            stream += made[int(random.integers(4))]
        return stream + b"."
    value = {"state_dict": {"conv_stem.weight": np.ones((2, 3), np.float32), "n": [1, (2, 3)]}, "epoch": 3}
    sound = pickle.dumps(value, protocol=int(random.integers(6)))
    at = int(random.integers(2, len(sound)))
    again = sound[at : at + 20] * int(_pick(random, (1, 2, 1000)))
    return sound[:at] + (_argument(random) + _pick(random, _COMBINE) if random.integers(2) else again) + sound[at:]
