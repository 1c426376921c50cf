"""A Keras EfficientNet from its weights alone: the architecture follows from their shapes and counts.

Source: Keras' `applications/efficientnet.py` and `efficientnet_v2.py`; batch norm's epsilon is 1e-3, paddings are
TensorFlow's SAME for the size that the model was built for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_effnet.errors import CheckpointError, UsageError
from edge_effnet.exporters.inputs.assembly.assembler import Assembler
from edge_effnet.exporters.inputs.assembly.operands import Operand, batch_norm, per_channel, same_window
from edge_effnet.exporters.inputs.assembly.value import Value
from edge_effnet.exporters.inputs.keras.archive import Array, KerasFile
from edge_effnet.exporters.inputs.keras.inventory import Inventory, Variables, inventory_of
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.network.activations import HEAD_ACTIVATIONS, Kind
from edge_effnet.network.geometry import Padding
from edge_effnet.preprocessing import IMAGENET_MEAN, IMAGENET_STD

_EPSILON = 1e-3
#: Blocks a stage and the stages' strides, by the number of blocks: B0 … B7, V2 B0 … B3, S, M, L, XL.
_V1 = (1, 2, 2, 3, 3, 4, 1)
_V1_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_DEPTHS = (0.1, 1.0, 1.1, 1.4, 1.8, 2.2, 2.6, 3.1)
_V2 = (
    (1, 2, 2, 3, 5, 8),
    (2, 4, 4, 6, 9, 15),
    (3, 5, 5, 7, 14, 18, 5),
    (4, 7, 7, 10, 19, 25, 7),
    (4, 8, 8, 16, 24, 32, 8),
)
_V2_DEPTHS = (0.1, 1.0, 1.1, 1.2, 1.4)
_V2_STRIDES = (1, 2, 2, 2, 1, 2, 1)
#: Even at every strided convolution, as an image of any size is taken for.
_ANY_SIZE = 224
#: What Keras' `correct_pad` takes; a smaller kernel it would pad by less than nothing.
_SMALLEST_STRIDED = 2
#: V2 B3 has so many blocks; larger ones scale their pixels to -1..1.
_MOST_OF_B = 32


@dataclass(eq=False)
class Block:
    """A block's convolutions; `window`: a k×k one in place of a depthwise one (fused)."""

    expand: Variables | None = None
    window: Variables | None = None
    depthwise: bool = False
    gate: tuple[Variables, Variables] | None = None
    project: Variables | None = None

    @property
    def last(self) -> Variables:
        """The convolution that gives the block's output."""
        return self.project or self.window or []


@dataclass(eq=False)
class Builder:
    """Takes batch norms and depthwise kernels in order.

    built: the sides, at the next strided convolution, of the image that the paddings were built for; None where they
    follow the image.
    """

    assembler: Assembler
    norms: Iterator[Variables]
    depthwise: Iterator[Variables]
    built: tuple[int, int] | None = None
    made: list[str] = field(default_factory=list)

    def normed(self, value: Value, kernel: Array, *, stride: int, groups: int, name: str) -> Value:
        """Convolution without a bias, and its batch norm."""
        window = self._window(value, (kernel.shape[1], kernel.shape[2]), stride)
        made = self.assembler.convolution(
            value, kernel, bias=None, name=name, stride=stride, padding=window, groups=groups
        )
        return self.norm(made, name)

    def _window(self, value: Value, kernel: tuple[int, int], stride: int) -> Padding:
        """V1's strided convolutions are padded for the size that they were built for (Keras' `correct_pad`)."""
        if stride == 1 or self.built is None:
            return same_window(value, kernel, stride, 1)
        if min(kernel) < _SMALLEST_STRIDED:
            raise _unknown(f"a convolution with stride {stride} has a kernel of {kernel[0]}×{kernel[1]}")
        (top, bottom), (left, right) = (
            (k // 2 - (side % 2 == 0), k // 2) for side, k in zip(self.built, kernel, strict=True)
        )
        self.built = ((self.built[0] + 1) // 2, (self.built[1] + 1) // 2)
        return Padding(top, bottom, left, right)

    def norm(self, value: Value, name: str) -> Value:
        """The next batch norm."""
        found = next(self.norms, [])
        if len(found) != 4 or any(part.shape != (value.channels,) for part in found):
            raise _unknown(f"the batch norm of {name} is {[part.shape for part in found]}")
        parts = dict(zip(("weight", "bias", "running_mean", "running_var"), found, strict=True))
        return batch_norm(self.assembler, value, parts, _EPSILON, name=name)

    def swish(self, value: Value, name: str) -> Value:
        """x · sigmoid(x)."""
        return self.assembler.activation(value, "swish", name=f"{name}.swish")


def assembled_from_weights(file: KerasFile, options: InputOptions) -> tuple[Assembler, Value, Operand, None]:
    """(the nodes, the image, the output, None); raises CheckpointError where the shapes are no EfficientNet's."""
    if options.image_size is None:
        raise UsageError(
            f"{file.weights.name}: holds weights alone, which don't say their image size; say what the model was built "
            "for: --image-size N, or save the whole model: model.save('model.keras')"
        )
    found = inventory_of(file)
    assembler = Assembler()
    kernels = found.convolutions
    image = assembler.image("NHWC", *options.image_size, kernels[0][0].shape[2] if kernels[0][0].ndim == 4 else 3)
    blocks = list(_blocks(kernels[1:-1]))
    fused = any(block.window is not None for block in blocks)
    strides = _strides(blocks, fused=fused)
    built = None if fused else _built_for(found, options, file.weights.name)
    builder = Builder(assembler, iter(found.norms), iter(found.depthwise), built)
    value = _normalised(assembler, image, found, blocks, options)
    value = builder.swish(builder.normed(value, _kernel(kernels[0]), stride=2, groups=1, name="stem"), "stem")
    for index, (block, stride) in enumerate(zip(blocks, strides, strict=True)):
        value = _block(builder, block, value, stride, f"blocks.{index}")
    value = builder.swish(builder.normed(value, _kernel(kernels[-1]), stride=1, groups=1, name="head"), "head")
    if next(builder.depthwise, None) is not None:
        raise _unknown("depthwise kernels are left over")
    return assembler, image, _head(builder, value, found, options.head_activation), None


def _built_for(found: Inventory, options: InputOptions, name: str) -> tuple[int, int]:
    """The size that the paddings are of; raises UsageError where two would pad otherwise and nothing says which."""
    if options.padding_size is not None:
        return options.padding_size, options.padding_size
    height, width = options.image_size or (0, 0)
    if found.nested and any(_halves_are_odd(side) for side in (height, width)):
        raise UsageError(
            f"{name}: weights alone, which don't say whether the network in them was built for {height}×{width} or for "
            f"any size, and its paddings differ; say --padding-size {max(height, width)} if it has an input_shape, "
            f"--padding-size {_ANY_SIZE} if it has none, or save the whole model: model.save('model.keras')"
        )
    return height, width


def _halves_are_odd(side: int) -> bool:
    """Whether one of the five strided convolutions meets an odd side."""
    return side % (1 << (_V1_STRIDES.count(2) + 1)) != 0


def _kernel(variables: Variables) -> Array:
    """The first of them, which then only the graph holds: a file's weights needn't be in memory twice."""
    if not variables or variables[0].ndim != 4:
        raise _unknown("a convolution's kernel is missing")
    return variables.pop(0).transpose(3, 0, 1, 2)


def _unknown(what: str) -> CheckpointError:
    return CheckpointError(
        f"weights alone, of no EfficientNet that Keras has: {what}. Save the whole model: model.save('model.keras')"
    )


def _blocks(kernels: Sequence[Variables]) -> Iterator[Block]:
    """Blocks from convolutions between stem and head: those of gates have biases, the others none."""
    waiting = list(kernels)
    while waiting:
        first = waiting.pop(0)
        block = Block()
        if _side(first) > 1:
            block.window = first
            if waiting and _side(waiting[0]) == 1:
                block.project = waiting.pop(0)
            yield block
            continue
        block.depthwise = True
        if len(first) == 1:
            block.expand = first
            first = waiting.pop(0) if waiting else []
        if len(first) != 2 or len(waiting) < 2 or len(waiting[0]) != 2 or len(waiting[1]) != 1:
            raise _unknown("its convolutions don't come in blocks with squeeze-excitation")
        block.gate = (first, waiting.pop(0))
        block.project = waiting.pop(0)
        yield block


def _side(variables: Variables) -> int:
    """The height of a convolution's kernel that stands alone; 0 for anything else."""
    return int(variables[0].shape[0]) if len(variables) == 1 and variables[0].ndim == 4 else 0


def _strides(blocks: Sequence[Block], *, fused: bool) -> list[int]:
    """Each block's stride, from how many blocks there are."""
    tables = _V2 if fused else (_V1,)
    for depth in _V2_DEPTHS if fused else _DEPTHS:
        for base in tables if depth == 1.0 else tables[:1]:
            repeats = [int(np.ceil(count * depth)) for count in base]
            if sum(repeats) == len(blocks):
                pairs = zip(_V2_STRIDES if fused else _V1_STRIDES, repeats, strict=False)
                return [stride if index == 0 else 1 for stride, count in pairs for index in range(count)]
    raise _unknown(f"it has {len(blocks)} blocks")


def _block(builder: Builder, block: Block, value: Value, stride: int, name: str) -> Value:
    start = value
    if block.window is not None:
        value = builder.normed(value, _kernel(block.window), stride=stride, groups=1, name=f"{name}.expand")
        value = builder.swish(value, f"{name}.expand")
    elif block.expand is not None:
        value = builder.normed(value, _kernel(block.expand), stride=1, groups=1, name=f"{name}.expand")
        value = builder.swish(value, f"{name}.expand")
    if block.depthwise:
        found = next(builder.depthwise, [])
        kernel = found.pop(0).transpose(2, 0, 1, 3) if found and found[0].ndim == 4 else np.zeros((0, 0, 0, 0))
        value = builder.normed(value, kernel, stride=stride, groups=value.channels, name=f"{name}.depthwise")
        value = builder.swish(value, f"{name}.depthwise")
    if block.gate is not None:
        value = _gated(builder, block.gate, value, f"{name}.se")
    if block.project is not None:
        value = builder.normed(value, _kernel(block.project), stride=1, groups=1, name=f"{name}.project")
    if stride == 1 and start.channels == value.channels:
        value = builder.assembler.add(value, start, name=f"{name}.add")
    return value


def _gated(builder: Builder, gate: tuple[Variables, Variables], value: Value, name: str) -> Value:
    assembler = builder.assembler
    reduce, excite = (_kernel(variables) for variables in gate)
    mean = assembler.mean(value, name=f"{name}.mean", axes="NHWC")
    small = assembler.convolution(mean, reduce, bias=gate[0].pop(), name=f"{name}.reduce")
    small = assembler.activation(small, "swish", name=f"{name}.reduce.swish")
    wide = assembler.convolution(small, excite, bias=gate[1].pop(), name=f"{name}.expand")
    return assembler.multiply(value, assembler.activation(wide, "sigmoid", name=f"{name}.gate"), name=f"{name}.scale")


def _normalised(
    assembler: Assembler, image: Value, found: Inventory, blocks: Sequence[Block], options: InputOptions
) -> Value:
    """What the model does to its pixels first; nothing where the user says mean and std, or it has no layers for it."""
    mean, std = np.asarray(IMAGENET_MEAN), np.asarray(IMAGENET_STD)
    if found.normalization:
        given, variance = (part.astype(np.float64).reshape(-1) for part in found.normalization[0][:2])
        # with the published weights the variance holds standard deviations, and a second Rescaling mends it
        published = (
            given.shape == (3,) and np.allclose(given, mean, atol=1e-6) and np.allclose(variance, std, atol=1e-6)
        )
        deviation = variance if published else np.maximum(np.sqrt(variance), 1e-7)
        return per_channel(assembler, image, 1 / (255 * deviation), -given / deviation, name="normalization")
    fused = any(block.window is not None for block in blocks)
    said = options.preprocessing.mean is not None and options.preprocessing.std is not None
    if not fused or found.rescaling == "none" or (said and found.rescaling != "inside"):
        return image
    if found.rescaling in (None, "outside"):
        raise UsageError(
            "weights alone, which don't say how the network's pixels are prepared (include_preprocessing, or a "
            "Rescaling layer before it): say it with --mean and --std, of pixels in 0..1, or save the whole model: "
            "model.save('model.keras')"
        )
    if image.channels == 3 and len(blocks) <= _MOST_OF_B:
        return per_channel(assembler, image, 1 / (255 * std), -mean / std, name="normalization")
    return assembler.affine(image, 1 / 128, -1.0)


def _head(builder: Builder, value: Value, found: Inventory, activation: str | None) -> Operand:
    assembler = builder.assembler
    if not found.dense:
        return assembler.mean(value, name="pooled", axes="NC")
    if len(found.dense) > 1 and activation not in HEAD_ACTIVATIONS:
        raise UsageError(
            f"weights alone with {len(found.dense)} dense layers, which don't say the activation between them: say "
            f"--head-activation {'|'.join(HEAD_ACTIVATIONS)}, or save the whole model: model.save('model.keras')"
        )
    inputs = found.dense[0][0].shape[0]
    flat = inputs == value.elements and value.height * value.width > 1
    pooled = value.reshaped((1, -1), "NHWC") if flat else assembler.mean(value, name="pooled", axes="NC")
    extra = list(builder.norms)
    if len(extra) > 1 or (extra and len(found.dense) > 1):
        raise UsageError(
            f"weights alone with {len(extra)} batch norms among {len(found.dense)} dense layers, which don't say their "
            "order; save the whole model: model.save('model.keras')"
        )
    if extra and not flat:
        builder.norms = iter(extra)
        pooled = builder.norm(pooled, "pooled.norm")
    return _dense_layers(assembler, pooled, found.dense, HEAD_ACTIVATIONS.get(activation or ""))


def _dense_layers(assembler: Assembler, value: Value, layers: Sequence[Variables], activation: Kind | None) -> Operand:
    """The same activation after each but the last."""
    for index, (kernel, *bias) in enumerate(layers):
        last = index == len(layers) - 1
        name = "logits" if last else f"hidden.{index}"
        value = assembler.dense(value, kernel.T, bias=bias[0] if bias else None, name=name)
        if activation is not None and not last:
            value = assembler.activation(value, activation, name=f"{name}.activation")
    return value
