"""What a trainer's file knows besides the weights counts where nothing is said."""

from __future__ import annotations

from typing import Any

import pytest

from edge_effnet.exporters.inputs.beside import with_facts
from edge_effnet.exporters.inputs.folder import facts_of_timm, laid_under
from edge_effnet.exporters.inputs.holders import holders_of
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.records import Record
from edge_effnet.exporters.settings import PreprocessingOptions

BESIDE = {
    "args": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "crop_pct": 0.95, "img_size": 192},
    "class_to_idx": {"dog": 1, "cat": 0},
}


def found_in(*around: Any, options: InputOptions | None = None) -> tuple[InputOptions, tuple[str, ...]]:
    return with_facts(options or InputOptions(), tuple(holders_of(around)))


def test_it_is_taken_and_shown() -> None:
    found, remarks = found_in(BESIDE)
    assert (found.preprocessing.mean, found.preprocessing.std) == ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert (found.preprocessing.crop_pct, found.image_size) == (0.95, (192, 192))
    assert [one.labels for one in found.found_labels] == [("cat", "dog")]
    assert remarks == (
        "taken from what the checkpoint says besides its weights: image size 192×192, mean 0.1/0.2/0.3, std 1/1/1, "
        "crop pct 0.95",
    )


def test_what_is_said_counts_more() -> None:
    said = InputOptions(image_size=(64, 64), preprocessing=PreprocessingOptions(mean=(0.0, 0.0, 0.0), resize=70))
    found, remarks = found_in(BESIDE, options=said)
    assert (found.image_size, found.preprocessing.mean, found.preprocessing.resize) == ((64, 64), (0.0, 0.0, 0.0), 70)
    assert found.preprocessing.crop_pct is None
    assert remarks == ("taken from what the checkpoint says besides its weights: std 1/1/1",)


def test_the_nearest_counts() -> None:
    found, _ = found_in({"config": {"img_size": 100}}, {"fold": 1, "cfg": {"img_size": 200}})
    assert found.image_size == (200, 200)


@pytest.mark.parametrize(
    "value",
    [
        Record("omegaconf.dictconfig.DictConfig", (), {"_content": {"imgsz": Record("N", (), {"_val": 96})}}),
        Record("Slotted", (), (None, {"image_size": 96})),
        Record("Both", (), ({"a": 1}, {"crop_size": [96, 96]})),
        Record("AttributeDict", pairs=[("input_size", (3, 96, 96))]),
        Record("argparse.Namespace", (), {"val_crop_size": 96}),
        {"data": Record("ListOfNumbers", (), {"img_size": [Record("N", (), {"_val": 96})] * 2})},
    ],
)
def test_options_in_objects(value: Any) -> None:
    assert found_in({"hyper_parameters": value})[0].image_size == (96, 96)


@pytest.mark.parametrize(
    "options",
    [
        {"mean": [0.1, 0.2, 0.3]},
        {"crop_pct": 7.0},
        {"img_size": 7},
        {"img_size": True},
        {"image_size": [1, 2, 3, 4]},
        {"input_size": "224"},
        {"interpolation": "random"},
        {"val_resize_size": [3]},
    ],
)
def test_what_makes_no_sense_is_left(options: dict[str, Any]) -> None:
    assert found_in({"args": options}) == (InputOptions(), ())


def test_timms_border_is_the_mean_around_the_whole_photo() -> None:
    config = {"crop_mode": "border", "mean": [0.5, 0.4, 0.3], "std": [0.2] * 3, "interpolation": "lanczos"}
    said = found_in({"args": config})[0].preprocessing
    assert (said.mode, said.fill, said.interpolation) == ("longer", (128, 102, 76), "lanczos")
    over = laid_under(PreprocessingOptions(mode="shorter", resizer="opencv"), facts_of_timm(config))
    assert (over.mode, over.fill, over.interpolation) == ("shorter", None, None)


def test_what_holds_itself() -> None:
    content: dict[str, Any] = {"img_size": 64}
    content["args"] = content["config"] = content
    assert len(list(holders_of((content,)))) == 1
