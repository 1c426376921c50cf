"""Every operator: shapes that fit or an error, gradients against central differences, and both formats against numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.networks import graph_of
from support.operators import CASES, conv, depthwise
from support.running import run_file

from edge_effnet.errors import GraphError, OperatorError
from edge_effnet.exporters.outputs.emit import emit
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.activations import RESPONSES
from edge_effnet.network.execute import execute
from edge_effnet.network.geometry import NO_PADDING
from edge_effnet.network.graph import (
    Add,
    Border,
    Conv2D,
    GlobalMean,
    Graph,
    Mul,
    Node,
    Softmax,
)
from edge_effnet.network.operators import OPERATORS, input_gradients, multiplications, output_shape, run_node
from edge_effnet.network.rewrite import scale_inputs, scale_outputs, take_inputs, take_outputs
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.quantization.measure.calibration import draw_calibration_set
from edge_effnet.quantization.pipeline import quantize
from edge_effnet.quantization.records import QuantizedGraph

RANDOM = np.random.default_rng(5)


def test_every_operator_and_activation_has_a_case() -> None:
    assert {type(node) for node, _ in CASES.values()} == set(OPERATORS)
    assert set(RESPONSES) <= set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_the_shape_is_what_is_computed(name: str) -> None:
    node, shapes = CASES[name]
    inputs = [RANDOM.standard_normal(shape) for shape in shapes]
    assert run_node(node, inputs).shape == output_shape(node, shapes)
    assert multiplications(node, output_shape(node, shapes)) >= 0


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_that_of_central_differences(name: str) -> None:
    """Along 12 random directions, in float64; kinks lie at single points that random numbers don't hit."""
    node, shapes = CASES[name]
    random = np.random.default_rng(1)
    inputs = [random.standard_normal(shape) for shape in shapes]
    output = run_node(node, inputs)
    upstream = random.standard_normal(output.shape)
    found = input_gradients(node, inputs, output, upstream)
    for _ in range(12):
        steps = [random.standard_normal(shape) * 1e-6 for shape in shapes]
        ahead, behind = (run_node(node, [x + sign * d for x, d in zip(inputs, steps, strict=True)]) for sign in (1, -1))
        measured = float((upstream * (ahead - behind)).sum()) / 2
        expected = float(sum((gradient * d).sum() for gradient, d in zip(found, steps, strict=True)))
        scale = max(np.sqrt(sum(np.square(g).sum() for g in found)) * 1e-6, 1e-12)
        assert abs(measured - expected) <= 1e-3 * max(abs(expected), scale)


@pytest.mark.parametrize(
    ("node", "shapes", "message"),
    [
        (
            conv((3, 3), 6, 4),
            [(1, 8, 8, 5)],
            r"node 'node' \(convolution\) reads \[1, 8, 8, 5\]; expected \[N, H, W, 6\]",
        ),
        (conv((3, 3), 6, 4), [(1, 2, 8, 6)], "expected an image that a window of 3×3 fits into"),
        (conv((1, 1), 6, 3, groups=2), [(1, 8, 8, 6)], "outputs in 2 equal groups"),
        (depthwise((3, 3), 6), [(1, 8, 8, 5)], r"expected \[N, H, W, 6\]"),
        (Add("node", ("a", "b")), [(1, 2, 2, 3), (1, 2, 2, 4)], r"\(sum\) reads .* and .*; expected two of one shape"),
        (Mul("node", ("a", "b")), [(1, 2, 2, 3), (1, 2, 1, 3)], "and its gate"),
        (GlobalMean("node", ("a",), True), [(1, 4)], r"expected \[N, H, W, C\]"),
        (Border("node", ("a",), NO_PADDING, (1.0,)), [(1, 2, 2, 3)], r"expected \[N, H, W, 1\]"),
        (CASES["dense"][0], [(1, 2, 2, 6)], r"expected \[N, 6\]"),
        (Softmax("node", ("a",)), [(1, 2, 2, 6)], r"expected \[N, C\]"),
    ],
)
def test_shapes_that_do_not_fit(node: Node, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        output_shape(node, shapes)


def graph_with(name: str) -> Graph:
    """An image of 6 channels by a first convolution, the operator, then pooling to 6 numbers or fewer."""
    node, shapes = CASES[name]
    vector = len(shapes[0]) == 2
    _, height, width, _ = (2, 4, 4, 6) if vector else shapes[0]
    first = Conv2D(
        "first", ("pixels",), RANDOM.standard_normal((6, 1, 1, 3)).astype(np.float32), np.zeros(6, np.float32)
    )
    names = {"image": "first", "mean": "mean", "flat": "flat"}
    before: list[Node] = [first]
    before += [GlobalMean("mean", ("first",), True)] if name == "gate" else []
    before += [GlobalMean("flat", ("first",), False)] if vector else []
    inside = type(node)(**{**vars(node), "inputs": tuple(names[source] for source in node.inputs)})
    shape = output_shape(node, shapes)
    last: list[Node] = [inside]
    if len(shape) == 4:
        last.append(GlobalMean("logits", ("node",), False))
    nodes = (*before, *last)
    return Graph("pixels", (1, height, width, 3), nodes, (nodes[-1].name,))


DOCUMENT = ModelDocument(
    variant="b0",
    image_size=8,
    num_classes=6,
    labels=None,
    preprocessing=Preprocessing(8, 8),
    precision="fp32",
    source={},
)


@pytest.mark.litert
@pytest.mark.onnx
@pytest.mark.parametrize("ending", [".tflite", ".onnx"])
@pytest.mark.parametrize("name", CASES)
def test_both_formats_compute_the_same(tmp_path: Path, name: str, ending: str) -> None:
    graph = graph_with(name)
    image = RANDOM.standard_normal((1, *graph.input_shape[1:])).astype(np.float32)
    path = tmp_path / f"model{ending}"
    path.write_bytes(emit(QuantizedGraph(graph), DOCUMENT, ending))
    found = run_file(path, image.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(found.reshape(-1), execute(graph, image).reshape(-1), rtol=1e-4, atol=1e-5)


class Foreign:
    name, inputs = "strange", ("image",)


@pytest.mark.parametrize("ending", [".tflite", ".onnx"])
def test_what_is_no_operator_is_named_with_its_consumer(ending: str) -> None:
    foreign: Any = Foreign()
    image = (1, 4, 4, 3)
    message = "node 'strange': the table of operators doesn't handle Foreign"
    with pytest.raises(OperatorError, match=message):
        output_shape(foreign, [image])
    with pytest.raises(OperatorError, match=message):
        emit(QuantizedGraph(Graph("image", image, (foreign,), ("strange",))), DOCUMENT, ending)


def attempt(rewrite: Any, node: Node, values: Any, consumer: str) -> Any:
    """The rewritten node; None where the one error names the consumer."""
    try:
        return rewrite(node, values)
    except OperatorError as error:
        if f"{consumer} doesn't handle {type(node).__name__}" not in str(error):
            raise
        return None


@pytest.mark.parametrize("name", CASES)
def test_rescaling_handles_an_operator_or_names_it(name: str) -> None:
    node, shapes = CASES[name]
    inputs = [RANDOM.standard_normal(shape).astype(np.float32) for shape in shapes]
    factors = RANDOM.uniform(0.5, 2, output_shape(node, shapes)[-1])
    if scaled := attempt(scale_outputs, node, factors, "rescaling a result"):
        np.testing.assert_allclose(run_node(scaled, inputs), run_node(node, inputs) * factors, rtol=1e-4, atol=1e-4)
    before = RANDOM.uniform(0.5, 2, shapes[0][-1])
    if adapted := attempt(scale_inputs, node, before, "rescaling an input"):
        divided = [(inputs[0] / before).astype(np.float32)]
        np.testing.assert_allclose(run_node(adapted, divided), run_node(node, inputs), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_taking_channels_handles_an_operator_or_names_it(name: str) -> None:
    node, shapes = CASES[name]
    inputs = [RANDOM.standard_normal(shape).astype(np.float32) for shape in shapes]
    whole, kept = run_node(node, inputs), np.array([2, 0])
    if some := attempt(take_outputs, node, kept, "taking some channels of a result"):
        read = inputs if OPERATORS[type(node)].channels == "mixed" else [values[..., kept] for values in inputs]
        np.testing.assert_allclose(run_node(some, read), whole[..., kept], rtol=1e-4, atol=1e-5)
    if part := attempt(take_inputs, node, kept, "taking some channels of an input"):
        masked = np.zeros_like(inputs[0])
        masked[..., kept] = inputs[0][..., kept]
        taken = [inputs[0][..., kept]]
        np.testing.assert_allclose(run_node(part, taken), run_node(node, [masked]), rtol=1e-4, atol=1e-5)


@pytest.mark.litert
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("flatten", "dense", "dense, relu", "softmax")])
def test_int8_of_every_operator_in_the_middle_of_a_graph(tmp_path: Path, name: str) -> None:
    """What the file gives in LiteRT is near the float graph: the operator's ranges and gradients were found."""
    graph = graph_with(name)
    side = graph.input_shape[1]
    square = Graph("pixels", (1, side, side, 3), graph.nodes, graph.outputs)
    photos = [RANDOM.integers(0, 256, (side, side, 3), np.uint8) for _ in range(12)]
    preprocessing = Preprocessing(side, side)
    drawn = draw_calibration_set(photos, preprocessing, limit=12, seed=0)
    quantized, _ = quantize(square, drawn)
    path = tmp_path / "int8.tflite"
    path.write_bytes(emit(quantized, DOCUMENT, ".tflite"))
    exact = np.stack([execute(square, preprocessing.normalise(pixels)[None])[0] for pixels in photos])
    found = np.stack([run_file(path, pixels.transpose(2, 0, 1)[None]).reshape(-1) for pixels in photos])
    assert np.square(found - exact).sum() < 0.02 * np.square(exact).sum()


def test_the_helper_graphs_are_what_they_seem() -> None:
    assert graph_of([conv((1, 1), 6, 4)], channels=6).outputs == ("node",)
