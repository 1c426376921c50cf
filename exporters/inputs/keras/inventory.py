"""The weights of a file without a configuration, by kind and in order: what is left of a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters.inputs.keras.archive import Array, Hdf5, KerasFile

#: One layer's variables, in the order in which Keras makes them.
Variables: TypeAlias = list[Array]
_FOLDERS = ("layers", "_layer_checkpoint_dependencies")
_NUMBERED = re.compile(r"(.+?)(?:_(\d+))?")
_KINDS = {
    "conv2d": "convolutions",
    "depthwise_conv2d": "depthwise",
    "batch_normalization": "norms",
    "dense": "dense",
    "normalization": "normalization",
}
_MAX_DEPTH = 8


@dataclass(eq=False)
class Inventory:
    """Variables of each layer: kernels with their biases, batch norms (gamma, beta, mean, variance)."""

    convolutions: list[Variables] = field(default_factory=list)
    depthwise: list[Variables] = field(default_factory=list)
    norms: list[Variables] = field(default_factory=list)
    dense: list[Variables] = field(default_factory=list)
    normalization: list[Variables] = field(default_factory=list)


def inventory_of(file: KerasFile) -> Inventory:
    """All layers that hold weights; raises CheckpointError where there are none."""
    found = Inventory()
    layers = _named(file.weights) if file.layout == "named" else _ordered(file.weights, file.weights.root, 0)
    for kind, variables in layers:
        getattr(found, kind).append(variables)
    if not found.convolutions:
        raise CheckpointError(
            f"{file.weights.name}: holds no convolution; expected the weights of a Keras EfficientNet"
        )
    return found


def _ordered(file: Hdf5, group: Any, depth: int) -> Iterator[tuple[str, Variables]]:
    """Layers of a folder, models inside it first: `conv2d`, `conv2d_1`, …"""
    layers = next((found for name in _FOLDERS if (found := file.child(group, name)) is not None), None)
    if layers is None or depth > _MAX_DEPTH:
        return
    names = sorted(file.children(layers), key=_place)
    for name in names:
        kind = _KINDS.get(_place(name)[0])
        if kind is None:
            yield from _ordered(file, file.child(layers, name), depth + 1)
    for name in names:
        kind = _KINDS.get(_place(name)[0])
        variables = [] if kind is None else _variables(file, file.child(layers, f"{name}/vars"))
        if kind is not None and variables:
            yield kind, variables


def _place(name: str) -> tuple[str, int]:
    """("conv2d", 12) of "conv2d_12"."""
    if name in _KINDS:
        return name, 0
    match = _NUMBERED.fullmatch(name)
    return (name, 0) if match is None else (match[1], int(match[2] or 0))


def _variables(file: Hdf5, group: Any) -> Variables:
    if group is None or file.is_dataset(group):
        return []
    names = sorted((name for name in file.children(group) if name.isdigit()), key=int)
    return [file.values(file.child(group, name)) for name in names]


_ORDER = ("kernel", "depthwise_kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "mean", "variance")


def _named(file: Hdf5) -> Iterator[tuple[str, Variables]]:
    """Layers by their names, in the order of the file: tf.keras' `save_weights` to HDF5."""
    for top in file.texts(file.root, "layer_names"):
        group = file.child(file.root, top)
        layers: dict[str, dict[str, str]] = {}
        for path in [] if group is None else file.texts(group, "weight_names"):
            parts = path.split("/")
            if len(parts) > 1:
                layers.setdefault(parts[-2], {})[parts[-1].split(":")[0]] = path
        for paths in layers.values():
            kind = _kind(paths)
            if kind is not None:
                yield _told(kind, [file.values(file.child(group, paths[name])) for name in _ORDER if name in paths])


def _kind(paths: dict[str, str]) -> str | None:
    if "gamma" in paths or "moving_mean" in paths:
        return "norms"
    if "depthwise_kernel" in paths:
        return "depthwise"
    return "normalization" if "mean" in paths else "convolutions" if "kernel" in paths else None


def _told(kind: str, variables: Variables) -> tuple[str, Variables]:
    """A kernel of two sides is a dense layer's."""
    return ("dense", variables) if kind == "convolutions" and variables[0].ndim == 2 else (kind, variables)
