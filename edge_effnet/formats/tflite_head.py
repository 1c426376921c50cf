"""The last dense layer of a `.tflite` file: found by what makes the output, and put in another's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.dense import INNER_MAPS, JOINED, DenseHead, FeatureMap, FeatureTensor, int8_rows
from edge_effnet.formats.tflite import TfliteFile
from edge_effnet.formats.tflite_operators import TfliteOperator
from edge_effnet.formats.tflite_tensors import TfliteTensor
from edge_effnet.heads import Output

_DENSE, _WIDEN, _SOFTMAX, _JOIN = "FULLY_CONNECTED", "DEQUANTIZE", "SOFTMAX", "CONCATENATION"
#: What may stand between the last dense layer and the output.
_BEHIND = (_SOFTMAX, "LOGISTIC", "RESHAPE", _WIDEN, "QUANTIZE")
#: Versions of DEQUANTIZE that take these types (its registration in LiteRT).
_WIDEN_VERSIONS = {"int8": 2, "float16": 3}
#: What may stand between the pooling and the dense layer.
_SAME_VALUES = ("RESHAPE", "SQUEEZE", _WIDEN, "QUANTIZE")
_POOLS = ("MEAN", "AVERAGE_POOL_2D")
_NO_SCALES = np.empty(0, np.float32)


def features_of(file: TfliteFile) -> FeatureTensor:
    """The pooled features: what the last dense layer reads, without the means of other maps that stand behind them, or
    the output of a file that has no such layer and gives features.

    Raises ModelFileError for a file whose output isn't made by a dense layer of one row of features.
    """
    tensor = file.tensors[_feature_index(file)]
    if len(tensor.shape) != 2 or tensor.shape[0] != 1:
        raise ModelFileError(f"{file.name}: its last dense layer reads {list(tensor.shape)}; expected [1, D] features")
    return FeatureTensor(tensor.name, tensor.shape[1])


def dense_maps(file: TfliteFile) -> tuple[FeatureMap, ...]:
    """The maps, [1, H, W, D], whose means over all positions the last dense layer reads, in order.

    Raises ModelFileError for a network that ends otherwise.
    """
    dense, makers = _dense_step(file), _makers(file)
    read = (_feature_index(file),) if dense is None else _parts(file, dense.inputs[0])
    found = [_pooled(file, makers, tensor) for tensor in read]
    if None in found:
        raise ModelFileError(
            f"{file.name}: its features aren't the mean of a feature map; expected global pooling and one dense layer"
        )
    return tuple(_map(file, tensor) for tensor in found if tensor is not None)


def inner_maps(file: TfliteFile) -> tuple[FeatureMap, ...]:
    """What the last 1×1 convolution that takes channels away reads, at each of the coarsest sizes, coarsest first.

    In MBConv's networks that is the last block's expanded map at a stride of 32, and the one at 16.
    """
    last: dict[int, int] = {}
    for step in _before(file, _feature_index(file)):
        if step.code == "CONV_2D":
            _, height, width, channels = file.tensors[step.inputs[0]].shape
            filters, *sides, _ = file.tensors[_source(file, step.inputs[1])].shape
            if sides == [1, 1] and filters < channels and height * width > 1:
                last[height * width] = step.inputs[0]
    return tuple(_map(file, last[size]) for size in sorted(last)[:INNER_MAPS])


def _map(file: TfliteFile, tensor: int) -> FeatureMap:
    return FeatureMap(file.tensors[tensor].name, file.tensors[tensor].shape[-1], "HWC")


def _pooled(file: TfliteFile, makers: Mapping[int, TfliteOperator], tensor: int) -> int | None:
    """The map that a tensor is the mean of; None where it isn't one's."""
    channels = file.tensors[tensor].shape[-1]
    while (step := makers.get(tensor)) is not None and step.code in _SAME_VALUES:
        tensor = step.inputs[0]
    if step is None or step.code not in _POOLS:
        return None
    shape = file.tensors[step.inputs[0]].shape
    return step.inputs[0] if len(shape) == 4 and shape[-1] == channels else None


def _parts(file: TfliteFile, tensor: int) -> tuple[int, ...]:
    """The means of maps that a tensor is put together of; otherwise itself."""
    makers = _makers(file)
    step = makers.get(tensor)
    if step is None or step.code != _JOIN or None in [_pooled(file, makers, part) for part in step.inputs]:
        return (tensor,)
    return step.inputs


def dense_head(file: TfliteFile) -> DenseHead | None:
    """The file's own last dense layer in float32; None where it gives features."""
    step = _dense_step(file)
    if step is None:
        return None
    weights = _float_values(file, step.inputs[1])
    has_bias = len(step.inputs) > 2 and step.inputs[2] >= 0
    bias = _float_values(file, step.inputs[2]) if has_bias else np.zeros(len(weights), np.float32)
    return DenseHead(weights, bias)


def with_dense(file: TfliteFile, head: DenseHead, maps: Sequence[FeatureMap], output: Output) -> TfliteFile:
    """The file with another last dense layer, its weights stored as the old one's (int8 a row, float16 or float32).

    maps: those of `inner_maps` whose means stand behind the features. output: whether a softmax follows. What alone
    served the old end is left out.
    """
    place, old = _feature_index(file), _dense_step(file)
    stored = "float32" if old is None else file.tensors[_source(file, old.inputs[1])].dtype
    draft = _Draft(list(file.tensors), _before(file, place))
    features = draft.joined(draft.widened(place), maps)
    weights = draft.weights(head.weights, stored)
    bias = draft.constant("logits/bias", head.bias.astype(np.float32))
    logits = draft.made("logits", (1, len(head.bias)))
    draft.step(TfliteOperator(_DENSE, 1, (features, weights, bias), (logits,)))
    if output == "probabilities":
        scores = draft.made("probabilities", (1, len(head.bias)))
        draft.step(TfliteOperator(_SOFTMAX, 1, (logits,), (scores,), {"beta": 1.0}))
        logits = scores
    return pruned(replace(file, tensors=tuple(draft.tensors), operators=tuple(draft.steps), outputs=(logits,)))


class _Draft:
    """Tensors and steps of a file that is being written."""

    def __init__(self, tensors: list[TfliteTensor], steps: list[TfliteOperator]) -> None:
        self.tensors, self.steps = tensors, steps

    def step(self, step: TfliteOperator) -> None:
        """Appends it."""
        self.steps.append(step)

    def made(self, name: str, shape: tuple[int, ...]) -> int:
        """A float32 tensor that a step makes."""
        self.tensors.append(_tensor(name, shape, "float32", None))
        return len(self.tensors) - 1

    def constant(self, name: str, values: npt.NDArray[Any], scales: npt.NDArray[np.float32] = _NO_SCALES) -> int:
        """A tensor whose values lie in the file."""
        data = memoryview(np.ascontiguousarray(values).tobytes())
        self.tensors.append(_tensor(name, values.shape, values.dtype.name, data, scales))
        return len(self.tensors) - 1

    def widened(self, tensor: int) -> int:
        """The tensor itself where it is float32, otherwise what DEQUANTIZE makes of it."""
        found = self.tensors[tensor]
        if found.dtype == "float32":
            return tensor
        wide = self.made(f"{found.name}/float", found.shape)
        self.step(TfliteOperator(_WIDEN, _WIDEN_VERSIONS.get(found.dtype, 2), (tensor,), (wide,)))
        return wide

    def joined(self, features: int, maps: Sequence[FeatureMap]) -> int:
        """The features with the means of maps behind them."""
        if not maps:
            return features
        places = {tensor.name: place for place, tensor in enumerate(self.tensors)}
        axes = self.constant("inner/axes", np.array([1, 2], np.int32))
        parts = [features]
        for found in maps:
            wide = self.widened(places[found.name])
            parts.append(self.made(f"{found.name}/pooled", (1, found.size)))
            self.step(TfliteOperator("MEAN", 1, (wide, axes), (parts[-1],), {"keep_dims": False}))
        size = sum(self.tensors[part].shape[1] for part in parts)
        joined = self.made(JOINED, (1, size))
        self.step(TfliteOperator(_JOIN, 1, tuple(parts), (joined,), {"axis": 1}))
        return joined

    def weights(self, values: npt.NDArray[np.float32], stored: str) -> int:
        """The weights as float32, from what is stored."""
        if stored == "float16":
            return self._widened_weights(self.constant("logits/weight/float16", values.astype(np.float16)), values)
        if stored != "int8":
            return self.constant("logits/weight", values.astype(np.float32))
        integers, scales = int8_rows(values)
        return self._widened_weights(self.constant("logits/weight/int8", integers, scales), values)

    def _widened_weights(self, tensor: int, values: npt.NDArray[np.float32]) -> int:
        wide = self.made("logits/weight", values.shape)
        version = _WIDEN_VERSIONS[self.tensors[tensor].dtype]
        self.step(TfliteOperator(_WIDEN, version, (tensor,), (wide,)))
        return wide


def pruned(file: TfliteFile) -> TfliteFile:
    """The file without the tensors that nothing refers to; those that are left keep their order."""
    used = {*file.inputs, *file.outputs}
    used.update(tensor for step in file.operators for tensor in (*step.inputs, *step.outputs) if tensor >= 0)
    order = sorted(used)
    place = {old: new for new, old in enumerate(order)} | {-1: -1}

    def moved(tensors: Sequence[int]) -> tuple[int, ...]:
        return tuple(place[tensor] for tensor in tensors)

    steps = tuple(replace(step, inputs=moved(step.inputs), outputs=moved(step.outputs)) for step in file.operators)
    tensors = tuple(file.tensors[old] for old in order)
    return replace(file, tensors=tensors, operators=steps, inputs=moved(file.inputs), outputs=moved(file.outputs))


def _tensor(
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    data: memoryview | None,
    scales: npt.NDArray[np.float32] = _NO_SCALES,
) -> TfliteTensor:
    zero_points = np.zeros(len(scales), np.int64)
    return TfliteTensor(name, shape, dtype, (), scales, zero_points, 0, 0, data, is_variable=False, sparse=False)


def _before(file: TfliteFile, tensor: int) -> list[TfliteOperator]:
    """The steps that the tensor needs, in order."""
    needed, kept = {tensor}, []
    for step in reversed(file.operators):
        if needed.intersection(step.outputs):
            kept.append(step)
            needed.update(step.inputs)
    return kept[::-1]


def _makers(file: TfliteFile) -> dict[int, TfliteOperator]:
    return {tensor: step for step in file.operators for tensor in step.outputs}


def _dense_step(file: TfliteFile) -> TfliteOperator | None:
    """The last dense layer; None where the output is made by something else."""
    makers, tensor = _makers(file), file.outputs[0]
    while (step := makers.get(tensor)) is not None and step.code in _BEHIND and step.inputs:
        tensor = step.inputs[0]
    return step if step is not None and step.code == _DENSE else None


def _feature_index(file: TfliteFile) -> int:
    step = _dense_step(file)
    if step is not None:
        return _parts(file, step.inputs[0])[0]
    if file.document is not None and file.document.head.kind == "features":
        return file.outputs[0]
    raise ModelFileError(
        f"{file.name}: its output isn't made by a dense layer; expected a network that ends in pooled features and one"
    )


def _source(file: TfliteFile, tensor: int) -> int:
    """The constant behind a tensor that DEQUANTIZE widens."""
    step = _makers(file).get(tensor)
    return step.inputs[0] if step is not None and step.code == _WIDEN else tensor


def _float_values(file: TfliteFile, tensor: int) -> npt.NDArray[np.float32]:
    """A constant's values in float32, widened where it is stored as int8 or float16."""
    found = file.tensors[_source(file, tensor)]
    values = found.values().astype(np.float32)
    if not len(found.scales):
        return values
    shape = (-1,) + (1,) * (values.ndim - 1)
    return (values - found.zero_points.reshape(shape)) * found.scales.reshape(shape)
