"""What stands between the pooled features and the outputs: linear layers, batch norm, and the activations between.

A state dict doesn't say which activation stands between two linear layers: it is asked for, or read off a module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import CheckpointError, UsageError
from edge_effnet.exporters.inputs.checkpoint import Checkpoint
from edge_effnet.network.activations import HEAD_ACTIVATIONS, Kind

#: PyTorch's classes → the same.
_CLASSES: Mapping[str, Kind | None] = {
    "ReLU": "relu",
    "ReLU6": "relu6",
    "SiLU": "swish",
    "Swish": "swish",
    "MemoryEfficientSwish": "swish",
    "GELU": "gelu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "LeakyReLU": "leaky_relu",
    "Hardswish": "hard_swish",
    "Dropout": None,
    "Dropout1d": None,
    "Identity": None,
    "Flatten": None,
    "Softmax": None,
    "LogSoftmax": None,
}
#: PyTorch's default of nn.BatchNorm1d.
HEAD_BN_EPS = 1e-5
#: timm's names of average pooling; without a name nothing is said.
_AVERAGE = ("", "avg", "fast", "fastavg")
_LEAVE_OUT = "--head features leaves the head out"
Array: TypeAlias = npt.NDArray[Any]
Part: TypeAlias = Literal["linear", "norm", "activation"]


@dataclass(frozen=True, eq=False)
class HeadLayer:
    """One linear layer with all batch norms folded in, in float64 where there were any, and the activation behind."""

    weight: npt.NDArray[np.floating[Any]]
    bias: npt.NDArray[np.float64]
    activation: Kind | None = None


@dataclass(frozen=True)
class _Item:
    """A layer under its name: a linear one, a batch norm, or an activation of a module."""

    name: str
    part: Part
    tensors: Mapping[str, Array]
    kind: Kind | None = None


def read_head(
    checkpoint: Checkpoint, names: Sequence[str], *, features: int, activation: str | None
) -> tuple[HeadLayer, ...]:
    """The layers under these tensor names, from `features` inputs on; () where there are none.

    activation: a key of HEAD_ACTIVATIONS, of all hidden layers. Raises CheckpointError naming what is no linear layer,
    or asking for the activation; UsageError for an unknown one.
    """
    if activation is not None and activation not in HEAD_ACTIVATIONS:
        raise UsageError(f"--head-activation {activation!r} is unknown; expected {', '.join(HEAD_ACTIVATIONS)}")
    tensors = {name: np.asarray(checkpoint.tensors[name]) for name in names}
    if not tensors:
        tensors = _beside(checkpoint, features)
    items = _items(tensors, checkpoint)
    if not items:
        return ()
    _check_widths(items, features, checkpoint.origin)
    linear = [item for item in items if item.part == "linear"]
    if len(linear) > 1:
        items = _with_activations(items, checkpoint, activation)
    return _folded(items)


def check_pooling(holders: Iterable[Mapping[str, Any]], where: str) -> None:
    """Raises CheckpointError where a trainer's options name a pooling other than the average, which tensors don't tell.

    Source: timm's train.py (`gp`) and `push_to_hf_hub` (`global_pool`).
    """
    for holder in holders:
        said = next((holder[key] for key in ("global_pool", "gp") if isinstance(holder.get(key), str)), "")
        if said not in _AVERAGE:
            raise CheckpointError(
                f"{where} says that features are pooled by {said[:40]!r}; supported is the average: train it with "
                "global_pool='avg', which costs an epoch or two"
            )


def _beside(checkpoint: Checkpoint, features: int) -> dict[str, Array]:
    """Tensors beside the network's prefix (`fc.weight` beside `backbone.`) that begin with its features, or with twice
    as many, which is told by `_check_widths`.
    """
    outside = checkpoint.outside
    taking = any(
        key.endswith(".weight") and values.ndim == 2 and values.shape[1] in (features, 2 * features)
        for key, values in outside.items()
    )
    return dict(outside) if taking else {}


def _items(tensors: Mapping[str, Array], checkpoint: Checkpoint) -> list[_Item]:
    layers: dict[str, dict[str, Array]] = {}
    for key, values in tensors.items():
        name, _, item = key.rpartition(".")
        if item != "num_batches_tracked":
            layers.setdefault(name, {})[item] = values
    found = [_item(name, parts, checkpoint.origin) for name, parts in layers.items()]
    return sorted(found, key=lambda item: _natural(item.name)) if _one_place(found) else found


def _one_place(items: Sequence[_Item]) -> bool:
    """Whether all lie in one Sequential, so that their numbers are their order (a safetensors file sorts by text)."""
    return len({item.name.rpartition(".")[0] for item in items}) == 1 and all(
        item.name.rpartition(".")[2].isdigit() for item in items
    )


def _natural(name: str) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in name.split(".")]


def _item(name: str, parts: Mapping[str, Array], origin: str) -> _Item:
    weight = parts.get("weight")
    if (
        weight is not None
        and weight.ndim in (2, 4)
        and weight.shape[2:] in ((), (1, 1))
        and set(parts) <= {"weight", "bias"}
    ):
        return _linear(name, weight, parts.get("bias"), origin)
    if set(parts) == {"weight", "bias", "running_mean", "running_var"} and weight is not None and weight.ndim == 1:
        if any(values.shape != weight.shape for values in parts.values()):
            raise CheckpointError(
                f"{origin}: the batch norm {name} in the head has parts of different lengths; {_LEAVE_OUT}"
            )
        return _Item(name, "norm", parts)
    listed = ", ".join(f"{name}.{item} {list(values.shape)}" for item, values in parts.items())
    what = "a normalisation without running statistics (LayerNorm?)" if weight is not None and weight.ndim == 1 else ""
    raise CheckpointError(
        f"{origin}: the head has unexpected tensors {listed}{', ' + what if what else ''}; expected linear layers and "
        f"batch norm; {_LEAVE_OUT}"
    )


def _linear(name: str, weight: Array, bias: Array | None, origin: str) -> _Item:
    if bias is not None and bias.shape != weight.shape[:1]:
        raise CheckpointError(
            f"{origin}: {name}.bias {list(bias.shape)}; expected {list(weight.shape[:1])}, one value for each class; "
            f"{_LEAVE_OUT}"
        )
    weight = weight.reshape(weight.shape[0], -1)
    return _Item(name, "linear", {"weight": weight, "bias": np.zeros(len(weight)) if bias is None else bias})


def _check_widths(items: Sequence[_Item], features: int, origin: str) -> None:
    width = features
    for item in items:
        weight = item.tensors["weight"]
        takes = weight.shape[1] if item.part == "linear" else len(weight)
        if takes == 2 * features and width == features:
            raise CheckpointError(
                f"{origin}: {item.name} takes {takes} values, twice the {features} features: average and maximum "
                "pooling side by side (catavgmax, fastai's AdaptiveConcatPool2d), which isn't supported; only average "
                f"pooling is; {_LEAVE_OUT}"
            )
        if takes != width:
            raise CheckpointError(
                f"{origin}: the head has {item.name}.weight {list(weight.shape)}; expected it to take {width} values; "
                f"{_LEAVE_OUT}"
            )
        width = weight.shape[0]
    if items[-1].part != "linear" and not any(item.part == "linear" for item in items):
        raise CheckpointError(f"{origin}: the head has no linear layer, only {items[0].name}; {_LEAVE_OUT}")


def _with_activations(items: list[_Item], checkpoint: Checkpoint, activation: str | None) -> list[_Item]:
    """The items with an activation behind each hidden layer: a module's own, or the one that is said."""
    own = _modules_own(items, checkpoint)
    if own is not None:
        return own
    if activation is None:
        names = [item.name for item in items if item.part == "linear"]
        raise CheckpointError(
            f"{checkpoint.origin}: the head has {len(names)} linear layers ({', '.join(names)}), and which activation "
            f"stands between them isn't among the weights; say it: --head-activation {'|'.join(HEAD_ACTIVATIONS)}"
        )
    kind = HEAD_ACTIVATIONS[activation]
    return items if kind is None else _placed(items, kind, checkpoint.origin)


def _modules_own(items: Sequence[_Item], checkpoint: Checkpoint) -> list[_Item] | None:
    """The order of an nn.Sequential, activations included; None where the head is no such thing."""
    places = {item.name.rpartition(".")[0] for item in items}
    place = f"{checkpoint.prefix}{next(iter(places))}" if len(places) == 1 else ""
    if not place or checkpoint.layers.get(place) is None or _class(checkpoint.layers[place].kind) != "Sequential":
        return None
    by_name = {f"{checkpoint.prefix}{item.name}": item for item in items}
    found: list[_Item] = []
    for name, facts in checkpoint.layers.items():
        if name.rpartition(".")[0] != place:
            continue
        if name in by_name:
            found.append(by_name[name])
        elif _class(facts.kind) not in _CLASSES:
            raise CheckpointError(
                f"{checkpoint.origin}: the head has a {_class(facts.kind)} at {name}, which isn't supported; expected "
                f"{', '.join(_CLASSES)}"
            )
        else:
            found.append(_Item(name, "activation", {}, _CLASSES[_class(facts.kind)]))
    return found


def _class(kind: str) -> str:
    return kind.rsplit(".", 1)[-1]


def _placed(items: Sequence[_Item], kind: Kind, origin: str) -> list[_Item]:
    """One activation between each two linear layers, where the numbers leave no doubt of its side of a batch norm."""
    found: list[_Item] = []
    last = max(index for index, item in enumerate(items) if item.part == "linear")
    first = min(index for index, item in enumerate(items) if item.part == "linear")
    waiting = False
    for index, item in enumerate(items):
        if item.part == "linear":
            if waiting:
                found.append(_Item(f"{item.name}.before", "activation", {}, kind))
            found.append(item)
            waiting = index < last
            continue
        if first < index < last and waiting and _before_norm(items[index - 1], item, items[index + 1], origin):
            found.append(_Item(f"{item.name}.before", "activation", {}, kind))
            waiting = False
        found.append(item)
    return found


def _before_norm(before: _Item, norm: _Item, after: _Item, origin: str) -> bool:
    """Whether the activation stands before a batch norm: there is room for it there, and none behind."""
    numbers = [item.name.rpartition(".")[2] for item in (before, norm, after)]
    if all(re.fullmatch(r"\d+", number) for number in numbers):
        front, here, behind = map(int, numbers)
        if here == front + 1:
            return False
        if behind == here + 1:
            return True
    raise CheckpointError(
        f"{origin}: whether the head's activation stands before or behind the batch norm {norm.name} isn't among the "
        "weights; export the nn.Module, which knows"
    )


def _folded(items: Sequence[_Item]) -> tuple[HeadLayer, ...]:
    """Batch norms folded into the linear layer before them, or behind where there's an activation or nothing before."""
    layers: list[HeadLayer] = []
    scale: Array | float = 1.0
    shift: Array | float = 0.0
    for item in items:
        if item.part == "norm":
            own_scale, own_shift = _norm(item)
            if layers and layers[-1].activation is None and np.isscalar(scale):
                last = layers[-1]
                layers[-1] = HeadLayer(last.weight * own_scale[:, None], last.bias * own_scale + own_shift)
            else:
                scale, shift = scale * own_scale, shift * own_scale + own_shift
        elif item.part == "linear":
            weight, bias = item.tensors["weight"], np.asarray(item.tensors["bias"], np.float64)
            if not np.isscalar(scale):
                weight = np.asarray(weight, np.float64)
                weight, bias = weight * scale, bias + weight @ shift
            layers.append(HeadLayer(weight, bias))
            scale, shift = 1.0, 0.0
        elif item.kind is not None and layers:
            layers[-1] = HeadLayer(layers[-1].weight, layers[-1].bias, item.kind)
    return tuple(layers)


def _norm(item: _Item) -> tuple[Array, Array]:
    values = {name: np.asarray(value, np.float64) for name, value in item.tensors.items()}
    scale = values["weight"] / np.sqrt(values["running_var"] + HEAD_BN_EPS)
    return scale, values["bias"] - values["running_mean"] * scale
