"""From a graph to the bytes of an `.onnx` file: NCHW, dynamic batch, opset 17, self-contained, QDQ where quantized.

Quantized activations are uint8 (the int8 parameters with 128 added to the zero point): ONNX Runtime's fastest integer
kernels on x86 and ARM take uint8 activations with int8 weights. Source of the operators: onnx.ai/onnx/operators.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import MissingDependencyError
from edge_effnet.exporters.outputs.half import SMALLEST_HALF, FloatStorage, to_half
from edge_effnet.formats.integrity import digest
from edge_effnet.formats.onnx import with_document
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.activations import LEAK, Fused
from edge_effnet.network.graph import (
    Activation,
    Add,
    Border,
    Conv2D,
    Convolution,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalMean,
    Mul,
    Node,
    Softmax,
    Weighted,
    frame_nhwc,
)
from edge_effnet.network.operators import tensor_shapes, unsupported
from edge_effnet.numerics import SIGMOID_PARAMS, QuantParams, quantize
from edge_effnet.quantization.records import QuantizedGraph, QuantizedWeight

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as _error:
    raise MissingDependencyError("writing .onnx needs onnx: pip install 'edge-effnet[export]'") from _error

OPSET = 17
#: The intermediate representation of onnx 1.12, the first with opset 17; newer ones would shut older runtimes out.
IR_VERSION = 8


def emit_onnx(quantized: QuantizedGraph, document: ModelDocument, *, float_storage: FloatStorage = "float32") -> bytes:
    """The whole file. float_storage: how weights without int8 values lie in the file (float16 is widened on
    loading).
    """
    emitter = _Emitter(quantized, float_storage)
    emitter.run()
    model = helper.make_model(
        emitter.finished(f"EfficientNet-{document.variant}"),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edge-effnet",
        doc_string=f"EfficientNet-{document.variant} {document.precision}",
    )
    onnx.checker.check_model(model)
    data = bytes(model.SerializeToString(deterministic=True))
    return with_document(data, replace(document, weights_sha256=digest([data])))


class _Emitter:
    """Walks the nodes; each tensor has a float32 name, a uint8 name or, between Q and DQ, both."""

    def __init__(self, quantized: QuantizedGraph, float_storage: FloatStorage) -> None:
        self._quantized = quantized
        self._graph = quantized.graph
        self._shapes = tensor_shapes(quantized.graph)
        self._float_storage = float_storage
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}
        self._float: dict[str, str] = {}
        self._integer: dict[str, str] = {}
        image = self._graph.input_name
        (self._integer if image in quantized.activations else self._float)[image] = image

    def run(self) -> None:
        """Emits every node and the float32 output under its own name."""
        for node in self._graph.nodes:
            if isinstance(node, Border) and node.inputs[0] in self._integer:
                self._integer[node.name] = self._integer_border(node)
            else:
                self._float[node.name] = self._emit(node)
                if node.name in self._quantized.activations:
                    self._integer[node.name] = self._quantize(node.name, self._float.pop(node.name))
        for output in self._graph.outputs:
            if self._read(output) != output:
                self._node("Identity", [self._read(output)], output)

    def finished(self, name: str) -> Any:
        """The GraphProto with a dynamic batch at both ends."""
        _, height, width, channels = self._graph.input_shape
        integer = self._graph.input_name in self._quantized.activations
        kind = TensorProto.UINT8 if integer else TensorProto.FLOAT
        inputs = [helper.make_tensor_value_info(self._graph.input_name, kind, ["N", channels, height, width])]
        outputs = [self._output(name) for name in self._graph.outputs]
        return helper.make_graph(self._nodes, name, inputs, outputs, list(self._initializers.values()))

    def _output(self, name: str) -> Any:
        _, *sides = self._shapes[name]
        channels_first = sides if len(sides) == 1 else [sides[2], sides[0], sides[1]]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *channels_first])

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def _constant(self, name: str, values: npt.NDArray[Any]) -> str:
        self._initializers[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def _read(self, name: str) -> str:
        """The float32 tensor; a DequantizeLinear is added once."""
        if name not in self._float:
            scale, zero_point = self._params(name)
            self._float[name] = self._node(
                "DequantizeLinear", [self._integer[name], scale, zero_point], f"{name}/dequantized"
            )
        return self._float[name]

    def _quantize(self, name: str, tensor: str) -> str:
        return self._node("QuantizeLinear", [tensor, *self._params(name)], f"{name}/quantized")

    def _params(self, name: str) -> tuple[str, str]:
        params = self._quantized.activations[name]
        scale = self._constant(f"{name}/scale", np.array(params.scale, np.float32))
        return scale, self._constant(f"{name}/zero_point", np.array(params.zero_point + 128, np.uint8))

    def _emit(self, node: Node) -> str:
        inputs = [self._read(name) for name in node.inputs]
        output = f"{node.name}/float" if node.name in self._quantized.activations else node.name
        match node:
            case Conv2D() | DepthwiseConv2D():
                return self._convolution(node, inputs[0], output)
            case Dense():
                target = output if node.activation == "none" else f"{output}/sum"
                total = self._node("Gemm", [inputs[0], self._weight(node), self._bias(node)], target, transB=1)
                return self._clipped(total, output, node.activation)
            case Activation():
                return self._activation(node, inputs[0], output)
            case Add():
                total = self._node("Add", inputs, output if node.activation == "none" else f"{output}/sum")
                return self._clipped(total, output, node.activation)
            case Mul():
                return self._node("Mul", inputs, output)
            case GlobalMean():
                return self._mean(node, inputs[0], output)
            case Flatten():
                last = self._node("Transpose", inputs, f"{output}/nhwc", perm=[0, 2, 3, 1])
                return self._node("Flatten", [last], output)
            case Border():
                return self._float_border(node, inputs[0], output)
            case Softmax():
                return self._node("Softmax", inputs, output, axis=-1)
        raise unsupported(node, "the ONNX emitter")

    def _convolution(self, node: Convolution, tensor: str, output: str) -> str:
        pad = node.padding
        target = output if node.activation == "none" else f"{output}/sum"
        total = self._node(
            "Conv",
            [tensor, self._weight(node), self._bias(node)],
            target,
            kernel_shape=list(node.kernel),
            strides=[node.stride, node.stride],
            dilations=[node.dilation, node.dilation],
            pads=[pad.top, pad.left, pad.bottom, pad.right],
            group=node.groups if isinstance(node, Conv2D) else len(node.bias),
        )
        return self._clipped(total, output, node.activation)

    def _clipped(self, tensor: str, output: str, activation: Fused) -> str:
        if activation == "none":
            return tensor
        if activation == "relu":
            return self._node("Relu", [tensor], output)
        limits = [self._constant(f"limit/{value:g}", np.array(value, np.float32)) for value in (0.0, 6.0)]
        return self._node("Clip", [tensor, *limits], output)

    def _activation(self, node: Activation, tensor: str, output: str) -> str:
        match node.kind:
            case "swish":
                return self._swish(node, tensor, output)
            case "relu" | "relu6":
                return self._clipped(tensor, output, node.kind)
            case "sigmoid" | "tanh":
                return self._node(node.kind.capitalize(), [tensor], output)
            case "hard_swish":
                return self._node("HardSwish", [tensor], output)
            case "hard_sigmoid":
                return self._node("HardSigmoid", [tensor], output, alpha=1 / 6, beta=0.5)
            case "leaky_relu":
                return self._node("LeakyRelu", [tensor], output, alpha=LEAK)
            case "gelu":
                return self._gelu(node, tensor, output)
        raise unsupported(node, "the ONNX emitter")

    def _gelu(self, node: Activation, tensor: str, output: str) -> str:
        """x · σ(2 · √(2/π) · (x + 0.044715 x³)), its tanh form: opset 17 has no operator for it."""
        values = {"cubic": 0.044715, "one": 1.0, "inner": 2 * math.sqrt(2 / math.pi)}
        cubic, one, inner = (self._constant(f"gelu/{name}", np.array(v, np.float32)) for name, v in values.items())
        square = self._node("Mul", [tensor, tensor], f"{node.name}/square")
        bent = self._node("Add", [self._node("Mul", [square, cubic], f"{node.name}/cubic"), one], f"{node.name}/bent")
        argument = self._node("Mul", [tensor, bent], f"{node.name}/argument")
        gate = self._node("Sigmoid", [self._node("Mul", [argument, inner], f"{node.name}/scaled")], f"{node.name}/gate")
        return self._node("Mul", [tensor, gate], output)

    def _swish(self, node: Activation, tensor: str, output: str) -> str:
        """Sigmoid and product; between int8 tensors with the sigmoid rounded to 1/256, as in the `.tflite` file.

        ONNX Runtime then runs both as integer table look-up and product. Left in float32 between a DequantizeLinear
        and a QuantizeLinear they are not fused to its QuickGelu, and B0 is slower than in float32.
        """
        gate = self._node("Sigmoid", [tensor], f"{node.name}/sigmoid")
        if node.name in self._quantized.activations and node.inputs[0] in self._quantized.activations:
            params = [
                self._constant("sigmoid/scale", np.array(SIGMOID_PARAMS.scale, np.float32)),
                self._constant("sigmoid/zero_point", np.array(SIGMOID_PARAMS.zero_point + 128, np.uint8)),
            ]
            gate = self._node("QuantizeLinear", [gate, *params], f"{node.name}/sigmoid/quantized")
            gate = self._node("DequantizeLinear", [gate, *params], f"{node.name}/sigmoid/dequantized")
        return self._node("Mul", [tensor, gate], output)

    def _mean(self, node: GlobalMean, tensor: str, output: str) -> str:
        if node.keep_dims:
            return self._node("GlobalAveragePool", [tensor], output)
        return self._node("Flatten", [self._node("GlobalAveragePool", [tensor], f"{output}/mean")], output)

    def _integer_border(self, node: Border) -> str:
        """Zeros around the pixels, then the larger of them and a frame of constants: stays uint8, any batch."""
        params = self._quantized.activations[node.inputs[0]]
        frame = quantize(
            frame_nhwc(node, self._shapes[node.name]).transpose(0, 3, 1, 2),
            params.scale,
            params.zero_point + 128,
            dtype=np.uint8,
        )
        lowest = self._constant(f"{node.name}/lowest", np.array(0, np.uint8))
        padded = self._node("Pad", [self._integer[node.inputs[0]], self._pads(node), lowest], f"{node.name}/padded")
        return self._node("Max", [padded, self._constant(f"{node.name}/frame", frame)], f"{node.name}/quantized")

    def _float_border(self, node: Border, tensor: str, output: str) -> str:
        padded = self._node("Pad", [tensor, self._pads(node)], f"{output}/padded")
        return self._node(
            "Add",
            [
                padded,
                self._constant(f"{node.name}/frame", frame_nhwc(node, self._shapes[node.name]).transpose(0, 3, 1, 2)),
            ],
            output,
        )

    def _pads(self, node: Border) -> str:
        pad = node.padding
        return self._constant(
            f"{node.name}/pads", np.array([0, 0, pad.top, pad.left, 0, 0, pad.bottom, pad.right], np.int64)
        )

    def _weight(self, node: Weighted) -> str:
        name = f"{node.name}/weight"
        stored = self._quantized.weights.get(node.name)
        if stored is not None:
            integers = self._constant(f"{name}/int8", _onnx_layout(node, stored.values))
            zero_points = self._constant(f"{name}/zero_point", np.zeros(len(stored.scales), np.int8))
            return self._node(
                "DequantizeLinear",
                [integers, self._constant(f"{name}/scale", stored.scales), zero_points],
                name,
                axis=0,
            )
        values = _onnx_layout(node, node.weight)
        if self._float_storage == "float32" or values.size < SMALLEST_HALF:
            return self._constant(name, values)
        half = self._constant(f"{name}/float16", to_half(values))
        return self._node("Cast", [half], name, to=TensorProto.FLOAT)

    def _bias(self, node: Weighted) -> str:
        name = f"{node.name}/bias"
        params = self._quantized.activations.get(node.inputs[0])
        stored = self._quantized.weights.get(node.name)
        if params is None or stored is None or node.name not in self._quantized.activations:
            return self._constant(name, node.bias)
        return self._integer_bias(name, node, params, stored)

    def _integer_bias(self, name: str, node: Weighted, params: QuantParams, stored: QuantizedWeight) -> str:
        scales = params.scale * stored.scales.astype(np.float64)
        values = self._constant(f"{name}/int32", quantize(node.bias, scales, dtype=np.int32))
        zero_points = self._constant(f"{name}/zero_point", np.zeros(len(scales), np.int32))
        return self._node(
            "DequantizeLinear",
            [values, self._constant(f"{name}/scale", scales.astype(np.float32)), zero_points],
            name,
            axis=0,
        )


def _onnx_layout(node: Weighted, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Convolution [out, in, kh, kw], depthwise [channels, 1, kh, kw], dense [out, in]."""
    if isinstance(node, Conv2D):
        return values.transpose(0, 3, 1, 2)
    return values.transpose(2, 0, 1)[:, None] if isinstance(node, DepthwiseConv2D) else values
