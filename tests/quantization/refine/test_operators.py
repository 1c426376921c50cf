"""Every operator in torch gives what the numpy operator does, forwards and backwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.operators import CASES

from edge_effnet.errors import OperatorError
from edge_effnet.network.geometry import Padding
from edge_effnet.network.graph import Conv2D, DepthwiseConv2D
from edge_effnet.network.operators import OPERATORS, input_gradients, run_node

pytestmark = pytest.mark.torch
Array = Any
RANDOM = np.random.default_rng(0)
IMAGE = (2, 9, 8, 6)


def numbers(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32) * 3


def convolution(outputs: int, kernel: int, *, groups: int = 1, **options: Any) -> Conv2D:
    weight = numbers(outputs, kernel, kernel, 6 // groups)
    return Conv2D("node", ("x",), weight, numbers(outputs), groups=groups, **options)


def depthwise(kernel: int, **options: Any) -> DepthwiseConv2D:
    return DepthwiseConv2D("node", ("x",), numbers(kernel, kernel, 6), numbers(6), **options)


#: Every operator, and the forms of convolutions that torch is told in several ways.
NODES: dict[str, tuple[Any, list[Array]]] = {
    **{name: (node, [numbers(*shape) for shape in shapes]) for name, (node, shapes) in CASES.items()},
    "pointwise": (convolution(4, 1), [numbers(*IMAGE)]),
    "pointwise of one output": (convolution(1, 1), [numbers(*IMAGE)]),
    "pointwise, stride 2": (convolution(4, 1, stride=2), [numbers(*IMAGE)]),
    "symmetric": (convolution(4, 3, padding=Padding(1, 1, 1, 1)), [numbers(*IMAGE)]),
    "same, stride 2": (convolution(4, 3, stride=2, padding=Padding(1, 1, 0, 1)), [numbers(*IMAGE)]),
    "trimmed, stride 2": (convolution(4, 3, stride=2, padding=Padding(1, 1, 1, 0)), [numbers(*IMAGE)]),
    "pointwise groups": (convolution(4, 1, groups=2), [numbers(*IMAGE)]),
    "depthwise": (depthwise(5, padding=Padding(2, 2, 2, 2), activation="relu6"), [numbers(*IMAGE)]),
    "depthwise, stride 2": (depthwise(3, stride=2, padding=Padding(0, 1, 1, 1)), [numbers(*IMAGE)]),
    "depthwise factors": (depthwise(1), [numbers(*IMAGE)]),
}


def to_torch(values: Array) -> Any:
    import torch

    found = torch.from_numpy(values.copy())
    return found.permute(0, 3, 1, 2) if found.dim() == 4 else found


def to_numpy(tensor: Any) -> Array:
    return (tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor).detach().numpy()


def test_every_operator_is_tried() -> None:
    assert {type(node) for node, _ in NODES.values()} == set(OPERATORS)


@pytest.mark.parametrize("name", NODES)
def test_torch_computes_what_numpy_does(name: str) -> None:
    import torch

    from edge_effnet.quantization.refine.operators import run, torch_layout

    node, inputs = NODES[name]
    weights = (torch_layout(node, node.weight), torch.from_numpy(node.bias)) if hasattr(node, "weight") else None
    tensors = [to_torch(values).requires_grad_() for values in inputs]
    found, exact = run(node, tensors, weights), run_node(node, inputs)
    np.testing.assert_allclose(to_numpy(found), exact, rtol=1e-4, atol=1e-4)  # sums of 50 float32 products
    told = numbers(*exact.shape)
    found.backward(to_torch(told))
    for tensor, gradient in zip(tensors, input_gradients(node, inputs, exact, told), strict=True):
        np.testing.assert_allclose(to_numpy(tensor.grad), gradient, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["pointwise", "depthwise", "dense", "grouped"])
def test_layouts_come_back(name: str) -> None:
    from edge_effnet.quantization.refine.operators import our_layout, torch_layout

    node = NODES[name][0]
    np.testing.assert_array_equal(our_layout(node, torch_layout(node, node.weight)), node.weight)


def test_what_is_no_operator_is_refused() -> None:
    from edge_effnet.quantization.refine.operators import run

    with pytest.raises(OperatorError, match="refinement doesn't handle str"):
        run("node", [])  # type: ignore[arg-type]
