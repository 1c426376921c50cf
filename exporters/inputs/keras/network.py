"""From a Keras file to the `Network`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge_effnet.errors import CheckpointError, OperatorError, UsageError
from edge_effnet.exporters.inputs.assembly.assembler import Assembler
from edge_effnet.exporters.inputs.assembly.complete import Source, completed
from edge_effnet.exporters.inputs.assembly.image import RAW, Given
from edge_effnet.exporters.inputs.assembly.operands import Operand
from edge_effnet.exporters.inputs.assembly.value import Value
from edge_effnet.exporters.inputs.keras.archive import KerasFile, opened
from edge_effnet.exporters.inputs.keras.call import Call
from edge_effnet.exporters.inputs.keras.config import Layer, Model, Reference, read_model
from edge_effnet.exporters.inputs.keras.layers import LAYERS
from edge_effnet.exporters.inputs.keras.rehearsal import rehearse
from edge_effnet.exporters.inputs.keras.weights import Weights, weights_of
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.files import sha256_of
from edge_effnet.network.records import Network

_CHANNELS = (1, 3)
_REMARK = (
    "photos are squashed to a square with TensorFlow's bilinear interpolation, without antialiasing, as Keras' "
    "image_dataset_from_directory does; --resize-mode and --resizer if trained otherwise"
)

_ALONE = (
    "weights alone: layers without weights (Rescaling before the network, for one) aren't known by their values; "
    "model.save('model.keras') keeps them"
)


def network_of_keras(path: Path, options: InputOptions) -> Network:
    """The network in a `.keras` or `.h5` file, whole or weights alone, read in a process of its own first.

    Raises CheckpointError for a broken file, OperatorError for layers that aren't in the table, UsageError for what
    must be said.
    """
    rehearse(path, options.image_size)
    return read_network(path, options)


def read_network(path: Path, options: InputOptions) -> Network:
    """The same, in this process: HDF5's library may not come to an end on a damaged file."""
    with opened(path) as file:
        if file.config is None:
            from edge_effnet.exporters.inputs.keras.weights_alone import assembled_from_weights

            assembler, image, output, architecture = assembled_from_weights(file, options)
        else:
            assembler, image, output = assembled(file, options.image_size, str(path))
            architecture = None
        said = options.preprocessing
        remarks = (() if said.mode or said.resizer else (_REMARK,)) + (() if file.config else (_ALONE,))
        source = Source(
            form="keras",
            dialect="keras",
            sha256=sha256_of(path),
            given=Given(statistics=RAW, interpolation="bilinear", mode="squash", resizer="tensorflow", remarks=remarks),
            architecture=architecture,
            details={"keras_version": file.version} if file.version else {},
        )
        return completed(assembler, image, output, source=source, options=options)


def assembled(file: KerasFile, image_size: tuple[int, int] | None, name: str) -> tuple[Assembler, Value, Operand]:
    """(the nodes, the image, the output) of a whole model."""
    model = read_model(file.config or {})
    assembler = Assembler()
    image = _image(assembler, model, image_size, name)
    output = _run_model(assembler, model, image, weights_of(file), file.version)
    return assembler, image, output


def _image(assembler: Assembler, model: Model, image_size: tuple[int, int] | None, name: str) -> Value:
    shape = model.input_shape
    if shape is None or len(shape) != 4 or len(model.inputs) > 1 or len(model.outputs) > 1:
        raise CheckpointError(
            f"{name}: takes {list(model.inputs)} of {shape and list(shape)} and gives {list(model.outputs)}; expected "
            "one image of four sides and one output"
        )
    axes = "NCHW" if shape[1] in _CHANNELS and shape[3] not in _CHANNELS else "NHWC"
    given = dict(zip(axes, shape, strict=True))
    if image_size is not None and any(given[a] not in (None, side) for a, side in zip("HW", image_size, strict=True)):
        raise UsageError(f"{name}: was built for {given['H']}×{given['W']} pixels; leave out --image-size")
    height, width = (given["H"], given["W"]) if image_size is None else image_size
    if height is None or width is None:
        raise UsageError(f"{name}: takes images of any size; say which it was trained with: --image-size N")
    if given["C"] not in _CHANNELS or not (1 <= height <= 4096 and 1 <= width <= 4096):
        raise UsageError(
            f"{name}: takes images {list(shape)}; expected sides up to 4096, and 3 channels (RGB) or 1 (grey), which "
            "is what photos have; train it with one of these"
        )
    return assembler.image(axes, height, width, given["C"])


def _run_model(assembler: Assembler, model: Model, image: Operand, weights: Weights, version: str) -> Operand:
    """What a model gives for an input; layers run in the order in which what they read is there."""
    tensors: dict[str, Operand] = {}
    waiting = list(model.layers)
    while waiting:
        ready = [layer for layer in waiting if all(name in tensors for name in _reads(layer))]
        if not ready:
            names = [layer.name for layer in waiting[:4]]
            raise CheckpointError(f"layers {names} read each other or what no layer gives; the file is damaged")
        for layer in ready:
            tensors[layer.name] = _run_layer(assembler, layer, tensors, image, weights, version)
        done = {id(layer) for layer in ready}
        waiting = [layer for layer in waiting if id(layer) not in done]
    if not model.outputs or model.outputs[0] not in tensors:
        raise CheckpointError(f"the model {model.name!r:.60} has no output; the file is damaged")
    return tensors[model.outputs[0]]


def _reads(layer: Layer) -> list[str]:
    return [item.layer for call in layer.calls[:1] for item in call if isinstance(item, Reference)]


def _run_layer(
    assembler: Assembler, layer: Layer, tensors: dict[str, Operand], image: Operand, weights: Weights, version: str
) -> Operand:
    if len(layer.calls) > 1:
        raise OperatorError(f"layer {layer.name!r:.80} is used {len(layer.calls)} times; expected once")
    given = layer.calls[0] if layer.calls else ()
    operands = [tensors[item.layer] if isinstance(item, Reference) else _numbers(item, layer) for item in given]
    operands = operands or [image]
    if layer.model is not None:
        return _run_model(assembler, layer.model, operands[0], weights.inside(layer), version)
    if layer.kind not in LAYERS:
        advice = " (a Lambda holds Python code, which isn't run)" if layer.kind == "Lambda" else ""
        raise OperatorError(
            f"layer {layer.name!r:.80} is a {layer.kind!r:.60}, which isn't known here{advice}; expected layers of "
            "Keras' own. Rebuild the model without it and load its weights into that"
        )
    made: Operand = LAYERS[layer.kind](Call(assembler, layer, operands, weights, version))
    return made


def _numbers(item: Any, layer: Layer) -> Operand:
    try:
        return np.asarray(item, np.float64)
    except (TypeError, ValueError) as error:
        raise OperatorError(f"layer {layer.name!r:.80} reads {item!r:.60}; expected numbers") from error
