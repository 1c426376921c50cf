"""Refinement as a whole, on a small network: nearer to float than before, the same every time, never worse."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.networks import graph_of, photos, pixel_inputs, pointwise

from edge_effnet.errors import MissingDependencyError, UsageError
from edge_effnet.network.execute import execute
from edge_effnet.network.geometry import Padding
from edge_effnet.network.graph import Activation, Add, Conv2D, Dense, DepthwiseConv2D, GlobalMean, Graph, Mul, Node
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.quantization.measure.calibration import CalibrationSet, draw_calibration_set
from edge_effnet.quantization.measure.simulate import simulate
from edge_effnet.quantization.pipeline import QuantizationTrace, quantize
from edge_effnet.quantization.recipe import PLAIN
from edge_effnet.quantization.records import QuantizedGraph
from edge_effnet.quantization.refine import refine

pytestmark = pytest.mark.torch
Start = tuple[QuantizedGraph, QuantizationTrace, CalibrationSet]
SAME = Padding(1, 1, 1, 1)


def small_network() -> Graph:
    """A stem, a gated block with a sum around it, a block that clips, and a head, on 32 × 32 pixels."""
    random = np.random.default_rng(0)

    def spatial(name: str, source: str, channels: int, **options: Any) -> DepthwiseConv2D:
        weight = random.standard_normal((3, 3, channels)).astype(np.float32) * 0.5
        return DepthwiseConv2D(name, (source,), weight, np.zeros(channels, np.float32), 1, SAME, **options)

    stem = random.standard_normal((8, 3, 3, 3)).astype(np.float32) * 0.3
    nodes: list[Node] = [
        Conv2D("stem", ("image",), stem, np.zeros(8, np.float32), 2, Padding(0, 1, 0, 1)),
        pointwise("wide", "stem", random, 8, 24),
        Activation("wide.swish", ("wide",), "swish"),
        spatial("deep", "wide.swish", 24),
        Activation("deep.swish", ("deep",), "swish"),
        GlobalMean("mean", ("deep.swish",), keep_dims=True),
        pointwise("reduce", "mean", random, 24, 4),
        Activation("reduce.swish", ("reduce",), "swish"),
        pointwise("excite", "reduce.swish", random, 4, 24),
        Activation("gate", ("excite",), "sigmoid"),
        Mul("gated", ("deep.swish", "gate")),
        pointwise("narrow", "gated", random, 24, 8),
        Add("sum", ("narrow", "stem")),
        pointwise("clip", "sum", random, 8, 24, activation="relu6"),
        spatial("deep2", "clip", 24, activation="relu6"),
        pointwise("narrow2", "deep2", random, 24, 12),
        pointwise("head", "narrow2", random, 12, 32),
        Activation("head.act", ("head",), "hard_swish"),
        GlobalMean("pooled", ("head.act",), keep_dims=False),
        Dense("logits", ("pooled",), random.standard_normal((5, 32)).astype(np.float32), np.zeros(5, np.float32)),
    ]
    return graph_of(nodes, channels=3, height=32, width=32)


@pytest.fixture(scope="module")
def start() -> Start:
    drawn = draw_calibration_set(photos(40), Preprocessing(32, 32), limit=40, seed=0)
    quantized, trace = quantize(small_network(), drawn, recipe=PLAIN)
    return quantized, trace, drawn


def error(quantized: QuantizedGraph, start: Start, pixels: Any) -> float:
    inputs = pixel_inputs(pixels, quantized.activations["image"])
    return sum(float(np.square(simulate(quantized, image) - execute(start[1].graph, image)).sum()) for image in inputs)


def test_it_comes_nearer_to_float_on_photos_it_never_saw(start: Start) -> None:
    quantized, trace, drawn = start
    refined, record = refine(quantized, trace.graph, photos=drawn, steps=24)
    fresh = list(draw_calibration_set(photos(12, first=500), drawn.preprocessing, limit=12, seed=0))
    assert record.after_db > record.before_db + 0.3
    assert error(refined, start, fresh) < error(quantized, start, fresh)
    assert (record.planned, record.steps, record.photos, record.held_out) == (24, 24, 35, 5)
    assert record.sentence().startswith("refined: logits ")


def test_the_same_arguments_give_the_same_network_and_another_seed_another(start: Start) -> None:
    quantized, trace, drawn = start
    found = [refine(quantized, trace.graph, photos=drawn, steps=3, seed=seed)[0] for seed in (0, 0, 1)]
    first, second, other = (
        [weight.values for weight in one.weights.values()] + list(one.activations.values()) for one in found
    )
    assert all(
        np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in zip(first, second, strict=True)
    )
    assert any(
        not (np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b) for a, b in zip(first, other, strict=True)
    )


def test_before_any_step_it_is_the_network_it_began_with(start: Start) -> None:
    from edge_effnet.quantization.refine.parameters import learnable

    quantized, trace, _ = start
    found = learnable(quantized, trace.graph).back()
    for name, params in quantized.activations.items():
        assert found.activations[name].zero_point == params.zero_point
        assert found.activations[name].scale == pytest.approx(params.scale, rel=1e-6)
    for name, weight in quantized.weights.items():
        np.testing.assert_array_equal(found.weights[name].values, weight.values)
        np.testing.assert_allclose(found.weights[name].scales, weight.scales, rtol=1e-6)
    for node, before in zip(found.graph.nodes, quantized.graph.nodes, strict=True):
        np.testing.assert_allclose(getattr(node, "bias", 0), getattr(before, "bias", 0), rtol=1e-5, atol=1e-7)


def test_torch_simulates_what_numpy_does(start: Start) -> None:
    import torch

    from edge_effnet.quantization.refine.executor import Int8Network
    from edge_effnet.quantization.refine.parameters import learnable

    quantized, trace, drawn = start
    image = pixel_inputs(list(drawn)[:1], quantized.activations["image"])[0]
    with torch.no_grad():
        found = Int8Network(learnable(quantized, trace.graph))(torch.from_numpy(image).permute(0, 3, 1, 2))
    exact, expected = execute(trace.graph, image), simulate(quantized, image)
    # Ties fall either way and random weights carry them on: far below what int8 itself costs.
    assert (
        np.square(found[quantized.graph.output_name].numpy() - expected).sum() < 0.3 * np.square(exact - expected).sum()
    )


def test_what_only_gets_worse_is_left_as_it_was(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_effnet.quantization.refine import train

    quantized, trace, drawn = start
    monkeypatch.setattr(train, "_RATES", {"steps": 50.0, "bias": 50.0, "gain": 50.0, "range": 50.0})
    refined, record = refine(quantized, trace.graph, photos=drawn, steps=2)
    assert refined is quantized
    assert (record.step, record.after_db) == (0, record.before_db)
    assert "nothing gained on 5 photos held out" in record.sentence()


def test_numbers_that_are_none_end_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_effnet.quantization.refine import train

    quantized, trace, drawn = start
    monkeypatch.setattr(train, "_RATES", {"steps": float("nan"), "bias": 1.0, "gain": 1.0, "range": 1.0})
    refined, record = refine(quantized, trace.graph, photos=drawn, steps=30)
    assert refined is quantized
    assert record.ended == "diverged"
    assert "ended diverged after 1 of 30 steps" in record.sentence()


def test_ctrl_c_ends_it_with_what_was_reached(start: Start) -> None:
    quantized, trace, drawn = start

    def interrupt(_stage: str, done: int, _total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    refined, record = refine(quantized, trace.graph, photos=drawn, steps=200, progress=interrupt)
    assert (record.steps, record.ended) == (6, "by Ctrl-C")
    assert record.sentence().endswith("; ended by Ctrl-C after 6 of 200 steps")
    assert (refined is not quantized) == (record.after_db > record.before_db)


def test_progress_tells_steps_and_what_was_gained(start: Start) -> None:
    quantized, trace, drawn = start
    told: list[tuple[str, int, int]] = []
    refine(quantized, trace.graph, photos=drawn, steps=4, progress=lambda *said: told.append(said))
    assert [(done, total) for _, done, total in told] == [(done, 4) for done in (1, 2, 3, 4)]
    assert all(stage.startswith("refinement, ") and " dB" in stage for stage, _, _ in told)


def test_a_few_photos_are_learned_from_and_judged_by(start: Start) -> None:
    quantized, trace, drawn = start
    _, record = refine(quantized, trace.graph, photos=drawn.subset(slice(0, 3)), steps=1)
    assert (record.photos, record.held_out) == (3, 0)
    assert "on the photos learned from" in record.sentence()


def test_tensors_left_in_float_stay_there(start: Start) -> None:
    quantized, trace, drawn = start
    left = list(quantized.activations)[-4:]
    mixed = replace(quantized, activations={k: v for k, v in quantized.activations.items() if k not in left})
    refined, _ = refine(mixed, trace.graph, photos=drawn, steps=1)
    assert set(refined.activations) == set(mixed.activations)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"minutes": 0.0}, "0 minutes"), ({"minutes": 1e9}, "1e\\+09 minutes"), ({"steps": 0}, "0 steps")],
)
def test_no_time_is_refused(start: Start, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"refinement of {said}"):
        refine(start[0], start[1].graph, photos=start[2], **options)


@pytest.fixture
def _no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("edge_effnet.quantization.refine.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.mark.usefixtures("_no_torch")
def test_without_torch_it_says_what_to_install(start: Start) -> None:
    with pytest.raises(MissingDependencyError, match=r"edge-effnet\[refine\]"):
        refine(start[0], start[1].graph, photos=start[2], steps=1)
