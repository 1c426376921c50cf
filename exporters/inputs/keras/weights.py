"""Where a layer's weights lie in a Keras file: by the order of layers, or by their names.

Source: Keras' `saving_lib.py` (`layers/conv2d_3/vars/0`) and `legacy_h5_format.py` (`stem_conv/stem_conv/kernel:0`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters.inputs.keras.archive import Array, Hdf5, KerasFile
from edge_effnet.exporters.inputs.keras.config import Layer

#: Keras 2.12 and 2.13 call the folder of layers otherwise.
_FOLDERS = ("layers", "_layer_checkpoint_dependencies")
#: A variable's other names, of other versions.
_OTHER_NAMES = {"depthwise_kernel": ("kernel",), "kernel": ("depthwise_kernel",)}


class Weights(Protocol):
    """A model's weights."""

    def inside(self, layer: Layer) -> Weights:
        """Those of a nested model."""
        ...

    def of(self, layer: Layer, names: Sequence[str]) -> dict[str, Array]:
        """A layer's variables by name, in the order in which Keras makes them; raises CheckpointError."""
        ...


def weights_of(file: KerasFile) -> Weights:
    """The weights of a file, however they lie in it."""
    if file.layout == "named":
        return NamedWeights(file.weights, None)
    return OrderedWeights(file.weights, file.weights.root, "")


class OrderedWeights:
    """`layers/<kind>_<n>/vars/<i>`: n counts layers of one kind in a model, i the layer's variables."""

    def __init__(self, file: Hdf5, group: Any, path: str) -> None:
        self._file, self._path = file, path
        self._layers = next((found for name in _FOLDERS if (found := file.child(group, name)) is not None), None)

    def inside(self, layer: Layer) -> Weights:
        """Those of a nested model."""
        return OrderedWeights(self._file, self._group(layer), f"{self._path}{layer.name}/")

    def of(self, layer: Layer, names: Sequence[str]) -> dict[str, Array]:
        """A layer's variables; raises CheckpointError where they are missing."""
        group = self._file.child(self._group(layer), "vars")
        found = {}
        for index, name in enumerate(names):
            dataset = None if group is None else self._file.child(group, str(index))
            if dataset is None or not self._file.is_dataset(dataset):
                raise _missing(self._file, f"{self._path}{layer.name}", name)
            found[name] = self._file.values(dataset)
        return found

    def _group(self, layer: Layer) -> Any:
        group = None if self._layers is None else self._file.child(self._layers, layer.key)
        if group is None:
            group = None if self._layers is None else self._file.child(self._layers, layer.name)
        if group is None:
            raise _missing(self._file, f"{self._path}{layer.name}", layer.key)
        return group


class NamedWeights:
    """One group for each layer of the whole model, a nested model being one; below it, paths with the layers' names."""

    def __init__(self, file: Hdf5, top: str | None) -> None:
        self._file, self._top = file, top
        self._found: dict[str, Mapping[tuple[str, str], str]] = {}

    def inside(self, layer: Layer) -> Weights:
        """Those of a nested model."""
        return self if self._top is not None else NamedWeights(self._file, layer.name)

    def of(self, layer: Layer, names: Sequence[str]) -> dict[str, Array]:
        """A layer's variables; raises CheckpointError where they are missing."""
        top = layer.name if self._top is None else self._top
        paths = self._paths(top)
        found = {}
        for name in names:
            options = (name, *_OTHER_NAMES.get(name, ()))
            path = next((paths[layer.name, option] for option in options if (layer.name, option) in paths), None)
            dataset = None if path is None else self._file.child(self._file.root, f"{top}/{path}")
            if dataset is None or not self._file.is_dataset(dataset):
                raise _missing(self._file, f"{top}/{layer.name}", name)
            found[name] = self._file.values(dataset)
        return found

    def _paths(self, top: str) -> Mapping[tuple[str, str], str]:
        """(layer, variable) → path below the group."""
        if top not in self._found:
            group = self._file.child(self._file.root, top)
            names = [] if group is None else self._file.texts(group, "weight_names")
            keyed = {}
            for path in names:
                parts = path.split("/")
                if len(parts) > 1:
                    keyed[parts[-2], parts[-1].split(":")[0]] = path
            self._found[top] = keyed
        return self._found[top]


def _missing(file: Hdf5, layer: str, name: str) -> CheckpointError:
    return CheckpointError(
        f"{file.name}: no weights {name!r} of the layer {layer!r:.80}; the file doesn't fit its model"
    )
