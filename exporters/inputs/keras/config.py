"""A Keras model's configuration as records: layers, what each reads, nested models.

Read are Keras 3's form and that of tf.keras 2 (`functional.py`, `sequential.py` of both). Nothing of it is executed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from edge_effnet.errors import CheckpointError

_MODELS = ("Functional", "Model", "Sequential")
_MAX_DEPTH = 16
MAX_LAYERS = 20_000


@dataclass(frozen=True)
class Reference:
    """A tensor that an earlier layer gives."""

    layer: str


@dataclass(frozen=True, eq=False)
class Layer:
    """One entry of a model. calls: for each use, its arguments: references, numbers, lists of numbers, by position
    and then by name. model: what is inside a nested one. key: its folder among ordered weights ("conv2d_3").
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    calls: tuple[tuple[Any, ...], ...]
    key: str
    model: Model | None = None


@dataclass(frozen=True, eq=False)
class Model:
    """Layers in order; `inputs` and `outputs` are layer names. A sequential one gives what its last layer gives."""

    name: str
    layers: tuple[Layer, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_shape: tuple[int | None, ...] | None = field(default=None)


Content: TypeAlias = Mapping[str, Any]


def read_model(content: Content, *, depth: int = 0) -> Model:
    """The model of `config.json`, or of the attribute `model_config`; raises CheckpointError naming what can't be
    read.
    """
    kind, config = content.get("class_name"), content.get("config")
    if kind not in _MODELS or depth > _MAX_DEPTH:
        raise CheckpointError(
            f"the model is a {str(kind)!r:.60}; expected Functional or Sequential. A class of your own can't be read "
            "without its code: rebuild it as keras.Model(inputs, outputs) and save that"
        )
    listed = config if isinstance(config, list) else config.get("layers") if isinstance(config, Mapping) else None
    if (
        not isinstance(listed, list)
        or not all(isinstance(item, Mapping) for item in listed)
        or len(listed) > MAX_LAYERS
    ):
        raise CheckpointError(f"the configuration of a {kind} lists no layers; the file is damaged")
    named = config if isinstance(config, Mapping) else {}
    layers = _layers(listed, depth)
    if kind == "Sequential":
        return _sequential(str(named.get("name", "sequential")), layers, named)
    inputs, outputs = (_names(named.get(key)) for key in ("input_layers", "output_layers"))
    first = next((layer for layer in layers if layer.name in inputs), None)
    return Model(
        str(named.get("name", "model")), layers, inputs, outputs, None if first is None else _shape(first.config)
    )


def _layers(listed: Sequence[Content], depth: int) -> tuple[Layer, ...]:
    counts: dict[str, int] = {}
    found = []
    for item in listed:
        config, kind = item.get("config"), str(item.get("class_name"))
        if not isinstance(config, Mapping | list):
            raise CheckpointError(f"a layer of the kind {kind!r:.60} has no configuration; the file is damaged")
        snake = snake_case(kind)
        key = snake if snake not in counts else f"{snake}_{counts[snake]}"
        counts[snake] = counts.get(snake, 0) + 1
        model = read_model(item, depth=depth + 1) if kind in _MODELS else None
        options = config if isinstance(config, Mapping) else {}
        name = str(item.get("name") or options.get("name") or key)
        if kind in ("TimeDistributed", "Bidirectional"):
            raise CheckpointError(f"layer {name!r:.60} is a {kind}; expected layers of an image classifier")
        found.append(Layer(name, kind, options, _calls(item.get("inbound_nodes")), key, model))
    return tuple(found)


def snake_case(name: str) -> str:
    """Keras' `to_snake_case`: Conv2D → conv2d, BatchNormalization → batch_normalization."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _sequential(name: str, layers: tuple[Layer, ...], config: Content) -> Model:
    shape = _side_list(config.get("build_input_shape"))
    chained = []
    before = ""
    for layer in layers:
        shape = shape or _shape(layer.config) or (layer.model.input_shape if layer.model else None)
        calls: tuple[tuple[Any, ...], ...] = ((Reference(before),),) if before else ()
        chained.append(Layer(layer.name, layer.kind, layer.config, calls, layer.key, layer.model))
        before = layer.name
    if len({layer.name for layer in chained}) != len(chained):
        raise CheckpointError(f"two layers of {name!r:.60} have one name; the file is damaged")
    return Model(name, tuple(chained), tuple(layer.name for layer in chained[:1]), (before,) if before else (), shape)


def _shape(config: Content) -> tuple[int | None, ...] | None:
    return _side_list(config.get("batch_shape") or config.get("batch_input_shape"))


def _side_list(value: Any) -> tuple[int | None, ...] | None:
    if not isinstance(value, list | tuple) or not all(item is None or isinstance(item, int) for item in value):
        return None
    return tuple(value)


def _names(value: Any) -> tuple[str, ...]:
    """Layer names from [["a", 0, 0], …] or ["a", 0, 0]."""
    if isinstance(value, list) and value and isinstance(value[0], str):
        return (value[0],)
    if isinstance(value, Mapping):
        value = list(value.values())
    return tuple(name for item in value or () for name in _names(item)) if isinstance(value, list) else ()


def _calls(nodes: Any) -> tuple[tuple[Any, ...], ...]:
    """Arguments of each use of a layer, in Keras 3's form or tf.keras'."""
    if not isinstance(nodes, list):
        return ()
    return tuple(_call(node) for node in nodes)


def _call(node: Any) -> tuple[Any, ...]:
    if isinstance(node, Mapping):
        given = node.get("kwargs")
        extra = [given[key] for key in ("y", "x2", "inputs") if key in given] if isinstance(given, Mapping) else []
        return tuple(part for item in (*_listed(node.get("args")), *extra) for part in _argument(item))
    found: list[Any] = []
    items = node if isinstance(node, list) else []
    for item in [items] if items and isinstance(items[0], str) else items:  # tf.keras' operations aren't nested
        if not (isinstance(item, list) and item and isinstance(item[0], str)):
            continue
        found.append(Reference(item[0]))
        given = item[3] if len(item) > 3 and isinstance(item[3], Mapping) else {}
        for key in ("y", "x2"):
            if key in given:
                found += _older_argument(given[key])
    return tuple(found)


def _older_argument(item: Any) -> list[Any]:
    if isinstance(item, list) and item and isinstance(item[0], str):
        return [Reference(item[0])]
    return [item]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _argument(item: Any) -> list[Any]:
    """References in an argument of Keras 3, a list of them flattened; numbers as they are."""
    if isinstance(item, Mapping):
        config = item.get("config")
        history = config.get("keras_history") if isinstance(config, Mapping) else None
        if item.get("class_name") == "__keras_tensor__" and isinstance(history, list) and history:
            return [Reference(str(history[0]))]
        value = config.get("value") if isinstance(config, Mapping) else None
        return [] if value is None else [value]
    if isinstance(item, list) and any(isinstance(part, Mapping) for part in item):
        return [found for part in item for found in _argument(part)]
    return [item] if isinstance(item, int | float | list) and not isinstance(item, bool) else []
