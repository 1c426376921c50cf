"""The accuracy benchmark: its halves, its ablation, its figures, its results file and its page."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.photos import synthetic_photo

pytest.importorskip("ai_edge_litert")  # writing .tflite files needs its schema
pytest.importorskip("torch")

from support.networks import CLASSES, SIZE, float_graph, narrow_preprocessing, narrow_state

from edge_effnet.benchmarks import accuracy
from edge_effnet.benchmarks.accuracy_measure import (
    Fold,
    Network,
    Reference,
    ablation,
    figures,
    make_reference,
    measure_max_drop,
    measure_refined,
    rescaled,
    split_halves,
    sqnr_db,
    swapped_halves,
)
from edge_effnet.benchmarks.accuracy_peers import PEERS
from edge_effnet.benchmarks.accuracy_render import render
from edge_effnet.benchmarks.accuracy_results import WAYS, add_figures, read_results
from edge_effnet.benchmarks.noise import read_studies
from edge_effnet.datasets import LabelledImage
from edge_effnet.errors import UsageError
from edge_effnet.metadata import ModelDocument
from edge_effnet.quantization.recipe import PLAIN, Recipe

FIGURES = {"top1": 88.5, "agreement": 98.75, "sqnr_db": 24.04, "quantize_seconds": 41.2, "size_bytes": 5_000_000}
FOLD = {
    "model": "Lite0",
    "fold": "first half → second half",
    "calibration_images": 200,
    "evaluation_images": 200,
    "seed": 0,
    "float_top1": 89.0,
}


@pytest.mark.parametrize("count", [2, 3, 400, 341])
def test_halves_share_nothing_and_leave_nothing_out(count: int) -> None:
    items = list(range(count))
    first, second = split_halves(items, seed=0)
    assert sorted((*first, *second)) == items
    assert 0 <= len(second) - len(first) <= 1
    assert list(first) == sorted(first)
    assert list(second) == sorted(second)


def test_halves_follow_the_seed() -> None:
    items = list(range(100))
    assert split_halves(items, seed=3) == split_halves(items, seed=3)
    assert split_halves(items, seed=3) != split_halves(items, seed=4)


def test_swapped_halves_never_measure_on_what_they_calibrate_on() -> None:
    photos = [LabelledImage(Path(f"{index}.jpg"), frozenset({index})) for index in range(11)]
    forth, back = swapped_halves(photos, seed=0)
    for fold in (forth, back):
        assert not set(fold.calibration) & {item.path for item in fold.evaluation}
    assert {item.path for item in forth.evaluation} == set(back.calibration)


def test_the_ablation_goes_from_plain_to_the_default() -> None:
    recipes = ablation()
    assert next(iter(recipes.values())) == PLAIN
    assert list(recipes.values())[-1] == recipes["default"] == Recipe()
    assert len(set(recipes.values())) == len(recipes)
    assert [*recipes, "refined", *PEERS] == list(WAYS)[: len(recipes) + 1 + len(PEERS)]


def test_figures_by_hand() -> None:
    expected = np.array([[1, 0], [0, 1], [2, 0], [0, 3]], np.float32)
    truth = tuple(frozenset({index}) for index in (0, 1, 1, 1))
    reference = Reference(np.zeros((4, 1, 1, 3), np.uint8), truth, expected)
    found = expected.copy()
    found[0] = [0, 0.5]
    result = figures(found, reference)
    assert (result.top1, result.agreement) == (50.0, 75.0)
    assert result.sqnr_db == pytest.approx(10 * np.log10(15 / 1.25), abs=0.005)
    assert sqnr_db(expected, expected) == float("inf")


def test_rescaling_changes_the_weights_and_not_the_function(lite0_state: Any) -> None:
    from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
    from edge_effnet.exporters.inputs.options import InputOptions
    from edge_effnet.exporters.inputs.state_dict import network_of
    from edge_effnet.network.execute import execute
    from edge_effnet.network.graph import weighted

    graph = network_of(load_checkpoint(lite0_state), InputOptions(source="timm-tf", image_size=(32, 32))).graph
    changed = rescaled(graph, seed=0)
    pairs = zip(weighted(graph.nodes), weighted(changed.nodes), strict=True)
    assert sum(not np.array_equal(before.weight, after.weight) for before, after in pairs) > 20
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    expected, found = (execute(each, image) for each in (graph, changed))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * float(np.abs(expected).max()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Lite0=lite0.pth", ("Lite0", "lite0.pth", None)),
        ("Lite0=lite0.pth:lukemelas", ("Lite0", "lite0.pth", "lukemelas")),
        ("B0=C:/b0.pth:timm", ("B0", "C:/b0.pth", "timm")),
    ],
)
def test_models_are_named(text: str, expected: tuple[str, str, str | None]) -> None:
    assert accuracy.parse_model(text) == expected


@pytest.mark.parametrize("text", ["lite0.pth", "=lite0.pth", "Lite0="])
def test_a_model_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected NAME=CHECKPOINT"):
        accuracy.parse_model(text)


def test_ways_keep_the_order_of_the_page() -> None:
    assert accuracy.parse_ways("openvino,plain") == ["plain", "openvino"]
    assert accuracy.parse_ways("all") == list(WAYS)
    with pytest.raises(UsageError, match="'fastest' is unknown"):
        accuracy.parse_ways("plain,fastest")


def results(**ways: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = read_results(Path("/nonexistent/accuracy.json"))
    facts = {
        "variant": "lite0",
        "image_size": 224,
        "sha256": "57" * 32,
        "weights_origin": "the package",
        "data_origin": "",
    }
    found["networks"] = {"Lite0": facts}
    for way, one in ways.items():
        found = add_figures(found, FOLD, way.replace("_", "-"), one)
    return found


def test_figures_measured_again_replace_the_old_ones() -> None:
    once = results(plain=FIGURES, default=FIGURES)
    again = add_figures(once, FOLD, "plain", {**FIGURES, "top1": 10.0})
    other = add_figures(again, {**FOLD, "fold": "second half → first half"}, "plain", FIGURES)
    assert once["runs"][0]["ways"]["plain"]["top1"] == 88.5
    assert again["runs"][0]["ways"]["plain"]["top1"] == 10.0
    assert again["runs"][0]["ways"]["default"] == FIGURES
    assert len(other["runs"]) == 2


def test_the_page_has_a_row_for_each_way() -> None:
    quick, refined = {**FIGURES, "expected_db": 25.31}, {**FIGURES, "sqnr_db": 26.0}
    page = render(results(default=quick, refined=refined, litert={**FIGURES, "versions": "litert-torch 0.10.0"}))
    assert "| float | 89.00 |" in page
    assert "| **edge-effnet's `--quick`**: all stages | 88.50 | -0.50 | 98.75 | 24.0 | 25.3 | 41 s |" in page
    assert "learned refinement, 5 minutes | 88.50 | -0.50 | 98.75 | 26.0 |  | 41 s |" in page
    assert "| 98.8 %, 24.0 dB | -0.50 | 98.8 %, 26.0 dB | -0.50 | 98.8 %, 24.0 dB |" in page
    assert "(litert-torch 0.10.0)" in page
    assert "Weights: the package." in page
    assert "Photos:" not in page
    assert "98.8 %, 24.0 dB" in page


def test_a_stage_is_an_addition_only_to_a_row_that_is_there() -> None:
    stages = dict.fromkeys((way.replace("-", "_") for way in ablation()), FIGURES)
    assert all(f"| {WAYS[way]} | 88.50 |" in render(results(**stages)) for way in ablation())
    del stages["equalisation"]
    page = render(results(**stages))
    assert f"| {WAYS['channel-weights']} |" in page
    assert "| all stages up to: two lanes where they pay | 88.50 |" in page


def test_the_page_sets_the_time_beside_what_max_drop_reached() -> None:
    page = render(results(default=FIGURES, max_drop={**FIGURES, "agreement": 99.5, "time_ratio": 1.234}))
    assert "| edge-effnet's `--max-drop 0.3` (1.23 × the default's time) | 88.50 | -0.50 | 99.50 |" in page


def test_max_drop_is_measured_on_photos_neither_calibrated_nor_held_out(tmp_path: Path) -> None:
    network, photos = narrow_network(), [tmp_path / f"{index}.png" for index in range(44)]
    for index, path in enumerate(photos):
        synthetic_photo(index, 80, 72).save(path)
    fold = Fold(
        "calibration folder → all",
        tuple(photos[:40]),
        tuple(LabelledImage(path, frozenset({0})) for path in photos[40:]),
    )
    reference = make_reference(network, fold)
    found = measure_max_drop(network, fold, reference, images=4, seed=0)
    assert "36 held out" in found["said"]
    assert found["time_ratio"] > 0
    assert 0 <= found["agreement"] <= 100
    too_few = measure_max_drop(network, fold, reference, images=20, seed=0)
    assert "needs at least 32 photos beside the 20" in too_few["not_measured"]


def test_refinement_is_measured_as_the_export_makes_it(tmp_path: Path) -> None:
    network, photos = narrow_network(), [tmp_path / f"{index}.png" for index in range(10)]
    for index, path in enumerate(photos):
        synthetic_photo(index, 80, 72).save(path)
    fold = Fold("fold", tuple(photos[:6]), tuple(LabelledImage(path, frozenset({0})) for path in photos[6:]))
    found = measure_refined(network, fold, make_reference(network, fold), images=6, seed=0, minutes=0.001)
    assert found["refinement"]["steps"] >= 1
    assert 0 < found["sqnr_db"] < 60


def narrow_network() -> Network:
    graph = float_graph(narrow_state("b0"), "b0")
    preprocessing = narrow_preprocessing("b0")
    document = ModelDocument(
        variant="b0",
        image_size=SIZE,
        num_classes=CLASSES,
        labels=None,
        preprocessing=preprocessing,
        precision="fp32",
        source={"dialect": "timm", "sha256": "0"},
    )
    return Network("narrow", graph, document)


def test_the_page_says_what_is_missing_and_why() -> None:
    page = render(results(default=FIGURES, openvino={"not_measured": "installing nncf, openvino failed: no wheel"}))
    assert "Not measured: nncf + openvino, because installing nncf, openvino failed: no wheel" in page
    assert "Not measured yet, by their names for `--ways`: plain, ranges, " in page
    assert "Rescaled:" not in page


def test_the_page_sets_the_rescaled_network_beside_the_original() -> None:
    page = render(results(default=FIGURES, rescaled_default={**FIGURES, "top1": 88.0}))
    assert f"| {WAYS['rescaled-default']} | 88.00 | -1.00 |" in page
    assert "| edge-effnet's `--quick`, of the original | 88.50 | -0.50 |" in page


def test_tables_are_rectangular() -> None:
    page = render(results(default=FIGURES, rescaled_default=FIGURES, litert={"not_measured": "x"}))
    lines = page.splitlines()
    for above, below in itertools.pairwise(lines):
        if above.startswith("|") and below.startswith("|"):
            assert above.count("|") == below.count("|")


def test_results_of_another_layout_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "accuracy.json"
    path.write_text(json.dumps({"schema_version": 99}), encoding="utf-8")
    with pytest.raises(UsageError, match="another layout"):
        read_results(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="not valid JSON"):
        read_results(path)


def test_the_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = ["--results", str(tmp_path / "accuracy.json")]
    assert accuracy.main(target) == 1
    assert "nothing to do" in capsys.readouterr().err
    assert accuracy.main([*target, "--model", "Lite0=lite0.pth"]) == 1
    assert "--data DIR" in capsys.readouterr().err


def test_the_command_renders(tmp_path: Path) -> None:
    stored, page = tmp_path / "accuracy.json", tmp_path / "accuracy.md"
    stored.write_text(json.dumps(results(default=FIGURES)), encoding="utf-8")
    assert accuracy.main(["--results", str(stored), "--render", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == render(results(default=FIGURES))


def test_the_committed_page_is_what_the_results_render() -> None:
    root = Path(__file__).parents[2]
    assert (root / "docs" / "accuracy.md").read_text(encoding="utf-8") == render(
        read_results(root / "benchmarks" / "results" / "accuracy.json"),
        read_studies(root / "benchmarks" / "results" / "noise.json"),
    )


def test_every_peer_has_its_script() -> None:
    assert all(peer.program.is_file() for peer in PEERS.values())
