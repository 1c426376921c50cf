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
    photos = np.load(arrays)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.tflite"
        convert(model, photos["evaluation"][:1], path)
        content = quantize(path, photos["calibration"])
    runner = open_model(content)
    logits = [runner(image[None]) for image in photos["evaluation"].transpose(0, 2, 3, 1)]
    np.savez(result, logits=np.asarray(logits, np.float32))


def convert(model: str, image: Any, path: Path) -> None:
    """Writes the float `.tflite` file; image: float32[1, 3, H, W]."""
    import litert_torch  # type: ignore[import-not-found, unused-ignore]
    import torch

    module = litert_torch.to_channel_last_io(network(model), args=[0]).eval()
    litert_torch.convert(module, (torch.from_numpy(_nhwc(image)),)).export(str(path))


def quantize(path: Path, calibration: Any) -> bytes:
    """The int8 file; calibration: float32[N, 3, H, W]."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe  # type: ignore[import-not-found, unused-ignore]

    name = next(iter(Interpreter(model_path=str(path)).get_signature_runner().get_input_details()))
    maker = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
    statistics = maker.calibrate({"serving_default": [{name: image[None]} for image in _nhwc(calibration)]})
    return bytes(maker.quantize(statistics).quantized_model)


def _nhwc(images: Any) -> Any:
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def make(folder: str) -> None:
    """litert-fp32.tflite and litert-int8.tflite."""
    arrays = np.load(Path(folder) / "arrays.npz")
    path = Path(folder) / "litert-fp32.tflite"
    convert(str(Path(folder) / "float.onnx"), arrays["image"], path)
    (Path(folder) / "litert-int8.tflite").write_bytes(quantize(path, arrays["calibration"]))


def open_subject(settings: dict[str, Any]) -> Callable[[], object]:
    """Runs the file of a precision in LiteRT on one thread; "eager" is the torch network as it is."""
    folder = Path(settings["folder"])
    image = np.load(folder / "arrays.npz")["image"]
    if settings["precision"] == "eager":
        return _open_eager(str(folder / "float.onnx"), image)
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / f"litert-{settings['precision']}.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = source["quantization"]
    tensor = np.clip(np.rint(_nhwc(image) / scale + zero_point), -128, 127).astype(np.int8) if scale else _nhwc(image)

    def run() -> object:
        interpreter.set_tensor(source["index"], tensor)
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])

    return run


def _open_eager(model: str, image: Any) -> Callable[[], object]:
    import torch

    torch.set_num_threads(1)
    module, tensor = network(model).eval(), torch.from_numpy(image)

    def run() -> object:
        with torch.inference_mode():
            return module(tensor)

    return run


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
        return functional.conv2d(
            source,
            rest[0],
            rest[1],
            stride=attributes.get("strides", (1, 1)),
            padding=padding,
            groups=attributes.get("group", 1),
        )
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
    simple: dict[str, Any] = {
        "Add": torch.add,
        "Mul": torch.mul,
        "Sigmoid": torch.sigmoid,
        "Relu": torch.relu,
        "MatMul": torch.matmul,
    }
    if operator not in simple:
        raise SystemExit(
            f"operator {operator}; expected one that an EfficientNet needs: {', '.join(sorted(simple))}, Conv, Clip, "
            "Gemm, …"
        )
    return simple[operator](first, *rest)


if __name__ == "__main__":
    make(sys.argv[2]) if sys.argv[1] == "make" else main(*sys.argv[1:4])
