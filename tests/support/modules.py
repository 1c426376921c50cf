"""torch modules with the parameter names of an implementation, and of its layers as much as an exporter looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class Conv2dSame(nn.Conv2d):
    """Named as timm's layer with TensorFlow's padding."""


class Conv2dStaticSamePadding(nn.Conv2d):
    """Named as efficientnet-pytorch's layer for a fixed image size."""


class Conv2dDynamicSamePadding(nn.Conv2d):
    """Named as efficientnet-pytorch's layer for any image size."""


def make_module(
    state: Mapping[str, Any], *, conv: type[nn.Conv2d] = nn.Conv2d, eps: float = 1e-5, padding: int = 1
) -> nn.Module:
    """A tree of modules whose state_dict() is `state`."""
    root = nn.Module()
    for key in state:
        path, _, item = key.rpartition(".")
        if item == "weight":
            _put(root, path.split("."), _layer(state, path, conv, eps, padding))
    root.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    return root


def _layer(state: Mapping[str, Any], path: str, conv: type[nn.Conv2d], eps: float, padding: int) -> nn.Module:
    shape = state[f"{path}.weight"].shape
    if len(shape) == 1:
        return nn.BatchNorm2d(shape[0], eps=eps)
    bias = f"{path}.bias" in state
    if len(shape) == 2:
        return nn.Linear(shape[1], shape[0], bias=bias)
    return conv(shape[1], shape[0], shape[2], stride=2 if "stem" in path else 1, padding=padding, bias=bias)


def _put(module: nn.Module, names: list[str], layer: nn.Module) -> None:
    for name in names[:-1]:
        if name not in module._modules:
            module.add_module(name, nn.Module())
        module = module.get_submodule(name)
    module.add_module(names[-1], layer)
