"""From a graph to the bytes of a `.tflite` file: NHWC, batch 1, tensors `image` and `logits`, metadata packed behind.

Rules of the integer operators: TFLite's quantization specification and the checks of its kernels. A node is computed
in int8 when its output and all its inputs have int8 parameters, otherwise in float32 with a QUANTIZE or DEQUANTIZE at
the border.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edge_effnet.exporters.outputs.half import SMALLEST_HALF, FloatStorage, to_half
from edge_effnet.exporters.outputs.tflite_metadata import BUFFER_NAME, metadata_flatbuffer, packed_files
from edge_effnet.exporters.outputs.tflite_writer import TfliteWriter
from edge_effnet.formats.integrity import digest
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.activations import Fused
from edge_effnet.network.geometry import NO_PADDING, Padding, same_padding
from edge_effnet.network.graph import (
    Activation,
    Add,
    Border,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    FloatArray,
    GlobalMean,
    Mul,
    Node,
    Shape,
    Weighted,
    frame_nhwc,
)
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.numerics import SIGMOID_PARAMS, QuantParams, quantize
from edge_effnet.quantization.records import QuantizedGraph, QuantizedWeight

_INT32_VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "ADD": 2,
    "MUL": 2,
    "MEAN": 2,
    "LOGISTIC": 2,
    "PAD": 2,
    "CONCATENATION": 2,
}
#: Where several pixels are multiplied by their channels' factors at once. XNNPACK joins five tensors at most.
_FEW_CHANNELS, _MANY_PIXELS, _TOGETHER = 64, 3000, 4
_DEQUANTIZE_VERSION = {"float16": 3, "int8": 2}
#: Per-channel weights of a fully-connected operator on float inputs.
_HYBRID_DENSE_VERSION = 9


def emit_tflite(
    quantized: QuantizedGraph, document: ModelDocument, *, float_storage: FloatStorage = "float32"
) -> bytes:
    """The whole file. float_storage: how weights without int8 values lie in the file (float16 is widened on
    loading).
    """
    emitter = _Emitter(quantized, float_storage)
    output = emitter.run()
    graph = quantized.graph
    integer = graph.input_name in quantized.activations
    mean, std = (
        ((0.0,), (1.0,))
        if integer
        else (_in_pixels(document.preprocessing.mean), _in_pixels(document.preprocessing.std))
    )
    flatbuffer = emitter.writer.finish(
        inputs={graph.input_name: emitter.image},
        outputs={graph.output_name: output},
        description=f"EfficientNet-{document.variant} {document.precision}",
        metadata={BUFFER_NAME: metadata_flatbuffer(document, mean=mean, std=std)},
    )
    return flatbuffer + packed_files(replace(document, weights_sha256=digest([flatbuffer])))


def _in_pixels(values: tuple[float, float, float]) -> tuple[float, ...]:
    return tuple(255.0 * value for value in values)


class _Emitter:
    """Walks the nodes; each tensor has a float index, an int8 index or, at a border, both."""

    def __init__(self, quantized: QuantizedGraph, float_storage: FloatStorage) -> None:
        self.writer = TfliteWriter()
        self._quantized = quantized
        self._graph = quantized.graph
        self._shapes = dict(tensor_shapes(quantized.graph))
        self._float_storage = float_storage
        self._tensors: dict[tuple[str, bool], int] = {}
        self.image = self._input()

    def run(self) -> int:
        """Emits every node; the index of the float32 output."""
        for node in self._graph.nodes:
            integer = all(name in self._quantized.activations for name in (node.name, *node.inputs))
            self._tensors[node.name, integer] = self._emit(node, integer)
        return self._read(self._graph.output_name, integer=False)

    def _input(self) -> int:
        """float32 as the network takes it, or uint8 pixels.

        Pixels become int8 by way of float32, exactly: XNNPACK runs DEQUANTIZE and QUANTIZE in a seventh of the time of
        the one QUANTIZE from uint8 to int8, which it leaves to a slow kernel.
        """
        name, shape = self._graph.input_name, self._graph.input_shape
        params = self._quantized.activations.get(name)
        if params is None:
            self._tensors[name, False] = self.writer.tensor(name, shape, "float32")
            return self._tensors[name, False]
        pixels = self.writer.tensor(name, shape, "uint8", scale=params.scale, zero_point=params.zero_point + 128)
        values = self.writer.tensor(f"{name}/float", shape, "float32")
        self._tensors[name, False] = self.writer.operator(
            "DEQUANTIZE", [pixels], values, options=schema.DequantizeOptionsT()
        )
        return pixels

    def _read(self, name: str, *, integer: bool) -> int:
        """The tensor in the wanted type; a border operator is added once."""
        if (name, integer) not in self._tensors:
            params = self._quantized.activations[name]
            source = self._tensors[name, not integer]
            suffix, code, options = (
                ("int8", "QUANTIZE", schema.QuantizeOptionsT())
                if integer
                else ("float", "DEQUANTIZE", schema.DequantizeOptionsT())
            )
            target = self._make(f"{name}/{suffix}", self._shapes[name], params if integer else None)
            version = 1 if integer else _DEQUANTIZE_VERSION["int8"]
            self._tensors[name, integer] = self.writer.operator(
                code, [source], target, version=version, options=options
            )
        return self._tensors[name, integer]

    def _make(self, name: str, shape: tuple[int, ...], params: QuantParams | None) -> int:
        if params is None:
            return self.writer.tensor(name, shape, "float32")
        return self.writer.tensor(name, shape, "int8", scale=params.scale, zero_point=params.zero_point)

    def _emit(self, node: Node, integer: bool) -> int:
        inputs = [self._read(name, integer=integer) for name in node.inputs]
        params = self._quantized.activations[node.name] if integer else None
        match node:
            case Conv2D() | DepthwiseConv2D():
                return self._convolution(node, inputs[0], params)
            case Dense():
                return self._dense(node, inputs[0], params)
            case Activation(kind="swish"):
                return self._swish(node, inputs[0], params)
            case Border():
                return self._border(node, inputs[0], params)
        output = self._make(node.name, self._shapes[node.name], params)
        match node:
            case Activation(kind="sigmoid"):
                return self._operator("LOGISTIC", inputs, output, integer)
            case Add():
                return self._operator(
                    "ADD", inputs, output, integer, schema.AddOptionsT(fusedActivationFunction=_fused(node.activation))
                )
            case Mul():
                return self._product(node, inputs, output, params)
            case GlobalMean():
                axes = self.writer.shared_constant("mean/axes", np.array([1, 2], np.int32))
                return self._operator(
                    "MEAN", [*inputs, axes], output, integer, schema.ReducerOptionsT(keepDims=node.keep_dims)
                )

    def _operator(self, code: str, inputs: list[int], output: int, integer: bool, options: object = None) -> int:
        version = _INT32_VERSIONS[code] if integer else 1
        return self.writer.operator(code, inputs, output, version=version, options=options)

    def _convolution(self, node: Conv2D | DepthwiseConv2D, tensor: int, params: QuantParams | None) -> int:
        """CONV_2D or DEPTHWISE_CONV_2D."""
        integer = params is not None
        if (
            integer
            and isinstance(node, DepthwiseConv2D)
            and node.weight.shape[:2] == (1, 1)
            and _pixels_together(self._shapes[node.name]) > 1
        ):
            return self._factors(node, tensor, params)
        tensor, scheme = self._padded(node, tensor, integer)
        inputs = [tensor, self._weight(node, integer), self._bias(node, integer)]
        output = self._make(node.name, self._shapes[node.name], params)
        code = "CONV_2D" if isinstance(node, Conv2D) else "DEPTHWISE_CONV_2D"
        return self._operator(code, inputs, output, integer, _convolution_options(node, scheme))

    def _padded(self, node: Conv2D | DepthwiseConv2D, tensor: int, integer: bool) -> tuple[int, int]:
        """SAME or VALID where one of them means this padding, otherwise an explicit PAD before a VALID convolution."""
        name = node.inputs[0]
        _, height, width, channels = self._shapes[name]
        kernel = node.weight.shape[1:3] if isinstance(node, Conv2D) else node.weight.shape[:2]
        same = Padding(*same_padding(height, kernel[0], node.stride), *same_padding(width, kernel[1], node.stride))
        if node.padding == NO_PADDING:
            return tensor, schema.Padding.VALID
        if node.padding == same:
            return tensor, schema.Padding.SAME
        pad = node.padding
        shape = (1, height + pad.top + pad.bottom, width + pad.left + pad.right, channels)
        target = self._make(f"{node.name}/padded", shape, self._quantized.activations[name] if integer else None)
        return self._pad(f"{node.name}/pad", tensor, pad, target, integer), schema.Padding.VALID

    def _pad(self, name: str, tensor: int, pad: Padding, target: int, integer: bool) -> int:
        amounts = np.array([[0, 0], [pad.top, pad.bottom], [pad.left, pad.right], [0, 0]], np.int32)
        return self._operator(
            "PAD", [tensor, self.writer.shared_constant(name, amounts)], target, integer, schema.PadOptionsT()
        )

    def _dense(self, node: Dense, tensor: int, params: QuantParams | None) -> int:
        """The classifier: float32 logits from float32 features, so that no two classes tie."""
        inputs = [tensor, self._weight(node, params is not None), self._bias(node, params is not None)]
        output = self._make(node.name, self._shapes[node.name], params)
        return self.writer.operator(
            "FULLY_CONNECTED", inputs, output, version=4 if params else 1, options=schema.FullyConnectedOptionsT()
        )

    def _swish(self, node: Activation, tensor: int, params: QuantParams | None) -> int:
        """LOGISTIC and MUL of one tensor, side by side: XNNPACK runs the int8 pair as one table look-up."""
        shape, integer = self._shapes[node.name], params is not None
        gate = self._make(f"{node.name}/sigmoid", shape, SIGMOID_PARAMS if integer else None)
        self._operator("LOGISTIC", [tensor], gate, integer)
        return self._operator(
            "MUL", [tensor, gate], self._make(node.name, shape, params), integer, schema.MulOptionsT()
        )

    def _product(self, node: Mul, inputs: list[int], output: int, params: QuantParams | None) -> int:
        """MUL; a gate for few channels is laid side by side for several pixels at once."""
        shape = self._shapes[node.name]
        together = _pixels_together(shape) if params is not None and self._shapes[node.inputs[1]] != shape else 1
        if params is None or together == 1:
            return self._operator("MUL", inputs, output, params is not None, schema.MulOptionsT())
        values, factors = (self._quantized.activations[name] for name in node.inputs)
        gates = self._make(f"{node.name}/gates", (1, 1, 1, shape[3] * together), factors)
        self._operator("CONCATENATION", [inputs[1]] * together, gates, True, schema.ConcatenationOptionsT(axis=3))
        wide = _wide(shape, together)
        pixels = self._reshape(inputs[0], self._make(f"{node.name}/pixels", wide, values), wide)
        product = self._operator(
            "MUL", [pixels, gates], self._make(f"{node.name}/product", wide, params), True, schema.MulOptionsT()
        )
        return self._reshape(product, output, shape)

    def _factors(self, node: DepthwiseConv2D, tensor: int, params: QuantParams | None) -> int:
        """A depthwise convolution of one pixel, for several pixels at once."""
        shape = self._shapes[node.name]
        together = _pixels_together(shape)
        wide, source, stored = (
            _wide(shape, together),
            self._quantized.activations[node.inputs[0]],
            self._quantized.weights[node.name],
        )
        pixels = self._reshape(tensor, self._make(f"{node.name}/pixels", wide, source), wide)
        repeated = QuantizedWeight(np.tile(stored.values, together), np.tile(stored.scales, together))
        inputs = [
            pixels,
            self._int8_weight(f"{node.name}/weight", node, repeated),
            self._int32_bias(node, np.tile(node.bias, together), repeated.scales),
        ]
        options = _convolution_options(node, schema.Padding.VALID)
        product = self._operator(
            "DEPTHWISE_CONV_2D", inputs, self._make(f"{node.name}/product", wide, params), True, options
        )
        return self._reshape(product, self._make(node.name, shape, params), shape)

    def _reshape(self, tensor: int, target: int, shape: Shape) -> int:
        sides = self.writer.shared_constant(f"shape/{'x'.join(map(str, shape))}", np.array(shape, np.int32))
        return self.writer.operator(
            "RESHAPE", [tensor, sides], target, options=schema.ReshapeOptionsT(newShape=list(shape))
        )

    def _border(self, node: Border, tensor: int, params: QuantParams | None) -> int:
        """Columns, then rows, of constant pixels joined on: a copy, where adding a constant frame would cost 0.5 ms."""
        shape, pad = self._shapes[node.name], node.padding
        frame = frame_nhwc(node, shape)
        inner = frame[:, pad.top : shape[1] - pad.bottom]
        columns = (inner[:, :, : pad.left], inner[:, :, shape[2] - pad.right :])
        tensor = self._joined(f"{node.name}/columns", tensor, columns, inner.shape, params, axis=2)
        rows = (frame[:, : pad.top], frame[:, shape[1] - pad.bottom :])
        return self._joined(node.name, tensor, rows, shape, params, axis=1)

    def _joined(
        self,
        name: str,
        tensor: int,
        strips: tuple[FloatArray, FloatArray],
        shape: Shape,
        params: QuantParams | None,
        *,
        axis: int,
    ) -> int:
        """CONCATENATION of the strip before, the tensor and the strip after; empty strips are left out."""
        before, after = (
            [self._strip(f"{name}/{side}", strip, params)] if strip.size else []
            for side, strip in zip(("before", "after"), strips, strict=True)
        )
        if not before and not after:
            return tensor
        output = self._make(name, shape, params)
        return self._operator(
            "CONCATENATION",
            [*before, tensor, *after],
            output,
            params is not None,
            schema.ConcatenationOptionsT(axis=axis),
        )

    def _strip(self, name: str, values: FloatArray, params: QuantParams | None) -> int:
        if params is None:
            return self.writer.constant(name, values)
        integers = quantize(values, params.scale, params.zero_point)
        return self.writer.constant(
            name, integers, scales=np.array([params.scale], np.float32), zero_point=params.zero_point
        )

    def _weight(self, node: Weighted, integer: bool) -> int:
        stored = self._quantized.weights.get(node.name)
        name = f"{node.name}/weight"
        if stored is not None:
            index = self._int8_weight(name, node, stored)
            return index if integer else self._widened(name, _tflite_layout(node, node.weight).shape, index, "int8")
        values = _tflite_layout(node, node.weight)
        if self._float_storage == "float32" or values.size < SMALLEST_HALF:
            return self.writer.constant(name, values)
        return self._widened(name, values.shape, self.writer.constant(f"{name}/float16", to_half(values)), "float16")

    def _int8_weight(self, name: str, node: Weighted, stored: QuantizedWeight) -> int:
        axis = 3 if isinstance(node, DepthwiseConv2D) else 0
        return self.writer.constant(
            f"{name}/int8", _tflite_layout(node, stored.values), scales=stored.scales, axis=axis
        )

    def _widened(self, name: str, shape: tuple[int, ...], stored: int, dtype: str) -> int:
        """DEQUANTIZE of a constant: LiteRT runs it once, when the file is loaded."""
        output = self.writer.tensor(name, shape, "float32")
        return self.writer.operator(
            "DEQUANTIZE", [stored], output, version=_DEQUANTIZE_VERSION[dtype], options=schema.DequantizeOptionsT()
        )

    def _bias(self, node: Weighted, integer: bool) -> int:
        if not integer:
            return self.writer.constant(f"{node.name}/bias", node.bias)
        return self._int32_bias(node, node.bias, self._quantized.weights[node.name].scales)

    def _int32_bias(self, node: Weighted, bias: FloatArray, weight_scales: FloatArray) -> int:
        scales = self._quantized.activations[node.inputs[0]].scale * weight_scales.astype(np.float64)
        return self.writer.constant(
            f"{node.name}/bias", quantize(bias, scales, dtype=np.int32), scales=scales.astype(np.float32)
        )


def _convolution_options(node: Conv2D | DepthwiseConv2D, scheme: int) -> object:
    common = {
        "padding": scheme,
        "strideW": node.stride,
        "strideH": node.stride,
        "fusedActivationFunction": _fused(node.activation),
    }
    if isinstance(node, Conv2D):
        return schema.Conv2DOptionsT(dilationWFactor=1, dilationHFactor=1, **common)
    return schema.DepthwiseConv2DOptionsT(depthMultiplier=1, dilationWFactor=1, dilationHFactor=1, **common)


def _pixels_together(shape: Shape) -> int:
    """How many pixels are multiplied at once: XNNPACK calls its kernel for every row of factors, which costs as much as
    32 channels.
    """
    pixels = shape[1] * shape[2]
    return _TOGETHER if shape[3] <= _FEW_CHANNELS and pixels >= _MANY_PIXELS and pixels % _TOGETHER == 0 else 1


def _wide(shape: Shape, together: int) -> Shape:
    return (1, 1, shape[1] * shape[2] // together, shape[3] * together)


def _tflite_layout(node: Weighted, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return values[None] if isinstance(node, DepthwiseConv2D) else values


def _fused(activation: Fused) -> int:
    return int(schema.ActivationFunctionType.RELU6 if activation == "relu6" else schema.ActivationFunctionType.NONE)
