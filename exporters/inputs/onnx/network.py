"""From an `.onnx` file to the `Network`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.exporters.inputs.assembly.allowance import Allowance
from edge_effnet.exporters.inputs.assembly.assembler import Assembler
from edge_effnet.exporters.inputs.assembly.complete import Source, completed, remarks_on_outputs
from edge_effnet.exporters.inputs.assembly.image import RAW, Given
from edge_effnet.exporters.inputs.assembly.labels import labels_in
from edge_effnet.exporters.inputs.assembly.operands import Operand, Probabilities
from edge_effnet.exporters.inputs.assembly.value import Value, refuse
from edge_effnet.exporters.inputs.learned import check_learned
from edge_effnet.exporters.inputs.onnx.call import Call
from edge_effnet.exporters.inputs.onnx.constants import folded
from edge_effnet.exporters.inputs.onnx.operators import OPERATORS
from edge_effnet.exporters.inputs.onnx.reading import OnnxContent, Step, read_content
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.files import sha256_of
from edge_effnet.formats.records import TensorFacts
from edge_effnet.metadata import ONNX_PROPERTY
from edge_effnet.network.records import Network

_CHANNELS = (1, 3)
_QUANTIZED = (
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "ConvInteger",
    "MatMulInteger",
    "DynamicQuantizeLinear",
)
_OWN_DOMAINS = ("", "ai.onnx")
_INPUT_TYPES = ("float32", "float16", "uint8", "float64")


def network_of_onnx(path: Path, options: InputOptions) -> Network:
    """The network in a float `.onnx` file.

    Raises ModelFileError for a broken file, OperatorError for what isn't in the operator table, UsageError for what
    must be said.
    """
    content = read_content(path)
    quantized = next((step.op for step in content.steps if step.op in _QUANTIZED), None)
    if quantized:
        raise UsageError(
            f"{path}: is quantized already ({quantized}); it runs as it is, and to quantize it anew bring the float "
            "network it was made from"
        )
    check_learned((output for step in content.steps for output in step.outputs), name=str(path))
    assembler, image, output = assembled(content, options.image_size, str(path))
    source = Source(
        form="onnx",
        dialect=content.producer or "onnx",
        sha256=sha256_of(path),
        labels=labels_in(content.properties, own=ONNX_PROPERTY),
        given=_given(content),
        document=content.properties.get(ONNX_PROPERTY),
        remarks=remarks_on_outputs(content.outputs),
    )
    return completed(assembler, image, output, source=source, options=options)


def assembled(content: OnnxContent, image_size: tuple[int, int] | None, name: str) -> tuple[Assembler, Value, Operand]:
    """(the nodes, the image, the output) of a graph."""
    facts = _image_input(content.inputs, name)
    axes, sides = _layout(facts, image_size, name)
    assembler = Assembler()
    image = assembler.image(axes, *sides)
    tensors: dict[str, Operand] = {facts.name: image}
    allowance = Allowance.of(content.constant_bytes)
    for step in _needed(content):
        _run(assembler, step, tensors, content, allowance)
    if not content.outputs or content.outputs[0] not in tensors:
        raise ModelFileError(f"{name}: no node makes its output; the file is damaged, export it again")
    return assembler, image, tensors[content.outputs[0]]


def _given(content: OnnxContent) -> Given:
    return Given(statistics=RAW) if content.inputs and content.inputs[0].dtype == "uint8" else Given()


def _image_input(inputs: Sequence[TensorFacts], name: str) -> TensorFacts:
    found = [facts for facts in inputs if facts.shape is not None and len(facts.shape) == 4]
    if len(inputs) != 1 or len(found) != 1 or found[0].dtype not in _INPUT_TYPES:
        described = [f"{facts.name} {facts.dtype}{facts.shape}" for facts in inputs[:4]]
        raise UsageError(
            f"{name}: takes {', '.join(described) or 'nothing'}; expected one image of four sides. Constants that "
            "became inputs (a known fault of tf2onnx) must be frozen into the file first"
        )
    return found[0]


def _layout(facts: TensorFacts, image_size: tuple[int, int] | None, name: str) -> tuple[str, tuple[int, int, int]]:
    """(axes, (height, width, channels)) of the image input."""
    shape = facts.shape or ()
    axes = "NCHW" if shape[1] in _CHANNELS or (shape[1] is None and shape[3] not in _CHANNELS) else "NHWC"
    given = dict(zip(axes, shape, strict=True))
    if given["C"] not in (None, *_CHANNELS):
        raise UsageError(
            f"{name}: takes {list(shape)}; expected an image of 3 channels (RGB) or 1 (grey), which is what photos "
            "have; train it with one of these"
        )
    height, width = (given["H"], given["W"]) if image_size is None else image_size
    if height is None or width is None:
        raise UsageError(f"{name}: takes images of any size {list(shape)}; say which: --image-size N")
    if image_size is not None and any(given[a] not in (None, s) for a, s in zip("HW", image_size, strict=True)):
        raise UsageError(
            f"{name}: takes images of {given['H']}×{given['W']}, fixed when it was exported; leave out "
            f"--image-size, or export it anew"
        )
    if not (1 <= height <= 4096 and 1 <= width <= 4096):
        raise UsageError(f"{name}: takes images of {height}×{width}; expected sides of 1 to 4096")
    return axes, (height, width, given["C"] or 3)


def _needed(content: OnnxContent) -> list[Step]:
    """The nodes that the first output depends on, in order."""
    wanted = set(content.outputs[:1])
    found: list[Step] = []
    for step in reversed(content.steps):
        if wanted.intersection(step.outputs):
            wanted.update(step.inputs)
            found.append(step)
    return found[::-1]


def _run(
    assembler: Assembler, step: Step, tensors: dict[str, Operand], content: OnnxContent, allowance: Allowance
) -> None:
    operands = [_operand(name, step, tensors, content) for name in step.inputs]
    if not step.outputs or any(name in tensors for name in step.outputs if name):
        raise ModelFileError(f"node {step.name or step.op!r} makes a tensor that is there already; the file is damaged")
    if step.domain not in _OWN_DOMAINS:
        refuse(f"{step.op} of the domain {step.domain!r}", "ONNX's own operators")
    if any(isinstance(item, Value | Probabilities) for item in operands):
        if step.op not in OPERATORS:
            refuse(f"{step.op} ({step.name!r})", f"one of {', '.join(sorted(OPERATORS))}")
        if isinstance(operands[0], Probabilities) and step.op in ("Identity", "Cast"):
            tensors[step.outputs[0]] = operands[0]
            return
        tensors[step.outputs[0]] = OPERATORS[step.op](Call(assembler, step, operands, content.opset))
    else:
        constants = [item if isinstance(item, np.ndarray) else None for item in operands]
        tensors[step.outputs[0]] = folded(step, constants, allowance)


def _operand(name: str, step: Step, tensors: dict[str, Operand], content: OnnxContent) -> Operand | None:
    if not name:
        return None
    if name in tensors:
        return tensors[name]
    if name in content.constants:
        return content.constants[name]
    raise ModelFileError(f"node {step.name or step.op!r} reads {name!r:.80}, which nothing before it makes")
