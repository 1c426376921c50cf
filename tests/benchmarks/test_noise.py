"""Where an int8 network's error comes from: the figures, and one tensor alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from support.networks import float_graph, inputs_of, narrow_state

from edge_effnet.benchmarks.noise import alone, errors_of, main, read_studies
from edge_effnet.benchmarks.noise_render import error_sources
from edge_effnet.network.execute import execute
from edge_effnet.numerics import params_for_range


def test_a_constant_error_is_all_mean() -> None:
    exact = np.random.default_rng(0).standard_normal((50, 10))
    found = errors_of(exact, exact + 0.1)
    assert abs(found.db - 20) < 0.5
    assert found.without_mean_db > 200
    assert found.agreement == 1.0


def test_one_bad_photo_is_most_of_the_error_and_not_the_median() -> None:
    exact = np.random.default_rng(0).standard_normal((50, 10))
    moved = exact + 0.01 * np.random.default_rng(1).standard_normal((50, 10))
    moved[7] += 5
    found = errors_of(exact, moved)
    assert found.worst > 0.9
    assert found.median_db > found.db + 10


def test_rounds_one_tensor_and_nothing_else() -> None:
    graph = float_graph(narrow_state("lite0"), "lite0", size=32)
    images = list(inputs_of(graph, 2))
    exact = np.concatenate([execute(graph, image) for image in images])
    name = graph.nodes[0].name
    fine, coarse = (alone(graph, images, {name: params_for_range(0.0, high)}, name) for high in (6.0, 600.0))
    assert 0 < np.abs(fine - exact).max() < np.abs(coarse - exact).max()


@pytest.mark.litert
@pytest.mark.parametrize("rescaled", [[], ["--rescaled"]])
def test_a_study_is_kept_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], rescaled: list[str]) -> None:
    save_file(narrow_state("lite0"), tmp_path / "narrow.safetensors")
    generator = np.random.default_rng(0)
    for number in range(3):
        pixels = generator.integers(0, 256, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    kept = tmp_path / "noise.json"
    kept.write_text('{"another": 1}', encoding="utf-8")
    model = ["--model", f"{tmp_path / 'narrow.safetensors'}:timm", "--calibration", str(tmp_path)]
    few = ["--photos", str(tmp_path), "--images", "3", "--new", "2", "--tensors", "2", "--resize-mode", "squash"]
    assert main([*model, *few, *rescaled, "--name", "narrow", "--results", str(kept)]) == 0
    study = read_studies(kept)["narrow"]
    assert list(read_studies(kept)) == ["another", "narrow"]
    assert json.loads(capsys.readouterr().out) == study
    assert study["photos"] == {"drawn": 3, "calibrated": 2, "new": 2}
    assert study["litert"]["db"] > 10
    page = "\n".join(error_sources({"narrow": study}))
    assert f"| narrow | {study['expected_db']:.1f} |" in page
    assert f"`{study['tensors'][0]['tensor']}`" in page


def test_no_study_no_chapter() -> None:
    assert list(error_sources({})) == []
    assert read_studies(Path("/nonexistent/noise.json")) == {}
