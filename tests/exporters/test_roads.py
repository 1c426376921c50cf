"""One trained network along every road: the same graph gives the same bytes, apart from where it says it is from."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from support.keras_like import write_keras  # noqa: E402
from support.networks import SIZE, narrow_state, photos  # noqa: E402
from support.timm_like import narrow_module  # noqa: E402

from edge_effnet.exporters import ExportReport, export  # noqa: E402
from edge_effnet.exporters.export import document_of  # noqa: E402
from edge_effnet.exporters.inputs.open import open_network  # noqa: E402
from edge_effnet.exporters.inputs.options import InputOptions  # noqa: E402
from edge_effnet.exporters.order import order_channels  # noqa: E402
from edge_effnet.exporters.outputs.emit import emit  # noqa: E402
from edge_effnet.exporters.settings import PreprocessingOptions  # noqa: E402
from edge_effnet.network.records import Network  # noqa: E402
from edge_effnet.quantization.records import QuantizedGraph  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.onnx, pytest.mark.litert]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DIRECT = InputOptions(source="timm", image_size=(SIZE, SIZE))
#: What a module doesn't say.
TRAINED: dict[str, Any] = {"interpolation": "bicubic", "mode": "shorter", "resizer": "pillow"}
PREPARED = InputOptions(image_size=(SIZE, SIZE), preprocessing=PreprocessingOptions(mean=MEAN, std=STD, crop_pct=0.875))


def written(trained: Any, path: Path, **options: Any) -> ExportReport:
    return export(trained, path, verification="none", **options)


def file_of(network: Network, like: Network) -> bytes:
    """The fp32 file under another's name and origin."""
    same = replace(network, origin=like.origin, architecture=like.architecture)
    return emit(QuantizedGraph(order_channels(network.graph)), document_of(same, "fp32"), ".tflite")


@pytest.mark.parametrize(
    "road", ["module", "pickled module", "legacy", "keras", "tflite", "onnx", "tflite of a module"]
)
def test_the_same_graph_gives_the_same_bytes(road: str, tmp_path: Path) -> None:
    state, between = narrow_state("b0"), tmp_path / f"between.{road.split()[0]}"
    direct = open_network(state, DIRECT)
    trained: Any = between
    options = InputOptions()
    if road == "module":
        trained, options = narrow_module(state), PREPARED
    elif road == "pickled module":
        torch.save(narrow_module(state), between)
        options = DIRECT
    elif road == "legacy":
        tensors = {key: torch.from_numpy(value) for key, value in state.items()}
        torch.save({"model": tensors}, between, _use_new_zipfile_serialization=False)
        options = DIRECT
    elif road == "keras":
        write_keras(state, between)
        options = InputOptions(preprocessing=replace(PREPARED.preprocessing, mean=None, std=None, **TRAINED))
    elif road == "tflite of a module":
        written(narrow_module(state), between, image_size=SIZE, mean=MEAN, std=STD, crop_pct=0.875)
    else:
        written(state, between, source="timm", image_size=SIZE)
    assert file_of(open_network(trained, options), direct) == file_of(direct, direct)


@pytest.mark.slow
@pytest.mark.long
def test_int8_of_the_same_graph(tmp_path: Path) -> None:
    """`weights_sha256` is of all of the file but the document, which says where the weights are from."""
    options: dict[str, Any] = {"precision": "int8", "calibration": photos(2), "refine": 0.0}
    before = written(narrow_state("b0"), tmp_path / "float.tflite", source="timm", image_size=SIZE)
    direct = written(narrow_state("b0"), tmp_path / "direct.tflite", source="timm", image_size=SIZE, **options)
    found = written(before.path, tmp_path / "m.tflite", **options)
    assert found.document.weights_sha256 == direct.document.weights_sha256


def test_a_graph_that_torch_folded_differs_by_rounding_alone(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = narrow_module(narrow_state("b0"))
        torch.onnx.export(module, (torch.zeros(1, 3, SIZE, SIZE),), tmp_path / "m.onnx", dynamo=False, opset_version=17)
    direct = order_channels(open_network(narrow_state("b0"), DIRECT).graph)
    found = order_channels(open_network(tmp_path / "m.onnx", InputOptions()).graph)
    for one, other in zip(direct.nodes, found.nodes, strict=True):
        assert (one.name, one.inputs, type(one)) == (other.name, other.inputs, type(other))
        if hasattr(one, "weight"):
            np.testing.assert_allclose(one.weight, other.weight, atol=1e-6 * np.abs(one.weight).max())  # type: ignore[union-attr]
