"""The stages together: hard cases through the whole export, and a rescaled checkpoint that must not matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.golden import State
from support.networks import (
    BATCH_NORM,
    CLASSES,
    NARROW,
    SIZE,
    Array,
    export_narrow,
    float_graph,
    narrow_preprocessing,
    narrow_state,
    photos,
    pixel_inputs,
    sqnr_db,
)
from support.running import run_file

from edge_effnet.errors import UsageError
from edge_effnet.exporters.families.scaling import strided
from edge_effnet.exporters.families.table import FAMILIES
from edge_effnet.network.execute import execute
from edge_effnet.network.graph import weighted
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.quantization.measure.calibration import draw_calibration_set
from edge_effnet.quantization.measure.simulate import simulate
from edge_effnet.quantization.pipeline import quantize, quantize_weights_only
from edge_effnet.quantization.recipe import PLAIN, Recipe

VARIANTS = ("b0", "lite0")


def preprocessing_of(variant: str) -> Preprocessing:
    return narrow_preprocessing(variant)


def calibration_of(variant: str, given: list[Array]) -> Any:
    return draw_calibration_set(given, preprocessing_of(variant), limit=256, seed=0)


def fresh_pixels(variant: str, count: int = 12) -> list[Array]:
    return list(calibration_of(variant, photos(count, first=500)))


def logits_of_file(path: Path, pixels: list[Array]) -> Array:
    return np.stack([run_file(path, image.transpose(2, 0, 1)[None]) for image in pixels])


def float_logits(state: State, variant: str, pixels: list[Array]) -> Array:
    graph = float_graph(state, variant)
    return np.concatenate([execute(graph, preprocessing_of(variant).normalise(image)[None]) for image in pixels])


def prefixes(variant: str) -> dict[str, tuple[str, str | None]]:
    """Canonical name of a layer → its convolution's and its batch norm's key prefix."""
    return {layer.name: (layer.conv, layer.norm) for layer in NARROW[variant].layers}


def rescaled(state: State, variant: str, *, seed: int) -> State:
    """The same function: bottleneck channels times powers of two in 1/32..32, along residual chains, undone where they
    are read.
    """
    random = np.random.default_rng(seed)
    changed = {name: values.copy() for name, values in state.items()}
    names, blocks = prefixes(variant), strided(NARROW[variant], FAMILIES["lite" if variant.startswith("lite") else "b"])
    factors = np.ones(NARROW[variant].stem)
    for index, block in enumerate(blocks):
        if block.kind == "mbconv":
            changed[f"{names[f'blocks.{index}.expand'][0]}.weight"] /= factors[:, None, None].astype(np.float32)
        if not block.skip:
            factors = 2.0 ** random.integers(-5, 6, block.out_channels)
        norm = names[f"blocks.{index}.project"][1]
        for item in ("weight", "bias"):
            changed[f"{norm}.{item}"] *= factors.astype(np.float32)
    changed[f"{names['head'][0]}.weight"] /= factors[:, None, None].astype(np.float32)
    return changed


def quantized_sqnr(state: State, variant: str, recipe: Recipe, pixels: list[Array], exact: Array) -> float:
    quantized, _ = quantize(float_graph(state, variant), calibration_of(variant, photos(6)), recipe=recipe)
    return sqnr_db(
        exact,
        np.concatenate([simulate(quantized, image) for image in pixel_inputs(pixels, quantized.activations["image"])]),
    )


@pytest.mark.litert
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_rescaled_checkpoint_is_quantized_as_well(tmp_path: Path, variant: str) -> None:
    state = narrow_state(variant)
    other = rescaled(state, variant, seed=7)
    pixels = fresh_pixels(variant)
    exact, exact_other = (float_logits(found, variant, pixels) for found in (state, other))
    assert np.abs(exact - exact_other).max() < 1e-4 * np.abs(exact).max()
    sqnrs = []
    for name, found in (("original", state), ("rescaled", other)):
        export_narrow(found, variant, tmp_path / f"{name}.tflite", precision="int8", calibration=photos(6))
        sqnrs.append(sqnr_db(exact, logits_of_file(tmp_path / f"{name}.tflite", pixels)))
    assert sqnrs[0] > 0.5  # random weights carry rounding on farther than trained ones
    assert abs(sqnrs[1] - sqnrs[0]) < 3  # from six photos, which range is best tips over at the last digit
    plain = [quantized_sqnr(found, variant, PLAIN, pixels, exact) for found in (state, other)]
    assert plain[0] - plain[1] > 1.5  # without equalisation the check above would fail


def test_the_default_recipe_beats_the_plain_one() -> None:
    """Lite0; what each stage adds drowns in how random weights carry rounding on, and is measured in
    docs/accuracy.md.
    """
    state, variant = narrow_state("lite0"), "lite0"
    pixels = fresh_pixels(variant)
    exact = float_logits(state, variant, pixels)
    plain, default = (quantized_sqnr(state, variant, recipe, pixels, exact) for recipe in (PLAIN, Recipe()))
    assert default > plain + 1


def dead(state: State, variant: str) -> State:
    """All-zero weights and shifts in a third of every layer's channels."""
    for conv, norm in prefixes(variant).values():
        state[f"{conv}.weight"][::3] = 0
        for item in ("bias", "running_mean") if norm else ():
            state[f"{norm}.{item}"][::3] = 0
        if not norm:
            state[f"{conv}.bias"][::3] = 0
    return state


def constant(state: State, variant: str) -> State:
    """Two layers whose weights are all zero: the depthwise one gives its shift, the projection nothing but zeros."""
    names = prefixes(variant)
    for layer in ("blocks.2.depthwise", "blocks.4.project"):
        state[f"{names[layer][0]}.weight"][:] = 0
    for item in ("bias", "running_mean"):
        state[f"{names['blocks.4.project'][1]}.{item}"][:] = 0
    return state


def tiny_gammas(state: State, variant: str) -> State:
    """Batch norms decayed to nothing, as training leaves them: subnormal, and 1e-20."""
    for _, norm in prefixes(variant).values():
        if norm:
            state[f"{norm}.weight"][::4] = 1e-41
            state[f"{norm}.weight"][1::4] = 1e-20
    return state


def unchanged(state: State, variant: str) -> State:  # noqa: ARG001
    return state


GREY = np.full((80, 96, 3), 124, np.uint8)
BLACK = np.zeros((80, 96, 3), np.uint8)
NOISY = photos(4)


@pytest.mark.litert
@pytest.mark.parametrize(
    ("variant", "change", "calibration"),
    [
        ("b0", dead, NOISY),
        ("b0", constant, NOISY),
        ("lite0", constant, NOISY),
        ("lite0", tiny_gammas, NOISY),
        ("b0", unchanged, NOISY[:1]),
        ("b0", unchanged, [BLACK] * 2),
        ("lite0", unchanged, [GREY]),
    ],
    ids=[
        "dead channels",
        "constant activations",
        "constant relu6",
        "tiny gammas",
        "one photo",
        "black photos",
        "grey photo",
    ],
)
def test_hard_cases_run_in_litert(tmp_path: Path, variant: str, change: Any, calibration: list[Array]) -> None:
    """Finite logits for any photo; near the float ones for those that were calibrated on."""
    state = change(narrow_state(variant), variant)
    path = tmp_path / "hard.tflite"
    report = export_narrow(state, variant, path, precision="int8", calibration=calibration)
    assert report.document.quantization is not None
    assert report.document.quantization["calibration_images"] == len(calibration)
    others = [*fresh_pixels(variant, 3), np.zeros((SIZE, SIZE, 3), np.uint8), np.full((SIZE, SIZE, 3), 255, np.uint8)]
    found = logits_of_file(path, others)
    assert found.shape == (5, CLASSES)
    assert np.isfinite(found).all()
    seen = list(calibration_of(variant, calibration))
    exact = float_logits(state, variant, seen)
    error = float(np.square(logits_of_file(path, seen) - exact).mean() / np.square(exact).mean())
    assert error < 0.5


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_photo_does_not_spoil_the_network_for_others(variant: str) -> None:
    """Inputs that hardly vary must not free the weights to wander: the error on other photos was 11 times the
    signal.
    """
    state = narrow_state(variant)
    pixels = fresh_pixels(variant)
    exact = float_logits(state, variant, pixels)
    quantized, _ = quantize(float_graph(state, variant), calibration_of(variant, photos(1)))
    found = np.concatenate(
        [simulate(quantized, image) for image in pixel_inputs(pixels, quantized.activations["image"])]
    )
    assert np.square(found - exact).mean() < 1.5 * np.square(exact).mean()


def test_twice_the_same_and_other_photos_otherwise() -> None:
    graph = float_graph(narrow_state("b0"), "b0", size=32)
    found = []
    for given in (photos(3), photos(3), photos(3, first=20)):
        calibration = draw_calibration_set(given, Preprocessing(32, 32), limit=3, seed=0)
        found.append(quantize(graph, calibration, seed=3)[0])
    first, again, other = found
    assert first.activations == again.activations
    assert first.summary == again.summary
    for name, weight in first.weights.items():
        np.testing.assert_array_equal(weight.values, again.weights[name].values)
        np.testing.assert_array_equal(weight.scales, again.weights[name].scales)
    for one, two in zip(weighted(first.graph.nodes), weighted(again.graph.nodes), strict=True):
        np.testing.assert_array_equal(one.bias, two.bias)
    assert first.activations != other.activations


def test_progress_names_every_stage_and_counts_to_its_end() -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    graph = float_graph(narrow_state("lite0"), "lite0", size=32)
    calibration = draw_calibration_set(photos(3), Preprocessing(32, 32), limit=3, seed=0)
    quantize(
        graph,
        calibration,
        recipe=replace(PLAIN, bias_correction="weights-and-activations", statistics_images=2),
        progress=lambda *found: seen.setdefault(found[0], []).append(found[1:]),
    )
    assert list(seen) == ["measuring", "bias correction"]
    assert seen["measuring"] == [(1, 3), (2, 3), (3, 3)]
    seen.clear()
    quantize(graph, calibration, progress=lambda *found: seen.setdefault(found[0], []).append(found[1:]))
    assert list(seen) == ["preview", "measuring", "coherent ranges", "bias correction", "output"]


def test_weights_alone_need_no_photos() -> None:
    graph = float_graph(narrow_state("lite0"), "lite0")
    quantized = quantize_weights_only(graph)
    assert quantized.activations == {}
    assert set(quantized.weights) == {node.name for node in weighted(graph.nodes)}
    for node in weighted(graph.nodes):
        found = quantized.weights[node.name].dequantized()
        assert np.abs(found - node.weight).max() <= quantized.weights[node.name].scales.max() * 0.501


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranges": "entropy"}, "recipe: 'entropy' is unknown; expected one of mean-min-max, percentile, mse"),
        ({"rounding": "up"}, "recipe: 'up' is unknown; expected one of nearest, output"),
        (
            {"bias_correction": "all"},
            "recipe: 'all' is unknown; expected one of none, weights, weights-and-activations",
        ),
        ({"lanes": 1.5}, "recipe: lanes 1.5; expected a share of 0 to 1, or None"),
    ],
)
def test_recipes_that_cannot_be_meant(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recipe(**options)


def test_the_fixture_is_a_checkpoint_of_the_dialect() -> None:
    """The helper's keys are what training saves: every layer with its four batch-norm tensors."""
    state = narrow_state("b0")
    assert {f"bn1.{item}" for item in BATCH_NORM} <= set(state)
    assert len(float_graph(state, "b0").nodes) > 60
