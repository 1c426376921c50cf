"""Every kind of node against torch in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.networks import SIZE, float_graph, graph_of, inputs_of, narrow_state

from edge_effnet.network import kernels as module
from edge_effnet.network.execute import execute
from edge_effnet.network.geometry import Padding
from edge_effnet.network.graph import Activation, Add, Border, Conv2D, Dense, DepthwiseConv2D, GlobalMean, Graph, Mul
from edge_effnet.network.operators import run_node

pytestmark = pytest.mark.torch

PADDINGS = [Padding(0, 0, 0, 0), Padding(1, 1, 1, 1), Padding(0, 1, 0, 1), Padding(2, 2, 2, 2), Padding(1, 2, 3, 0)]
SHAPES = [(1, 5, 5, 3), (2, 8, 7, 4), (1, 9, 13, 1), (3, 6, 6, 8)]


def torch_conv(node: Any, tensor: Any, *, groups: int) -> Any:
    import torch
    import torch.nn.functional as F  # noqa: N812

    weight = node.weight.transpose(0, 3, 1, 2) if isinstance(node, Conv2D) else node.weight.transpose(2, 0, 1)[:, None]
    pad = node.padding
    source = F.pad(torch.from_numpy(tensor.transpose(0, 3, 1, 2).copy()), (pad.left, pad.right, pad.top, pad.bottom))
    result = F.conv2d(
        source,
        torch.from_numpy(weight.astype(np.float64)),
        torch.from_numpy(node.bias.astype(np.float64)),
        stride=node.stride,
        groups=groups,
    )
    return (F.relu6(result) if node.activation == "relu6" else result).numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (3, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_convolutions(kernel: tuple[int, int], stride: int, padding: Padding) -> None:
    random = np.random.default_rng([*kernel, stride])
    for shape in SHAPES:
        tensor = random.standard_normal(shape)
        for activation in ("none", "relu6"):
            dense = Conv2D(
                "c", ("x",), _draw(random, 6, *kernel, shape[3]), _draw(random, 6), stride, padding, activation
            )
            np.testing.assert_allclose(
                run_node(dense, [tensor]), torch_conv(dense, tensor, groups=1), rtol=1e-12, atol=1e-12
            )
            single = DepthwiseConv2D(
                "d", ("x",), _draw(random, *kernel, shape[3]), _draw(random, shape[3]), stride, padding, activation
            )
            np.testing.assert_allclose(
                run_node(single, [tensor]), torch_conv(single, tensor, groups=shape[3]), rtol=1e-12, atol=1e-12
            )


def _draw(random: np.random.Generator, *shape: int) -> Any:
    return random.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("strip_bytes", [1, 300, 1 << 30])
def test_depthwise_in_strips_of_any_height(monkeypatch: pytest.MonkeyPatch, strip_bytes: int) -> None:
    monkeypatch.setattr(module, "_STRIP_BYTES", strip_bytes)
    random = np.random.default_rng(0)
    node = DepthwiseConv2D("d", ("x",), _draw(random, 3, 3, 4), _draw(random, 4), 2, Padding(1, 1, 1, 1))
    tensor = random.standard_normal((2, 11, 7, 4))
    np.testing.assert_allclose(run_node(node, [tensor]), torch_conv(node, tensor, groups=4), rtol=1e-12, atol=1e-12)


def test_the_other_nodes() -> None:
    import torch
    import torch.nn.functional as F  # noqa: N812

    random = np.random.default_rng(3)
    x, y, gate = (random.standard_normal(shape) * 4 for shape in ((2, 5, 3, 4), (2, 5, 3, 4), (2, 1, 1, 4)))
    torch_x, torch_y = torch.from_numpy(x), torch.from_numpy(y)
    dense = Dense("n", ("x",), _draw(random, 3, 4), _draw(random, 3))
    expected = {
        Activation("n", ("x",), "swish"): F.silu(torch_x).numpy(),
        Activation("n", ("x",), "sigmoid"): torch.sigmoid(torch_x).numpy(),
        Add("n", ("x", "y")): (torch_x + torch_y).numpy(),
        Add("n", ("x", "y"), "relu6"): F.relu6(torch_x + torch_y).numpy(),
        GlobalMean("n", ("x",), keep_dims=True): x.mean(axis=(1, 2), keepdims=True),
        GlobalMean("n", ("x",), keep_dims=False): x.mean(axis=(1, 2)),
        Mul("n", ("x", "y")): x * y,
    }
    for node, result in expected.items():
        np.testing.assert_allclose(run_node(node, [x, y][: len(node.inputs)]), result, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(run_node(Mul("n", ("x", "g")), [x, gate]), x * gate, rtol=1e-12)
    linear = F.linear(
        torch.from_numpy(gate[:, 0, 0]), torch.from_numpy(dense.weight).double(), torch.from_numpy(dense.bias).double()
    )
    np.testing.assert_allclose(run_node(dense, [gate[:, 0, 0]]), linear.numpy(), rtol=1e-12)


def test_a_border_of_constants() -> None:
    tensor = np.random.default_rng(0).standard_normal((2, 3, 4, 3))
    result = run_node(Border("b", ("x",), Padding(1, 2, 0, 3), (7.0, 8.0, 9.0)), [tensor])
    assert result.shape == (2, 6, 7, 3)
    np.testing.assert_array_equal(result[:, 1:4, :4], tensor)
    outside = np.ones(result.shape[:3], bool)
    outside[:, 1:4, :4] = False
    np.testing.assert_array_equal(np.unique(result[outside], axis=0), [[7, 8, 9]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gates_far_out_neither_overflow_nor_warn(dtype: Any) -> None:
    extremes = np.array([[-1e30, -1000, -88, 0, 88, 1000, 1e30]], dtype)
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(
            run_node(Activation("n", ("x",), "sigmoid"), [extremes]), [[0, 0, 0, 0.5, 1, 1, 1]], atol=1e-30
        )
        found = run_node(Activation("n", ("x",), "swish"), [extremes[:, 1:6]])
    np.testing.assert_allclose(found, [[0, 0, 0, 88, 1000]], atol=1e-30)
    assert found.dtype == dtype


def test_hooks_see_every_tensor_and_may_replace_it() -> None:
    graph = graph_of(
        [Activation("a", ("image",), "swish"), Add("b", ("a", "image")), GlobalMean("c", ("b",), keep_dims=False)],
        channels=2,
    )
    image = inputs_of(graph, 1)[0]
    seen: list[str] = []

    def double(name: str, tensor: Any) -> Any:
        seen.append(name)
        return tensor * 2 if name == "a" else tensor

    before = image.copy()
    found = execute(graph, image, hook=double)
    assert seen == ["image", "a", "b", "c"]
    np.testing.assert_allclose(found, (2 * image / (1 + np.exp(-image)) + image).mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(image, before)


def test_an_output_that_is_read_again_is_kept() -> None:
    nodes = (Activation("a", ("image",), "swish"), Activation("b", ("a",), "sigmoid"))
    image = np.ones((1, 2, 2, 1), np.float32)
    assert execute(Graph("image", image.shape, nodes, "a"), image).shape == image.shape


@pytest.mark.parametrize("variant", ["b0", "lite0"])
def test_a_whole_network_in_both_precisions_and_as_a_batch(variant: str) -> None:
    graph = float_graph(narrow_state(variant), variant)
    images = np.concatenate(inputs_of(graph, 3))
    exact = execute(graph, images.astype(np.float64))
    assert exact.dtype == np.float64
    assert images.shape[1:] == (SIZE, SIZE, 3)
    single = np.concatenate([execute(graph, image[None]) for image in images])
    np.testing.assert_allclose(single, execute(graph, images), rtol=1e-4, atol=1e-5 * np.abs(exact).max())
    np.testing.assert_allclose(single, exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max())
