"""The weights of a file without a configuration, by kind and in order: what is left of a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

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
#: Layers that every EfficientNet has and that hold no weights; and how its first convolution is called.
_WITHOUT_WEIGHTS = {"activation", "add", "input_layer", "stem_activation"}
_STEMS = {"stem_conv"}


@dataclass(eq=False)
class Inventory:
    """Variables of each layer: kernels with their biases, batch norms (gamma, beta, mean, variance).

    rescaling: whether the network has Rescaling layers of its own, before its first convolution; "outside": before the
    network alone; None where the file's form doesn't say. nested: whether the network is a model inside another.
    """

    convolutions: list[Variables] = field(default_factory=list)
    depthwise: list[Variables] = field(default_factory=list)
    norms: list[Variables] = field(default_factory=list)
    dense: list[Variables] = field(default_factory=list)
    normalization: list[Variables] = field(default_factory=list)
    rescaling: Literal["inside", "outside", "none"] | None = None
    nested: bool = False


def inventory_of(file: KerasFile) -> Inventory:
    """All layers that hold weights; raises CheckpointError where there are none."""
    found = Inventory()
    layers = _named(file.weights) if file.layout == "named" else _ordered(file.weights, file.weights.root, 0)
    for kind, variables in layers:
        getattr(found, kind).append(variables)
    layers_in, around = _places(file)
    found.nested = bool(around)
    found.rescaling = _rescaling(layers_in, around)
    if not found.convolutions:
        raise CheckpointError(
            f"{file.weights.name}: holds no convolution; expected the weights of a Keras EfficientNet"
        )
    return found


def _places(file: KerasFile) -> tuple[set[str], set[str]]:
    """(kinds of the layers beside the convolutions, kinds of those around the model they are in, if they are in one).

    Layers without weights are among them where Keras writes a group for each.
    """
    names = file.weights.texts(file.weights.root, "layer_names")
    if file.layout == "named":
        kinds = {_place(name)[0] for name in names}
        return (kinds, set()) if kinds & _STEMS else (set(), kinds)
    around: set[str] = set()
    group = file.weights.root
    for _ in range(_MAX_DEPTH):
        layers = next((found for name in _FOLDERS if (found := file.weights.child(group, name)) is not None), None)
        children = [] if layers is None else file.weights.children(layers)
        kinds = {_place(name)[0] for name in children}
        if "conv2d" in kinds:
            return kinds, around
        around |= kinds
        inside = next((name for name in children if file.weights.child(layers, f"{name}/layers") is not None), None)
        if inside is None:
            break
        group = file.weights.child(layers, inside)
    return set(), around


def _rescaling(inside: set[str], around: set[str]) -> Literal["inside", "outside", "none"] | None:
    if not inside & _WITHOUT_WEIGHTS:
        return None
    return "inside" if "rescaling" in inside else "outside" if "rescaling" in around else "none"


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
