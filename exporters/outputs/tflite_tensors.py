"""The tensors of a `.tflite` file while it is written: float32, int8 or, at a border, both; weights and biases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edge_effnet.exporters.outputs.half import SMALLEST_HALF, FloatStorage, to_half
from edge_effnet.exporters.outputs.tflite_writer import TfliteWriter
from edge_effnet.network.activations import Fused
from edge_effnet.network.geometry import Padding
from edge_effnet.network.graph import DepthwiseConv2D, FloatArray, Shape, Weighted
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.numerics import QuantParams, quantize
from edge_effnet.quantization.records import QuantizedGraph, QuantizedWeight

_INT8_VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "ADD": 2,
    "MUL": 2,
    "MEAN": 2,
    "LOGISTIC": 2,
    "PAD": 2,
    "CONCATENATION": 2,
    "RELU": 2,
    "RELU6": 2,
    "RESHAPE": 1,
    "HARD_SWISH": 1,
}
_DEQUANTIZE_VERSION = {"float16": 3, "int8": 2}


class TensorTable:
    """Each tensor has a float index, an int8 index or, at a border, both; operators are appended as asked for."""

    def __init__(self, quantized: QuantizedGraph, float_storage: FloatStorage) -> None:
        self.writer = TfliteWriter()
        self.quantized, self.graph = quantized, quantized.graph
        self.shapes = tensor_shapes(quantized.graph)
        self._float_storage = float_storage
        self._tensors: dict[tuple[str, bool], int] = {}
        self.image = self._input()

    def keep(self, name: str, index: int, *, integer: bool) -> None:
        """Says which tensor of the file a tensor of the graph is."""
        self._tensors[name, integer] = index

    def _input(self) -> int:
        """float32 as the network takes it, or uint8 pixels.

        Pixels become int8 by way of float32, exactly: XNNPACK runs DEQUANTIZE and QUANTIZE in a seventh of the time of
        the one QUANTIZE from uint8 to int8, which it leaves to a slow kernel.
        """
        name, shape = self.graph.input_name, self.graph.input_shape
        params = self.quantized.activations.get(name)
        if params is None:
            self._tensors[name, False] = self.writer.tensor(name, shape, "float32")
            return self._tensors[name, False]
        pixels = self.writer.tensor(name, shape, "uint8", scale=params.scale, zero_point=params.zero_point + 128)
        values = self.writer.tensor(f"{name}/float", shape, "float32")
        self._tensors[name, False] = self.writer.operator(
            "DEQUANTIZE", [pixels], values, options=schema.DequantizeOptionsT()
        )
        return pixels

    def read(self, name: str, *, integer: bool) -> int:
        """The tensor in the wanted type; a border operator is added once."""
        if (name, integer) not in self._tensors:
            params = self.quantized.activations[name]
            source = self._tensors[name, not integer]
            suffix, code, options = (
                ("int8", "QUANTIZE", schema.QuantizeOptionsT())
                if integer
                else ("float", "DEQUANTIZE", schema.DequantizeOptionsT())
            )
            target = self.make(f"{name}/{suffix}", self.shapes[name], params if integer else None)
            version = 1 if integer else _DEQUANTIZE_VERSION["int8"]
            self._tensors[name, integer] = self.writer.operator(
                code, [source], target, version=version, options=options
            )
        return self._tensors[name, integer]

    def make(self, name: str, shape: tuple[int, ...], params: QuantParams | None) -> int:
        """A tensor made at run time: int8 with parameters, float32 without."""
        if params is None:
            return self.writer.tensor(name, shape, "float32")
        return self.writer.tensor(name, shape, "int8", scale=params.scale, zero_point=params.zero_point)

    def operator(self, code: str, inputs: list[int], output: int, integer: bool, options: object = None) -> int:
        """Appends an operator in the version that int8 or float32 needs; gives back its output."""
        version = _INT8_VERSIONS[code] if integer else 1
        return self.writer.operator(code, inputs, output, version=version, options=options)

    def pad(self, name: str, tensor: int, pad: Padding, target: int, integer: bool) -> int:
        """PAD with zeros, or with the zero point in int8."""
        amounts = np.array([[0, 0], [pad.top, pad.bottom], [pad.left, pad.right], [0, 0]], np.int32)
        return self.operator(
            "PAD", [tensor, self.writer.shared_constant(name, amounts)], target, integer, schema.PadOptionsT()
        )

    def reshape(self, tensor: int, target: int, shape: Shape) -> int:
        """RESHAPE to a fixed shape."""
        sides = self.writer.shared_constant(f"shape/{'x'.join(map(str, shape))}", np.array(shape, np.int32))
        return self.writer.operator(
            "RESHAPE", [tensor, sides], target, options=schema.ReshapeOptionsT(newShape=list(shape))
        )

    def weight(self, node: Weighted, integer: bool) -> int:
        """The weights as an int8 convolution, or one in float32, reads them."""
        stored = self.quantized.weights.get(node.name)
        name = f"{node.name}/weight"
        if stored is not None:
            index = self.int8_weight(name, node, stored)
            return index if integer else self._widened(name, tflite_layout(node, node.weight).shape, index, "int8")
        values = tflite_layout(node, node.weight)
        if self._float_storage == "float32" or values.size < SMALLEST_HALF:
            return self.writer.constant(name, values)
        return self._widened(name, values.shape, self.writer.constant(f"{name}/float16", to_half(values)), "float16")

    def int8_weight(self, name: str, node: Weighted, stored: QuantizedWeight) -> int:
        """int8 values with a scale for each output channel."""
        axis = 3 if isinstance(node, DepthwiseConv2D) else 0
        return self.writer.constant(f"{name}/int8", tflite_layout(node, stored.values), scales=stored.scales, axis=axis)

    def _widened(self, name: str, shape: tuple[int, ...], stored: int, dtype: str) -> int:
        """DEQUANTIZE of a constant: LiteRT runs it once, when the file is loaded."""
        output = self.writer.tensor(name, shape, "float32")
        return self.writer.operator(
            "DEQUANTIZE", [stored], output, version=_DEQUANTIZE_VERSION[dtype], options=schema.DequantizeOptionsT()
        )

    def bias(self, node: Weighted, integer: bool) -> int:
        """int32 at input scale · weight scale, or float32."""
        if not integer:
            return self.writer.constant(f"{node.name}/bias", node.bias)
        return self.int32_bias(node, node.bias, self.quantized.weights[node.name].scales)

    def int32_bias(self, node: Weighted, bias: FloatArray, weight_scales: FloatArray) -> int:
        """int32 at input scale · weight scale, for scales given."""
        scales = self.quantized.activations[node.inputs[0]].scale * weight_scales.astype(np.float64)
        return self.writer.constant(
            f"{node.name}/bias", quantize(bias, scales, dtype=np.int32), scales=scales.astype(np.float32)
        )


def tflite_layout(node: Weighted, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """The graph's layouts are TFLite's, but for a depthwise convolution's leading 1."""
    return values[None] if isinstance(node, DepthwiseConv2D) else values


def fused(activation: Fused) -> int:
    """The schema's number of a fused activation."""
    kinds = schema.ActivationFunctionType
    return int({"none": kinds.NONE, "relu": kinds.RELU, "relu6": kinds.RELU6}[activation])
