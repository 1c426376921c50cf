from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_effnet.network.geometry import Padding, conv_size, same_padding, symmetric_padding
from edge_effnet.network.graph import (
    Activation,
    Add,
    Border,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalMean,
    Graph,
    Mul,
    frame_nhwc,
    is_activation,
    weighted,
    with_nodes,
)
from edge_effnet.network.operators import tensor_shapes


def conv(name: str, source: str, *, channels: int = 4, inputs: int = 3) -> Conv2D:
    return Conv2D(
        name,
        (source,),
        np.ones((channels, 3, 3, inputs), np.float32),
        np.zeros(channels, np.float32),
        2,
        Padding(0, 1, 0, 1),
    )


def small_graph() -> Graph:
    return Graph(
        "image",
        (1, 8, 8, 3),
        (
            Border("border", ("image",), Padding(1, 0, 1, 0), (1.0, 2.0, 3.0)),
            conv("stem", "border"),
            DepthwiseConv2D(
                "depthwise", ("stem",), np.ones((3, 3, 4), np.float32), np.zeros(4, np.float32), 1, Padding(1, 1, 1, 1)
            ),
            GlobalMean("mean", ("depthwise",), keep_dims=True),
            Activation("gate", ("mean",), "sigmoid"),
            Mul("scale", ("depthwise", "gate")),
            Add("twice", ("scale", "scale")),
            Activation("swish", ("twice",), "swish"),
            GlobalMean("pooled", ("swish",), keep_dims=False),
            Dense("logits", ("pooled",), np.ones((2, 4), np.float32), np.zeros(2, np.float32)),
        ),
        ("logits",),
    )


def test_shapes() -> None:
    shapes = tensor_shapes(small_graph())
    assert [shapes[name] for name in ("image", "border", "stem", "depthwise", "mean", "scale", "pooled", "logits")] == [
        (1, 8, 8, 3),
        (1, 9, 9, 3),
        (1, 4, 4, 4),
        (1, 4, 4, 4),
        (1, 1, 1, 4),
        (1, 4, 4, 4),
        (1, 4),
        (1, 2),
    ]


def test_consumers_and_names() -> None:
    graph = small_graph()
    readers = graph.consumers()
    assert [node.name for node in readers["depthwise"]] == ["mean", "scale"]
    assert [node.name for node in readers["scale"]] == ["twice"]
    assert readers["logits"] == ()
    assert graph.by_name()["gate"].inputs == ("mean",)


def test_weight_bytes_and_weighted() -> None:
    graph = small_graph()
    assert [node.name for node in weighted(graph.nodes)] == ["stem", "depthwise", "logits"]
    assert graph.weight_bytes() == 4 * (4 * 27 + 4 + 36 + 4 + 8 + 2)


def test_replacing_nodes_leaves_the_old_graph() -> None:
    graph = small_graph()
    changed = with_nodes(graph, {"gate": Activation("gate", ("mean",), "swish")})
    assert is_activation(changed.by_name()["gate"], "swish")
    assert is_activation(graph.by_name()["gate"], "sigmoid")
    assert changed.by_name()["stem"] is graph.by_name()["stem"]


def test_impossible_graphs_cannot_be_built() -> None:
    stem = conv("stem", "image")
    for nodes, output, message in (
        ((conv("stem", "nowhere"),), "stem", r"node 'stem': unknown inputs \['nowhere'\]"),
        ((stem, stem), "stem", "node 'stem': name used twice"),
        ((conv("image", "image"),), "image", "node 'image': name used twice"),
        ((stem,), "logits", "output 'logits' is made by no node"),
    ):
        with pytest.raises(ValueError, match=message):
            Graph("image", (1, 8, 8, 3), nodes, (output,))


def test_the_frame_holds_its_constants_around_zeros() -> None:
    node = small_graph().nodes[0]
    assert isinstance(node, Border)
    frame = frame_nhwc(node, (1, 4, 4, 3))
    assert frame.shape == (1, 4, 4, 3)
    assert (frame[0, 0] == [1, 2, 3]).all()
    assert (frame[0, :, 0] == [1, 2, 3]).all()
    assert not frame[0, 1:, 1:].any()


@pytest.mark.parametrize(
    ("size", "kernel", "same", "symmetric"),
    [(224, 3, (0, 1), (1, 0)), (224, 5, (1, 2), (2, 1)), (75, 3, (1, 1), (1, 1)), (75, 5, (2, 2), (2, 2))],
)
def test_same_and_symmetric_at_stride_two(
    size: int, kernel: int, same: tuple[int, int], symmetric: tuple[int, int]
) -> None:
    """On odd inputs both agree; on even ones SAME puts the odd pixel after. PyTorch's last pad is never read there."""
    assert same_padding(size, kernel, 2) == same
    assert symmetric_padding(size, kernel, 2) == symmetric


@given(size=st.integers(1, 400), kernel=st.sampled_from([1, 3, 5]), stride=st.sampled_from([1, 2]))
def test_padding_gives_the_sizes_of_both_worlds(size: int, kernel: int, stride: int) -> None:
    assert conv_size(size, kernel, stride, *same_padding(size, kernel, stride)) == -(-size // stride)
    before, after = symmetric_padding(size, kernel, stride)
    assert 0 <= after <= before == kernel // 2
    assert conv_size(size, kernel, stride, before, after) == conv_size(size, kernel, stride, before, before)
