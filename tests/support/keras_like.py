"""The quarter-wide B0 of `support.networks` as a `.keras` file: layers and weights as Keras 3 lays them down."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_effnet.exporters.families.records import BlockShape
from edge_effnet.exporters.inputs.keras.config import snake_case
from edge_effnet.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from support.golden import State
from support.networks import BATCH_NORM, EPS, NARROW, SIZE


class _Model:
    """Layers as they are added, each with what `layers/<kind>_<n>/vars` holds of it."""

    def __init__(self, state: State) -> None:
        self.state, self.layers, self.weights = state, list[dict[str, Any]](), dict[str, list[Any]]()
        self._counts: dict[str, int] = {}

    def add(self, kind: str, sources: Sequence[str], weights: Sequence[Any] = (), **config: Any) -> str:
        """The new layer's name."""
        snake = snake_case(kind)
        index = self._counts[snake] = self._counts.get(snake, -1) + 1
        key = f"{snake}_{index}" if index else snake
        tensors = [{"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}} for name in sources]
        nodes = [{"args": [tensors] if len(tensors) > 1 else tensors, "kwargs": {}}] if tensors else []
        config = {"name": key, **config}
        self.layers.append({"class_name": kind, "config": config, "name": key, "inbound_nodes": nodes})
        if weights:
            self.weights[f"layers/{key}/vars"] = list(weights)
        return key

    def conv(
        self, name: str, source: str, *, stride: int = 1, activation: str | None = None, bias: bool = False
    ) -> str:
        """Padded by half the kernel before it, as torch pads."""
        kernel = self.state[f"{name}.weight"]
        side, depthwise = kernel.shape[-1], "conv_dw" in name
        if side > 1:
            source = self.add("ZeroPadding2D", [source], padding=[[side // 2, side // 2]] * 2)
        settings = {"strides": [stride, stride], "padding": "valid", "use_bias": bias, "activation": activation}
        values = [kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(2, 3, 1, 0)]
        values += [self.state[f"{name}.bias"]] if bias else []
        return self.add(
            "DepthwiseConv2D" if depthwise else "Conv2D", [source], values, kernel_size=[side] * 2, **settings
        )

    def norm(self, name: str, source: str) -> str:
        """Batch norm with torch's epsilon."""
        values = [self.state[f"{name}.{item}"] for item in BATCH_NORM]
        return self.add("BatchNormalization", [source], values, axis=-1, epsilon=EPS["b0"])

    def swish(self, source: str) -> str:
        return self.add("Activation", [source], activation="silu")

    def block(self, prefix: str, shape: BlockShape, source: str) -> str:
        separable = shape.kind == "separable"
        made = source
        if not separable:
            made = self.swish(self.norm(f"{prefix}.bn1", self.conv(f"{prefix}.conv_pw", made)))
        made = self.conv(f"{prefix}.conv_dw", made, stride=shape.stride)
        made = self.swish(self.norm(f"{prefix}.bn{1 if separable else 2}", made))
        pooled = self.add("GlobalAveragePooling2D", [made])
        gate = self.add("Reshape", [pooled], target_shape=[1, 1, shape.inner])
        gate = self.conv(f"{prefix}.se.conv_reduce", gate, activation="silu", bias=True)
        made = self.add(
            "Multiply", [made, self.conv(f"{prefix}.se.conv_expand", gate, activation="sigmoid", bias=True)]
        )
        made = self.conv(f"{prefix}.{'conv_pw' if separable else 'conv_pwl'}", made)
        made = self.norm(f"{prefix}.bn{2 if separable else 3}", made)
        return self.add("Add", [made, source]) if shape.skip else made

    def network(self) -> str:
        image = self.add("InputLayer", [], batch_shape=[None, SIZE, SIZE, 3])
        made = self.add("Rescaling", [image], scale=1 / 255, offset=0.0)
        variance = [side * side for side in IMAGENET_STD]
        made = self.add("Normalization", [made], axis=[-1], mean=list(IMAGENET_MEAN), variance=variance)
        made = self.swish(self.norm("bn1", self.conv("conv_stem", made, stride=2)))
        for shape in NARROW["b0"].blocks:
            made = self.block(f"blocks.{shape.stage}.{shape.position}", shape, made)
        made = self.swish(self.norm("bn2", self.conv("conv_head", made)))
        made = self.add("GlobalAveragePooling2D", [made])
        values = [self.state["classifier.weight"].T, self.state["classifier.bias"]]
        return self.add("Dense", [made], values, units=len(values[1]), activation="softmax")


def write_keras(state: State, path: Path) -> Path:
    """What takes pixels in 0..255, normalises them inside and gives probabilities."""
    import h5py

    model, written = _Model(state), io.BytesIO()
    output = model.network()
    ends = {"input_layers": [["input_layer", 0, 0]], "output_layers": [[output, 0, 0]]}
    config = {"class_name": "Functional", "config": {"name": "narrow", "layers": model.layers, **ends}}
    with h5py.File(written, "w") as file:
        for place, values in model.weights.items():
            for index, value in enumerate(values):
                file.create_dataset(f"{place}/{index}", data=np.ascontiguousarray(value))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", written.getvalue())
    return path
