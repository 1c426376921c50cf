"""From a float `.tflite` file to the `Network`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.exporters.inputs.assembly.allowance import Allowance
from edge_effnet.exporters.inputs.assembly.assembler import Assembler
from edge_effnet.exporters.inputs.assembly.complete import Source, completed, remarks_on_outputs
from edge_effnet.exporters.inputs.assembly.image import RAW, Given
from edge_effnet.exporters.inputs.assembly.operands import Operand, Probabilities
from edge_effnet.exporters.inputs.assembly.value import Value, refuse
from edge_effnet.exporters.inputs.learned import check_learned
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.tflite.constants import folded
from edge_effnet.exporters.inputs.tflite.operators import OPERATORS, Call
from edge_effnet.files import sha256_of
from edge_effnet.formats.official import OFFICIAL, statistics_in
from edge_effnet.formats.tflite import TfliteFile, read_tflite
from edge_effnet.formats.tflite_tensors import TfliteTensor
from edge_effnet.network.records import Network

_CHANNELS = (1, 3)
_INTEGERS = ("int8", "uint8", "int16", "int4")
_FREE = -1


def network_of_tflite(path: Path, options: InputOptions) -> Network:
    """The network in a float `.tflite` file.

    Raises ModelFileError for a broken file, OperatorError for what isn't in the operator table, UsageError for what
    must be said, or for a file that is quantized already.
    """
    file = read_tflite(path)
    _refuse_quantized(file)
    check_learned((tensor.name for tensor in file.tensors), name=file.name)
    assembler, image, output = assembled(file, options.image_size)
    source = Source(
        form="tflite",
        dialect=file.description or "tflite",
        sha256=sha256_of(path),
        labels=file.labels,
        given=_given(file),
        document=None if file.document is None else file.document.to_json(),
        remarks=remarks_on_outputs([file.tensors[index].name for index in file.outputs]),
    )
    network = completed(assembler, image, output, source=source, options=options)
    return replace(network, remarks=(*network.remarks, *_left_behind(file)))


def _left_behind(file: TfliteFile) -> tuple[str, ...]:
    """What a learned file knows besides its network."""
    if file.document is None or file.document.unknown is None:
        return ()
    return (
        "the new file won't call anything unknown: the features of learned photos that tell so aren't exported; "
        "`edge-effnet learn --base` with it learns them anew",
    )


def _given(file: TfliteFile) -> Given:
    """By the official metadata, which clients that squash photos bilinearly read; bytes are pixels as they are."""
    official = file.metadata.get(OFFICIAL)
    if file.input.dtype == "uint8":
        return Given(statistics=RAW)
    found = None if official is None else statistics_in(official, name=file.name)
    if found is None:
        return Given()
    mean, std = (values * (3 if len(values) == 1 else 1) for values in found)
    remark = "prepared as the file's metadata say: squashed, bilinear; --resize-mode and --resizer if trained otherwise"
    return Given((mean, std), interpolation="bilinear", mode="squash", resizer="opencv", remarks=(remark,))


def _refuse_quantized(file: TfliteFile) -> None:
    """Raises UsageError for integer weights, with what to bring instead."""
    found = next(
        (
            tensor
            for tensor in file.tensors
            if tensor.dtype in _INTEGERS and len(tensor.scales) and tensor.data is not None
        ),
        None,
    )
    if found is not None:
        raise UsageError(
            f"{file.name}: is quantized already (its tensor {found.name!r:.60} is {found.dtype}); it runs as it is, "
            "and to quantize it anew bring the float network it was made from"
        )
    if file.subgraphs != 1 or not file.inputs or not file.outputs:
        raise ModelFileError(
            f"{file.name}: has {file.subgraphs} graphs, {len(file.inputs)} inputs and "
            f"{len(file.outputs)} outputs; expected one graph from an image to classes"
        )


def assembled(file: TfliteFile, image_size: tuple[int, int] | None) -> tuple[Assembler, Value, Operand]:
    """(the nodes, the image, the output) of a file."""
    assembler = Assembler()
    axes, sides = _layout(file.tensors[file.inputs[0]], image_size, file.name)
    image = assembler.image(axes, *sides)
    tensors: dict[int, Operand] = {file.inputs[0]: image}
    allowance = Allowance.of(file.size_bytes)
    for index in range(len(file.operators)):
        _run(assembler, file, index, tensors, allowance)
    if file.outputs[0] not in tensors:
        raise ModelFileError(f"{file.name}: no operator makes its output; the file is damaged")
    return assembler, image, tensors[file.outputs[0]]


def _layout(tensor: TfliteTensor, image_size: tuple[int, int] | None, name: str) -> tuple[str, tuple[int, int, int]]:
    sides = tensor.signature or tensor.shape
    if len(sides) != 4 or tensor.dtype not in ("float32", "uint8", "float16"):
        raise UsageError(f"{name}: takes {tensor.dtype}{list(sides)}; expected an image of four sides")
    axes = "NHWC" if sides[3] in _CHANNELS else "NCHW"
    given = dict(zip(axes, sides, strict=True))
    height, width = (given["H"], given["W"]) if image_size is None else image_size
    if given["C"] not in _CHANNELS:
        raise UsageError(
            f"{name}: takes {list(sides)}; expected an image of 3 channels (RGB) or 1 (grey), which is what photos "
            "have; train it with one of these"
        )
    if _FREE in (height, width):
        raise UsageError(f"{name}: takes images of any size {list(sides)}; say which: --image-size N")
    if any(given[axis] not in (_FREE, side) for axis, side in zip("HW", (height, width), strict=True)):
        raise UsageError(
            f"{name}: takes images of {given['H']}×{given['W']}, fixed when it was made; leave out --image-size"
        )
    return axes, (height, width, given["C"])


def _run(assembler: Assembler, file: TfliteFile, index: int, tensors: dict[int, Operand], allowance: Allowance) -> None:
    operator = file.operators[index]
    operands = [_operand(place, file, tensors, index) for place in operator.inputs]
    if len(operator.outputs) != 1 or operator.outputs[0] in tensors:
        raise ModelFileError(
            f"{file.name}: operator {index} ({operator.code}) makes {list(operator.outputs)}; expected "
            "one tensor that isn't there yet"
        )
    name = file.tensors[operator.outputs[0]].name
    if any(isinstance(item, Value | Probabilities) for item in operands):
        if operator.code not in OPERATORS:
            refuse(f"{operator.code} ({name!r:.80})", f"one of {', '.join(sorted(OPERATORS))}")
        made = OPERATORS[operator.code](Call(assembler, operator.code, name, operands, operator.options))
    else:
        constants = [item for item in operands if isinstance(item, np.ndarray)]
        made = folded(operator.code, constants, operator.options, allowance)
    tensors[operator.outputs[0]] = made


def _operand(place: int, file: TfliteFile, tensors: dict[int, Operand], index: int) -> Operand | None:
    if place < 0:
        return None
    if place in tensors:
        return tensors[place]
    if file.tensors[place].data is None:
        raise ModelFileError(f"{file.name}: operator {index} reads tensor {place}, which nothing before it makes")
    return file.tensors[place].values()
