"""The tensors of an `.onnx` file while it is written: float32, uint8 or, between Q and DQ, both; weights and biases."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import MissingDependencyError
from edge_effnet.exporters.outputs.half import SMALLEST_HALF, FloatStorage, to_half
from edge_effnet.network.graph import Conv2D, DepthwiseConv2D, Weighted
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.numerics import QuantParams, quantize
from edge_effnet.quantization.records import QuantizedGraph, QuantizedWeight

try:
    from onnx import TensorProto, helper, numpy_helper
except ImportError as _error:
    raise MissingDependencyError("writing .onnx needs onnx: pip install 'edge-effnet[export]'") from _error


class OnnxTensors:
    """Each tensor has a float32 name, a uint8 name or, between Q and DQ, both; operators are appended as asked for."""

    def __init__(self, quantized: QuantizedGraph, float_storage: FloatStorage) -> None:
        self.quantized = quantized
        self.graph = quantized.graph
        self.shapes = tensor_shapes(quantized.graph)
        self._float_storage = float_storage
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}
        self.floats: dict[str, str] = {}
        self.integers: dict[str, str] = {}
        image = self.graph.input_name
        (self.integers if image in quantized.activations else self.floats)[image] = image

    def finished(self, name: str) -> Any:
        """The GraphProto with a dynamic batch at both ends."""
        _, height, width, channels = self.graph.input_shape
        integer = self.graph.input_name in self.quantized.activations
        kind = TensorProto.UINT8 if integer else TensorProto.FLOAT
        inputs = [helper.make_tensor_value_info(self.graph.input_name, kind, ["N", channels, height, width])]
        outputs = [self._output(name) for name in self.graph.outputs]
        return helper.make_graph(self._nodes, name, inputs, outputs, list(self._initializers.values()))

    def _output(self, name: str) -> Any:
        _, *sides = self.shapes[name]
        channels_first = sides if len(sides) == 1 else [sides[2], sides[0], sides[1]]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *channels_first])

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Appends an operator; gives back its output."""
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: npt.NDArray[Any]) -> str:
        """An initializer; gives back its name."""
        self._initializers[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def read(self, name: str) -> str:
        """The float32 tensor; a DequantizeLinear is added once."""
        if name not in self.floats:
            scale, zero_point = self.params(name)
            self.floats[name] = self.node(
                "DequantizeLinear", [self.integers[name], scale, zero_point], f"{name}/dequantized"
            )
        return self.floats[name]

    def quantize(self, name: str, tensor: str) -> str:
        """The uint8 tensor of a float32 one."""
        return self.node("QuantizeLinear", [tensor, *self.params(name)], f"{name}/quantized")

    def params(self, name: str) -> tuple[str, str]:
        """Names of a tensor's scale and zero point, as uint8 has them."""
        params = self.quantized.activations[name]
        scale = self.constant(f"{name}/scale", np.array(params.scale, np.float32))
        return scale, self.constant(f"{name}/zero_point", np.array(params.zero_point + 128, np.uint8))

    def weight(self, node: Weighted) -> str:
        """The weights in the format's layout, by way of int8 or float16 where they are stored so."""
        name = f"{node.name}/weight"
        stored = self.quantized.weights.get(node.name)
        if stored is not None:
            integers = self.constant(f"{name}/int8", _onnx_layout(node, stored.values))
            zero_points = self.constant(f"{name}/zero_point", np.zeros(len(stored.scales), np.int8))
            return self.node(
                "DequantizeLinear",
                [integers, self.constant(f"{name}/scale", stored.scales), zero_points],
                name,
                axis=0,
            )
        values = _onnx_layout(node, node.weight)
        if self._float_storage == "float32" or values.size < SMALLEST_HALF:
            return self.constant(name, values)
        half = self.constant(f"{name}/float16", to_half(values))
        return self.node("Cast", [half], name, to=TensorProto.FLOAT)

    def bias(self, node: Weighted) -> str:
        """The bias, in int32 where the operator is computed in integers."""
        name = f"{node.name}/bias"
        params = self.quantized.activations.get(node.inputs[0])
        stored = self.quantized.weights.get(node.name)
        if params is None or stored is None or node.name not in self.quantized.activations:
            return self.constant(name, node.bias)
        return self._integer_bias(name, node, params, stored)

    def _integer_bias(self, name: str, node: Weighted, params: QuantParams, stored: QuantizedWeight) -> str:
        scales = params.scale * stored.scales.astype(np.float64)
        values = self.constant(f"{name}/int32", quantize(node.bias, scales, dtype=np.int32))
        zero_points = self.constant(f"{name}/zero_point", np.zeros(len(scales), np.int32))
        return self.node(
            "DequantizeLinear",
            [values, self.constant(f"{name}/scale", scales.astype(np.float32)), zero_points],
            name,
            axis=0,
        )


def _onnx_layout(node: Weighted, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Convolution [out, in, kh, kw], depthwise [channels, 1, kh, kw], dense [out, in]."""
    if isinstance(node, Conv2D):
        return values.transpose(0, 3, 1, 2)
    return values.transpose(2, 0, 1)[:, None] if isinstance(node, DepthwiseConv2D) else values
