"""Modules, living or as records of a pickle: their tensors by name, and what their layers say that tensors can't."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge_effnet.exporters.inputs.records import Record

#: Names of modules that torch.compile, FSDP and checkpointing of activations put around any other.
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
#: Layers and tensors of one module; a module that holds another twice could name 2^n.
_MAX_LAYERS, _MAX_DEPTH, _MAX_NAME = 20_000, 64, 500


@dataclass(frozen=True)
class LayerFacts:
    """One layer as its object says it.

    kind: the class ("torch.nn.modules.conv.Conv2d"). padding, stride, kernel_size: of a convolution, as given; eps: of
    a batch normalisation.
    """

    kind: str
    padding: Any = None
    stride: Any = None
    kernel_size: Any = None
    eps: float | None = None


def plain_name(name: str) -> str:
    """A tensor's or layer's dotted name without the wrappers in it."""
    if not any(wrapper in name for wrapper in WRAPPERS):
        return name
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def fields_of(value: Any) -> Mapping[str, Any] | None:
    """What a pickled module consists of, or None for anything else: `_modules`, `_parameters`, `_buffers`, settings."""
    state = value.state if isinstance(value, Record) else value
    if isinstance(value, Record) and value.kind.endswith("reduce_graph_module") and value.args:
        state = value.args[0]
    if not isinstance(state, dict):
        return None
    if all(isinstance(state.get(key), dict) for key in ("_modules", "_parameters")):
        return state
    if isinstance(value, Record) and value.kind.startswith("__torch__."):
        return _scripted_fields(state)
    return None


def _scripted_fields(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """A TorchScript archive's object has its parts side by side."""
    parts = {
        key: value for key, value in state.items() if isinstance(value, Record) and value.kind.startswith("__torch__.")
    }
    others = {
        key: value for key, value in state.items() if key not in parts and not isinstance(value, (str, int, float))
    }
    return {**state, "_modules": parts, "_parameters": others}


def layers_of(module: Record | Mapping[str, Any]) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """(name, object, fields) of a pickled module and all below it, the module itself first."""
    waiting: list[tuple[str, Any, int]] = [("", module, 0)]
    for _ in range(_MAX_LAYERS):
        if not waiting:
            return
        name, layer, depth = waiting.pop()
        fields = fields_of(layer)
        if fields is None:
            continue
        yield name, layer, fields
        if depth < _MAX_DEPTH:
            parts = [(f"{name}.{key}" if name else str(key), part) for key, part in fields["_modules"].items()]
            waiting += [(key, part, depth + 1) for key, part in reversed(parts) if len(key) <= _MAX_NAME]


def state_dict_of(module: Record | Mapping[str, Any]) -> dict[str, Any]:
    """Name → tensor of a pickled module, as its `state_dict()` would give it."""
    found: dict[str, Any] = {}
    for name, _, fields in layers_of(module):
        passing = fields.get("_non_persistent_buffers_set", ())
        for part in ("_parameters", "_buffers"):
            for key, value in (fields.get(part) or {}).items():
                if value is not None and not (part == "_buffers" and key in passing):
                    found[f"{name}.{key}" if name else str(key)] = value
    return found


def facts_of_record(module: Record | Mapping[str, Any]) -> dict[str, LayerFacts]:
    """Name → what the layer says, of a pickled module."""
    found = {}
    for name, layer, fields in layers_of(module):
        eps = fields.get("eps") if "running_mean" in (fields.get("_buffers") or {}) else None
        found[name] = _facts(layer.kind if isinstance(layer, Record) else "?", fields, eps)
    return found


def facts_of_module(module: Any) -> dict[str, LayerFacts]:
    """Name → what the layer says, of an nn.Module."""
    found = {}
    for name, layer in module.named_modules():
        settings = {key: getattr(layer, key, None) for key in ("padding", "stride", "kernel_size")}
        eps = getattr(layer, "eps", None) if hasattr(layer, "running_mean") else None
        found[name] = _facts(f"{type(layer).__module__}.{type(layer).__qualname__}", settings, eps)
    return found


def _facts(kind: str, settings: Mapping[str, Any], eps: Any) -> LayerFacts:
    padding, stride, kernel = (settings.get(key) for key in ("padding", "stride", "kernel_size"))
    return LayerFacts(kind, padding, stride, kernel, float(eps) if isinstance(eps, (int, float)) else None)


def padding_of(layers: Mapping[str, LayerFacts]) -> str | None:
    """Symmetric, same or same-baked, off the first strided convolution; None when its class doesn't say."""
    strided = next((layer for layer in layers.values() if layer.kernel_size and _is_two(layer.stride)), None)
    if strided is None:
        return None
    kind = strided.kind.rsplit(".", 1)[-1]
    if "StaticSame" in kind:
        return "same-baked"
    if "Same" in kind or strided.padding == "same":
        return "same"
    return "symmetric" if _pair(strided.padding) == tuple(k // 2 for k in _pair(strided.kernel_size)) else None


def _is_two(stride: Any) -> bool:
    return stride == 2 or (isinstance(stride, (tuple, list)) and tuple(stride) == (2, 2))


def _pair(value: Any) -> tuple[int, ...]:
    """(height, width) of one number or two; empty for anything else."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    return values if all(type(side) is int for side in values) else ()


def eps_of(layers: Mapping[str, LayerFacts]) -> float | None:
    """The batch normalisations' eps, of the first of them."""
    return next((layer.eps for layer in layers.values() if layer.eps is not None), None)
