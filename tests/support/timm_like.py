"""A torch module that computes a quarter-wide B0, with timm's names and timm's order of operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from edge_effnet.exporters.families.records import BlockShape
from support.networks import NARROW


def _conv(inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, bias: bool = False) -> Any:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)


class Gate(nn.Module):
    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.conv_reduce = _conv(shape.inner, int(shape.se_channels or 0), bias=True)
        self.conv_expand = _conv(int(shape.se_channels or 0), shape.inner, bias=True)

    def forward(self, x: Any) -> Any:
        return x * torch.sigmoid(self.conv_expand(F.silu(self.conv_reduce(x.mean((2, 3), keepdim=True)))))


class Block(nn.Module):
    """With an expand convolution (`conv_pw`, `conv_pwl`), or without (`conv_pw` projects)."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.skip, inner = shape.skip, shape.inner
        depthwise = _conv(inner, inner, shape.kernel, stride=shape.stride, groups=inner)
        project = _conv(inner, shape.out_channels)
        if shape.kind == "separable":
            convolutions = {"conv_dw": depthwise, "conv_pw": project}
        else:
            convolutions = {"conv_pw": _conv(shape.in_channels, inner), "conv_dw": depthwise, "conv_pwl": project}
        self.names = list(convolutions)
        for index, (name, layer) in enumerate(convolutions.items(), 1):
            self.add_module(name, layer)
            self.add_module(f"bn{index}", nn.BatchNorm2d(layer.out_channels))
        self.se = Gate(shape)

    def forward(self, x: Any) -> Any:
        start = x
        for index, name in enumerate(self.names, 1):
            x = getattr(self, f"bn{index}")(getattr(self, name)(x))
            if index < len(self.names):
                x = F.silu(x)
            if name == "conv_dw":
                x = self.se(x)
        return x + start if self.skip else x


class NarrowB0(nn.Module):
    """Of any number of classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        body = NARROW["b0"]
        self.conv_stem, self.bn1 = _conv(body.in_channels, body.stem, 3, stride=2), nn.BatchNorm2d(body.stem)
        stages = range(1 + max(shape.stage for shape in body.blocks))
        of = {stage: [Block(shape) for shape in body.blocks if shape.stage == stage] for stage in stages}
        self.blocks = nn.Sequential(*(nn.Sequential(*of[stage]) for stage in stages))
        self.conv_head, self.bn2 = _conv(body.blocks[-1].out_channels, body.head), nn.BatchNorm2d(body.head)
        self.classifier = nn.Linear(body.head, classes)

    def forward(self, x: Any) -> Any:
        x = self.blocks(F.silu(self.bn1(self.conv_stem(x))))
        return self.classifier(F.adaptive_avg_pool2d(F.silu(self.bn2(self.conv_head(x))), 1).flatten(1))


def narrow_module(state: Any) -> NarrowB0:
    """With the weights of `support.networks.narrow_state("b0")`."""
    made = NarrowB0(len(state["classifier.bias"]))
    made.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    return made.eval()
