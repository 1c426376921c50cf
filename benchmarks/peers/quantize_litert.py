"""litert-torch's conversion and ai-edge-quantizer's static recipe: int8 weights per channel, int8 activations."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def main(model: str, arrays: str, result: str) -> None:
    """Converts and quantizes the network, runs it in LiteRT on one thread, writes the logits."""
    import litert_torch  # type: ignore[import-not-found, unused-ignore]
    import torch
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe  # type: ignore[import-not-found, unused-ignore]

    photos = np.load(arrays)
    nhwc = {name: np.ascontiguousarray(photos[name].transpose(0, 2, 3, 1)) for name in ("calibration", "evaluation")}
    module = litert_torch.to_channel_last_io(network(model), args=[0]).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "float.tflite")
        litert_torch.convert(module, (torch.from_numpy(nhwc["evaluation"][:1]),)).export(path)
        name = next(iter(Interpreter(model_path=path).get_signature_runner().get_input_details()))
        maker = quantizer.Quantizer(path, recipe.static_wi8_ai8())
        statistics = maker.calibrate({"serving_default": [{name: image[None]} for image in nhwc["calibration"]]})
        content = bytes(maker.quantize(statistics).quantized_model)
    runner = open_model(content)
    logits = [runner(image[None]) for image in nhwc["evaluation"]]
    np.savez(result, logits=np.asarray(logits, np.float32))


def open_model(content: bytes) -> Callable[[Any], Any]:
    """What gives float32[C] for float32[1, H, W, 3]; the file's own input and output are int8."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(image: Any) -> Any:
        scale, zero_point = source["quantization"]
        integers = np.clip(np.rint(image / scale + zero_point), -128, 127).astype(np.int8) if scale else image
        interpreter.set_tensor(source["index"], integers)
        interpreter.invoke()
        values = interpreter.get_tensor(target["index"])[0].astype(np.float32)
        scale, zero_point = target["quantization"]
        return (values - zero_point) * scale if scale else values

    return run


def network(path: str) -> Any:
    """An nn.Module that computes what the float `.onnx` file says; only what EfficientNet needs."""
    import onnx
    import torch
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    constants = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    steps = [(node.op_type, tuple(node.input), node.output[0], _attributes(node)) for node in graph.node]

    class Network(torch.nn.Module):
        """The file's nodes in order."""

        def forward(self, image: Any) -> Any:
            """Logits for float32[1, 3, H, W]."""
            values = {**constants, graph.input[0].name: image}
            for operator, inputs, output, attributes in steps:
                values[output] = _apply(operator, [values[name] for name in inputs if name], attributes)
            return values[graph.output[0].name]

    return Network()


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _apply(operator: str, values: list[Any], attributes: dict[str, Any]) -> Any:
    import torch
    from torch.nn import functional

    first, *rest = values
    if operator == "Conv":
        top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
        symmetric = top == bottom and left == right
        source = first if symmetric else functional.pad(first, (left, right, top, bottom))
        padding = (top, left) if symmetric else (0, 0)
        return functional.conv2d(source, rest[0], rest[1], stride=attributes.get("strides", (1, 1)), padding=padding, groups=attributes.get("group", 1))
    if operator == "Clip":
        return functional.relu6(first)
    if operator == "Gemm":
        return functional.linear(first, rest[0] if attributes.get("transB") else rest[0].T, *rest[1:])
    if operator in ("GlobalAveragePool", "ReduceMean"):
        return first.mean(dim=(2, 3), keepdim=operator == "GlobalAveragePool" or bool(attributes.get("keepdims", 1)))
    if operator == "Flatten":
        return first.flatten(1)
    if operator == "Reshape":
        return first.reshape([int(side) for side in rest[0]])
    simple: dict[str, Any] = {"Add": torch.add, "Mul": torch.mul, "Sigmoid": torch.sigmoid, "Relu": torch.relu, "MatMul": torch.matmul}
    if operator not in simple:
        raise SystemExit(f"operator {operator}; expected one that an EfficientNet needs: {', '.join(sorted(simple))}, Conv, Clip, Gemm, …")
    return simple[operator](first, *rest)


if __name__ == "__main__":
    main(*sys.argv[1:4])
