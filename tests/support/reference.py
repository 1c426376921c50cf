"""An EfficientNet in plain torch.nn.functional that knows nothing of edge_effnet: batch norm unfolded, padding
explicit.

The layers are taken from the state dict in its own order and told apart by shape; only strides and paddings are said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

#: Blocks of each stage, as timm prints them.
REPEATS = {
    "b0": (1, 2, 2, 3, 3, 4, 1),
    "b1": (2, 3, 3, 4, 4, 5, 2),
    "b2": (2, 3, 3, 4, 4, 5, 2),
    "b3": (2, 3, 3, 5, 5, 6, 2),
    "lite0": (1, 2, 2, 3, 3, 4, 1),
    "lite1": (1, 3, 3, 4, 4, 5, 1),
    "lite2": (1, 3, 3, 4, 4, 5, 1),
    "lite3": (1, 3, 3, 5, 5, 6, 1),
    "lite4": (1, 4, 4, 6, 6, 8, 1),
}
STRIDES = (1, 2, 2, 2, 1, 2, 1)


class Reference:
    """padding: "symmetric", "same", or "baked": SAME worked out for `built_for` and kept at any size."""

    def __init__(
        self, state: Mapping[str, npt.NDArray[Any]], variant: str, *, padding: str, eps: float, built_for: int = 0
    ) -> None:
        import torch

        self._tensors = {
            key: torch.from_numpy(np.asarray(value, np.float64)) for key, value in state.items() if value.ndim
        }
        self._strides = [
            stride if position == 0 else 1
            for stride, count in zip(STRIDES, REPEATS[variant], strict=True)
            for position in range(count)
        ]
        self._padding, self._eps, self._baked = padding, eps, built_for
        self._lite = variant.startswith("lite")

    def logits(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """float64[C] for float[1, 3, S, S]."""
        import torch

        with torch.inference_mode():
            return np.asarray(self._forward(torch.from_numpy(image.astype(np.float64)))[0])

    def _forward(self, tensor: Any) -> Any:
        import torch.nn.functional as F  # noqa: N812 (the usual name)

        names = iter([key for key in self._tensors if key.endswith(".weight") and self._tensors[key].ndim == 4])
        tensor = self._act(self._conv_norm(next(names), tensor, stride=2))
        for stride in self._strides:
            tensor = self._block(names, tensor, stride)
        tensor = self._act(self._conv_norm(next(names), tensor))
        *_, weight, bias = self._tensors.values()
        return F.linear(tensor.mean((2, 3)), weight, bias)

    def _block(self, names: Iterator[str], start: Any, stride: int) -> Any:
        import torch

        name, tensor = next(names), start
        if self._tensors[name].shape[1] != 1:
            tensor = self._act(self._conv_norm(name, tensor))
            name = next(names)
        tensor = self._act(self._conv_norm(name, tensor, stride=stride))
        if not self._lite:
            pooled = tensor.mean((2, 3), keepdim=True)
            squeezed = torch.nn.functional.silu(self._conv_bias(next(names), pooled))
            tensor = tensor * torch.sigmoid(self._conv_bias(next(names), squeezed))
        tensor = self._conv_norm(next(names), tensor)
        return tensor + start if stride == 1 and tensor.shape == start.shape else tensor

    def _act(self, tensor: Any) -> Any:
        import torch.nn.functional as F  # noqa: N812

        return F.relu6(tensor) if self._lite else F.silu(tensor)

    def _conv_bias(self, name: str, tensor: Any) -> Any:
        import torch.nn.functional as F  # noqa: N812

        return F.conv2d(tensor, self._tensors[name], self._tensors[name.removesuffix("weight") + "bias"])

    def _conv_norm(self, name: str, tensor: Any, *, stride: int = 1) -> Any:
        import torch.nn.functional as F  # noqa: N812

        weight = self._tensors[name]
        keys = list(self._tensors)
        scale, shift, mean, variance = (self._tensors[key] for key in keys[keys.index(name) + 1 : keys.index(name) + 5])
        padded = F.pad(tensor, self._pads(weight.shape[-1], stride, tensor.shape[-1]))
        groups = tensor.shape[1] if weight.shape[1] == 1 else 1
        return F.batch_norm(
            F.conv2d(padded, weight, stride=stride, groups=groups), mean, variance, scale, shift, eps=self._eps
        )

    def _pads(self, kernel: int, stride: int, size: int) -> list[int]:
        if self._padding == "symmetric":
            return [kernel // 2] * 4
        believed = size
        if self._padding == "baked":
            believed, self._baked = self._baked, -(-self._baked // stride)
        total = max((-(-believed // stride) - 1) * stride + kernel - believed, 0)
        return [total // 2, total - total // 2] * 2
