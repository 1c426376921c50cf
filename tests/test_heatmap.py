from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PHOTOS
from PIL import Image

from edge_effnet import Classifier
from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.heatmap import Heatmap, HeatmapMaker, heatmap_jpeg, resized

CAT = PHOTOS / "chelsea.jpg"


def test_the_map_adds_up_to_the_logit(bundled: Classifier) -> None:
    logits = bundled.logits(CAT)
    maker = HeatmapMaker(bundled)
    bias = maker._head.bias
    for index in (None, 0, 285):
        found = maker.of(CAT, index=index)
        assert found.values.shape == (7, 7)
        assert found.index == (int(logits.argmax()) if index is None else index)
        assert found.values.mean() + bias[found.index] == pytest.approx(logits[found.index], abs=1e-3)
        assert found.logit == pytest.approx(logits[found.index], abs=1e-3)


@pytest.mark.parametrize(("values", "share"), [([1.0] * 10, 0.1), ([5.0] + [0.0] * 9, 1.0), ([-1.0] * 10, 0.0)])
def test_the_share_of_the_hottest_tenth(values: list[float], share: float) -> None:
    found = Heatmap(0, "a", np.array(values, np.float32).reshape(2, 5), 0.0)
    assert found.hottest_share == pytest.approx(share)


def test_the_share_counts_parts_of_positions() -> None:
    """A tenth of 15 positions is one and a half."""
    found = Heatmap(0, "a", np.array([4, 2, *[1] * 4, *[0] * 9], np.float32).reshape(3, 5), 0.0)
    assert found.hottest_share == pytest.approx((4 + 2 / 2) / 10)


def test_the_picture_is_hot_where_the_map_is(bundled: Classifier) -> None:
    grey = np.full((224, 224, 3), 128, np.uint8)
    values = np.zeros((7, 7), np.float32)
    values[0, 0] = 1
    picture = Image.open(io.BytesIO(heatmap_jpeg(bundled, grey, Heatmap(0, "a", values, 0.0))))
    hot, cold = (np.asarray(picture, np.int64)[place, place].sum() for place in (20, 400))
    assert picture.size == (448, 448)
    assert hot > cold + 150


def test_the_map_of_a_learned_file_adds_up_to_the_logit(taught: Any) -> None:
    """Its layer reads maps of other sizes, too."""
    with Classifier(taught.path) as classifier:
        maker = HeatmapMaker(classifier)
        assert [found.size for found in maker._maps] == [1280, 1152, 672]
        logits = classifier.logits(CAT)
        for index in range(3):
            found = maker.of(CAT, index=index)
            assert found.values.shape == (7, 7)
            assert found.values.mean() + maker._head.bias[index] == pytest.approx(logits[index], abs=1e-3)


@pytest.mark.parametrize("size", [(7, 7), (4, 5), (9, 2)])
def test_maps_of_other_sizes_keep_their_mean(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random((8, 6)).astype(np.float32)
    found = resized(values, size)
    assert found.shape == size
    assert found.mean() == pytest.approx(values.mean(), abs=1e-6)
    np.testing.assert_allclose(resized(values, (4, 3)), values.reshape(4, 2, 3, 2).mean(axis=(1, 3)), rtol=1e-6)


@pytest.mark.onnx
def test_the_map_of_an_onnx_file(exported: dict[tuple[str, str], Path]) -> None:
    """Where the .tflite file of the network has it."""
    with Classifier(exported["fp32", "onnx"]) as one, Classifier(exported["fp32", "tflite"]) as other:
        found, expected = HeatmapMaker(one).of(CAT), HeatmapMaker(other).of(CAT)
    assert (found.index, found.label) == (expected.index, expected.label)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-4)


def test_networks_without_a_map(lite0_state: Any, bundled: Classifier, tmp_path: Path) -> None:
    from edge_effnet.exporters import export

    path = tmp_path / "features.tflite"
    export(lite0_state, path, precision="fp32", source="timm-tf", image_size=64, head="features")
    with Classifier(path) as classifier, pytest.raises(ModelFileError, match="gives no classes; expected a network"):
        HeatmapMaker(classifier)
    with pytest.raises(UsageError, match="class 1000 has no weights of its own; expected 0 to 999"):
        HeatmapMaker(bundled).of(CAT, index=1000)
