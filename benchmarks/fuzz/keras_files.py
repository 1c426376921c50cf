"""Keras files of small networks, laid down as Keras writes them: `.keras`, whole `.h5`, weights alone in both layouts.

Source: Keras' `saving_lib.py` (`layers/conv2d_3/vars/0`) and `legacy_h5_format.py` (`conv2d_3/conv2d_3/kernel:0`).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.exporters.families.records import BlockShape, Body
from edge_effnet.exporters.inputs.keras.config import snake_case
from edge_effnet.preprocessing import IMAGENET_MEAN, IMAGENET_STD

Array = npt.NDArray[Any]
_VERSION = "3.15.1"
#: What a layer's variables are called, in the order in which Keras makes them.
_VARIABLES = {
    "Conv2D": ("kernel", "bias"),
    "DepthwiseConv2D": ("depthwise_kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "Dense": ("kernel", "bias"),
}
_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, eq=False)
class KerasModel:
    """Layers as they are added: each one's configuration, and its variables by its name."""

    layers: list[dict[str, Any]] = field(default_factory=list)
    variables: dict[str, dict[str, Array]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, sources: Sequence[str], variables: Sequence[Array] = (), **config: Any) -> str:
        """The new layer's name."""
        snake = snake_case(kind)
        count = self._counts[snake] = self._counts.get(snake, -1) + 1
        name = f"{snake}_{count}" if count else snake
        tensors = [
            {"class_name": "__keras_tensor__", "config": {"keras_history": [source, 0, 0]}} for source in sources
        ]
        nodes: list[dict[str, Any]] = (
            [{"args": [tensors] if len(tensors) > 1 else tensors, "kwargs": {}}] if tensors else []
        )
        config = {"name": name, **config}
        self.layers.append({"class_name": kind, "config": config, "name": name, "inbound_nodes": nodes})
        if variables:
            self.variables[name] = dict(zip(_VARIABLES[kind], map(np.ascontiguousarray, variables), strict=False))
        return name

    def config(self) -> dict[str, Any]:
        """From the first layer to the last one."""
        first, last = self.layers[0]["name"], self.layers[-1]["name"]
        ends = {"input_layers": [[first, 0, 0]], "output_layers": [[last, 0, 0]]}
        return {"class_name": "Functional", "config": {"name": "small", "layers": self.layers, **ends}}


def classifier(size: int, classes: int) -> KerasModel:
    """A layer of each kind, one after the other, of a few kilobytes."""
    random, model = np.random.default_rng(7), KerasModel()

    def drawn(*shapes: tuple[int, ...]) -> list[Array]:
        return [random.uniform(0.5, 1, shape).astype(np.float32) for shape in shapes]

    made = model.add("InputLayer", [], batch_shape=[None, size, size, 3])
    made = model.add("Rescaling", [made], scale=1 / 255, offset=0.0)
    strided: dict[str, Any] = {"filters": 8, "kernel_size": [3, 3], "strides": [2, 2], "padding": "same"}
    made = model.add("Conv2D", [made], drawn((3, 3, 3, 8), (8,)), **strided)
    made = model.add("BatchNormalization", [made], drawn((8,), (8,), (8,), (8,)), axis=-1, epsilon=1e-3)
    made = model.add("Activation", [made], activation="swish")
    window: dict[str, Any] = {"kernel_size": [3, 3], "strides": [1, 1], "padding": "same"}
    made = model.add("DepthwiseConv2D", [made], drawn((3, 3, 8, 1), (8,)), **window)
    made = model.add("GlobalAveragePooling2D", [made])
    model.add("Dense", [made], drawn((8, classes), (classes,)), units=classes, activation="softmax")
    return model


def efficientnet(body: Body, state: Mapping[str, Array], size: int, *, bn_eps: float) -> KerasModel:
    """What takes pixels in 0..255, normalises them inside and gives probabilities.

    state: its weights in timm's names; padded by half the kernel before each convolution, as torch pads.
    """
    return _EfficientNet(state, bn_eps).network(body, size)


@dataclass(frozen=True, eq=False)
class _EfficientNet:
    state: Mapping[str, Array]
    bn_eps: float
    model: KerasModel = field(default_factory=KerasModel)

    def network(self, body: Body, size: int) -> KerasModel:
        image = self.model.add("InputLayer", [], batch_shape=[None, size, size, 3])
        made = self.model.add("Rescaling", [image], scale=1 / 255, offset=0.0)
        variance = [side * side for side in IMAGENET_STD]
        made = self.model.add("Normalization", [made], axis=[-1], mean=list(IMAGENET_MEAN), variance=variance)
        made = self.swish(self.norm("bn1", self.conv("conv_stem", made, stride=2)))
        for shape in body.blocks:
            made = self.block(f"blocks.{shape.stage}.{shape.position}", shape, made)
        made = self.swish(self.norm("bn2", self.conv("conv_head", made)))
        made = self.model.add("GlobalAveragePooling2D", [made])
        kernel, bias = self.state["classifier.weight"].T, self.state["classifier.bias"]
        self.model.add("Dense", [made], [kernel, bias], units=len(bias), activation="softmax")
        return self.model

    def block(self, prefix: str, shape: BlockShape, source: str) -> str:
        separable = shape.kind == "separable"
        made = source
        if not separable:
            made = self.swish(self.norm(f"{prefix}.bn1", self.conv(f"{prefix}.conv_pw", made)))
        made = self.conv(f"{prefix}.conv_dw", made, stride=shape.stride)
        made = self.gated(f"{prefix}.se", shape, self.swish(self.norm(f"{prefix}.bn{1 if separable else 2}", made)))
        made = self.conv(f"{prefix}.{'conv_pw' if separable else 'conv_pwl'}", made)
        made = self.norm(f"{prefix}.bn{2 if separable else 3}", made)
        return self.model.add("Add", [made, source]) if shape.skip else made

    def gated(self, prefix: str, shape: BlockShape, source: str) -> str:
        gate = self.model.add("GlobalAveragePooling2D", [source])
        gate = self.model.add("Reshape", [gate], target_shape=[1, 1, shape.inner])
        gate = self.conv(f"{prefix}.conv_reduce", gate, activation="silu", bias=True)
        gate = self.conv(f"{prefix}.conv_expand", gate, activation="sigmoid", bias=True)
        return self.model.add("Multiply", [source, gate])

    def conv(
        self, name: str, source: str, *, stride: int = 1, activation: str | None = None, bias: bool = False
    ) -> str:
        kernel = self.state[f"{name}.weight"]
        side, depthwise = kernel.shape[-1], "conv_dw" in name
        if side > 1:
            source = self.model.add("ZeroPadding2D", [source], padding=[[side // 2, side // 2]] * 2)
        settings = {"strides": [stride, stride], "padding": "valid", "use_bias": bias, "activation": activation}
        values = [kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(2, 3, 1, 0)]
        values += [self.state[f"{name}.bias"]] if bias else []
        kind = "DepthwiseConv2D" if depthwise else "Conv2D"
        return self.model.add(kind, [source], values, kernel_size=[side] * 2, **settings)

    def norm(self, name: str, source: str) -> str:
        values = [self.state[f"{name}.{item}"] for item in _NORM]
        return self.model.add("BatchNormalization", [source], values, axis=-1, epsilon=self.bn_eps)

    def swish(self, source: str) -> str:
        return self.model.add("Activation", [source], activation="silu")


def keras_archive(model: KerasModel) -> bytes:
    """The `.keras` file."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": _VERSION}))
        archive.writestr("config.json", json.dumps(model.config()))
        archive.writestr("model.weights.h5", weights_alone(model))
    return written.getvalue()


def weights_alone(model: KerasModel) -> bytes:
    """The `.weights.h5` file of Keras 3, in which layers are counted by kind."""
    import h5py

    written = io.BytesIO()
    with h5py.File(written, "w") as file:
        for name, variables in model.variables.items():
            for place, value in enumerate(variables.values()):
                file.create_dataset(f"layers/{name}/vars/{place}", data=value)
    return written.getvalue()


def named_weights(model: KerasModel) -> bytes:
    """The `.h5` file of weights alone that Keras 2 writes, in which layers have their names."""
    import h5py

    written = io.BytesIO()
    with h5py.File(written, "w") as file:
        _put_named(file, model)
    return written.getvalue()


def whole_h5(model: KerasModel) -> bytes:
    """The `.h5` file with configuration and weights."""
    import h5py

    written = io.BytesIO()
    with h5py.File(written, "w") as file:
        file.attrs.update({"model_config": json.dumps(model.config()), "keras_version": _VERSION})
        _put_named(file.create_group("model_weights"), model)
    return written.getvalue()


def _put_named(group: Any, model: KerasModel) -> None:
    names = [layer["name"] for layer in model.layers]
    group.attrs["layer_names"] = names
    for name in names:
        own = group.create_group(name)
        variables = model.variables.get(name, {})
        own.attrs["weight_names"] = [f"{name}/{key}:0" for key in variables]
        for key, value in variables.items():
            own.create_dataset(f"{name}/{key}:0", data=value)
