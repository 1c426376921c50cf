"""How errors add up over a photo: the bins' gradients against errors put into a float run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.networks import graph_of, inputs_of, pointwise

from edge_effnet.network.execute import execute
from edge_effnet.network.graph import Activation, Dense, GlobalMean, Graph
from edge_effnet.numerics import QuantParams, params_for_range
from edge_effnet.quantization.measure.noise import tensor_noise
from edge_effnet.quantization.measure.passes import Wanted, measure, measure_shifts
from edge_effnet.quantization.measure.shifts import BINS, LogitShifts, sources
from edge_effnet.quantization.measure.simulate import fake_quantize
from edge_effnet.quantization.stages.coherent_ranges import Tensors, coherent_params
from edge_effnet.quantization.stages.ranges import activation_params

_IMAGE = QuantParams(1.0, -128)


def one_swish() -> Graph:
    random = np.random.default_rng(0)
    nodes = (
        pointwise("first", "image", random, 3, 12),
        Activation("first.swish", ("first",), "swish"),
        GlobalMean("pooled", ("first.swish",), keep_dims=False),
        Dense("logits", ("pooled",), random.standard_normal((10, 12)).astype(np.float32), np.zeros(10, np.float32)),
    )
    return graph_of(nodes, channels=3, height=9, width=8)


def flat_photos(graph: Graph, count: int) -> list[Any]:
    """Photos of one colour each: all positions of a channel have one value, and one error."""
    return [np.broadcast_to(image[:, :1, :1], image.shape).copy() for image in inputs_of(graph, count)]


def shifts_of(graph: Graph, images: list[Any], *, corrected: bool) -> dict[str, LogitShifts]:
    found = measure(graph, images, Wanted(statistics=10_000)).statistics
    return measure_shifts(graph, images, found, seed=0, corrected=corrected)


def test_values_before_an_activation_count_by_the_gradient_behind_it() -> None:
    graph = one_swish()
    statistics = measure(graph, list(inputs_of(graph, 3)), Wanted(statistics=3)).statistics
    assert sources(graph, statistics)["first.swish"] == "first"
    assert "first" not in sources(graph, statistics)


@pytest.mark.parametrize("flat", ["flat", "lively"])
def test_predicts_what_rounding_does_to_the_logits(flat: str) -> None:
    graph = one_swish()
    images = flat_photos(graph, 200) if flat == "flat" else list(inputs_of(graph, 200))
    found = shifts_of(graph, images, corrected=False)["first.swish"]
    swish = graph.by_name()["first.swish"]
    assert isinstance(swish, Activation)
    params = params_for_range(-2.0, 2.0)

    def value(x: Any) -> Any:
        return x / (1 + np.exp(-x))

    errors = (value(fake_quantize(found.centers, params)) - value(found.centers)).astype(np.float32)
    predicted = float(found.power(errors[:, None])[0])

    def rounded(name: str, tensor: Any) -> Any:
        return fake_quantize(tensor, params) if name == "first" else tensor

    measured = np.mean(
        [np.square(execute(graph, image, hook=rounded) - execute(graph, image)).sum() for image in images]
    )
    assert abs(10 * np.log10(predicted / measured)) < 1.5  # one random vector a photo


def test_correcting_takes_constant_errors_away() -> None:
    graph = one_swish()
    images = list(inputs_of(graph, 40))
    same = np.ones((BINS, 1), np.float32)
    plain, corrected = (shifts_of(graph, images, corrected=way)["first.swish"].power(same)[0] for way in (False, True))
    assert corrected < 1e-6 * plain


def test_does_not_depend_on_the_number_of_strands(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = one_swish()
    images = list(inputs_of(graph, 5))
    two = shifts_of(graph, images, corrected=True)["first.swish"].gradients
    monkeypatch.setattr("edge_effnet.quantization.measure.passes.STRANDS", 1)
    np.testing.assert_array_equal(shifts_of(graph, images, corrected=True)["first.swish"].gradients, two)


def measured_error(graph: Graph, images: list[Any], params: dict[str, QuantParams]) -> float:
    def rounded(name: str, tensor: Any) -> Any:
        return fake_quantize(tensor, params[name]) if name in params and name != graph.input_name else tensor

    return float(
        np.mean([np.square(execute(graph, image, hook=rounded) - execute(graph, image)).sum() for image in images])
    )


def test_ranges_by_both_errors_are_better_where_photos_are_flat() -> None:
    graph = one_swish()
    images = flat_photos(graph, 300)
    found = measure(graph, images[:150], Wanted(statistics=150, sensitivity=150))
    before = activation_params(graph, found.statistics, _IMAGE, sensitivity=found.sensitivity)
    shifts = measure_shifts(graph, images[:150], found.statistics, seed=0, corrected=False)
    after, noise = coherent_params(Tensors(graph, found.statistics, found.sensitivity, shifts), before)
    assert before.keys() == after.keys()
    error = measured_error(graph, images[150:], after)
    assert error < measured_error(graph, images[150:], before)
    by_statistics = tensor_noise(graph, found.statistics, found.sensitivity, after)
    assert sum(by_statistics.values()) < sum(noise.values()) < error, "nearer to what new photos show"


def test_a_tensor_without_int8_parameters_stays_without() -> None:
    graph = one_swish()
    images = list(inputs_of(graph, 20))
    found = measure(graph, images, Wanted(statistics=20, sensitivity=20))
    before = activation_params(graph, found.statistics, _IMAGE, sensitivity=found.sensitivity)
    del before["first"]
    shifts = measure_shifts(graph, images, found.statistics, seed=0, corrected=True)
    after, noise = coherent_params(Tensors(graph, found.statistics, found.sensitivity, shifts), before)
    assert noise.keys() == after.keys() - {graph.input_name}
    assert after.keys() == before.keys()
    assert replace(after["first.swish"]) == after["first.swish"]
