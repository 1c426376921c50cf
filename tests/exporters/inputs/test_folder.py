"""Folders as hubs keep them, and what trainers' files know besides the weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from support.golden import make_state

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters.inputs import hub
from edge_effnet.exporters.inputs.open import open_network
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.settings import PreprocessingOptions
from edge_effnet.network.execute import execute

safetensors = pytest.importorskip("safetensors.numpy")
SIZE = (64, 64)


def logits(network) -> np.ndarray:
    return execute(network.graph, np.random.default_rng(0).standard_normal((1, *SIZE, 3)).astype(np.float32))


def test_a_folder_of_timm_s(tmp_path: Path) -> None:
    state = make_state("timm", "b0", classes=3)
    safetensors.save_file(state, tmp_path / "model.safetensors")
    config = {
        "architecture": "tf_efficientnet_b0",
        "label_names": ["a", "b", "c"],
        "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop_pct": 0.9, "input_size": [3, 64, 64]},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    network = open_network(tmp_path, InputOptions())
    assert network.labels == ("a", "b", "c")
    assert network.image_size == SIZE
    assert (network.preprocessing.mean, network.preprocessing.resize) == ((0.5, 0.5, 0.5), 71)
    assert network.origin.padding == "same"
    said = InputOptions(labels=["x", "y", "z"], preprocessing=PreprocessingOptions(crop_pct=1.0))
    assert open_network(tmp_path, said).labels == ("x", "y", "z")
    assert open_network(tmp_path, said).preprocessing.resize == 64


def of_transformers(key: str) -> str:
    """efficientnet-pytorch's name → transformers'."""
    blocks = (
        ("_expand_conv", "expansion.expand_conv"),
        ("_depthwise_conv", "depthwise_conv.depthwise_conv"),
        ("_bn0", "expansion.expand_bn"),
        ("_bn1", "depthwise_conv.depthwise_norm"),
        ("_bn2", "projection.project_bn"),
        ("_se_reduce", "squeeze_excite.reduce"),
        ("_se_expand", "squeeze_excite.expand"),
        ("_project_conv", "projection.project_conv"),
    )
    if key.startswith("_blocks."):
        for old, new in blocks:
            key = key.replace(f".{old}.", f".{new}.")
        return key.replace("_blocks.", "efficientnet.encoder.blocks.")
    ends = (
        ("_conv_stem", "efficientnet.embeddings.convolution"),
        ("_bn0", "efficientnet.embeddings.batchnorm"),
        ("_conv_head", "efficientnet.encoder.top_conv"),
        ("_bn1", "efficientnet.encoder.top_bn"),
        ("_fc", "classifier"),
    )
    return next(key.replace(old, new, 1) for old, new in ends if key.startswith(f"{old}."))


def test_a_folder_of_transformers(tmp_path: Path) -> None:
    state = make_state("lukemelas", "b0", classes=2)
    safetensors.save_file({of_transformers(key): value for key, value in state.items()}, tmp_path / "model.safetensors")
    config = {"model_type": "efficientnet", "image_size": 64, "id2label": {"1": "dog", "0": "cat"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    processor = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "include_top": True, "resample": 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    network = open_network(tmp_path, InputOptions())
    assert network.labels == ("cat", "dog")
    assert network.preprocessing.std == (0.25, 0.25, 0.25)
    own = open_network(state, InputOptions(image_size=SIZE, padding_size=64))
    np.testing.assert_array_equal(logits(network), logits(own))


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        open_network(tmp_path, InputOptions())
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(CheckpointError, match="load_model"):
        open_network(tmp_path, InputOptions())


def test_torchvision_s_weights_bring_imagenet_s_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = safetensors.save(make_state("torchvision", "b0", classes=1000))
    name = f"b0-{hashlib.sha256(data).hexdigest()[:8]}.safetensors"
    monkeypatch.setitem(hub.TORCHVISION, "efficientnet_b0", name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    kept = tmp_path / "hub" / "checkpoints" / name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(data)
    network = open_network("torchvision:efficientnet_b0", InputOptions(image_size=SIZE))
    assert network.labels is not None
    assert network.labels[285] == "Egyptian cat"
    assert network.origin.dialect == "torchvision"


CONFIG = {
    "architecture": "efficientnet_b0",
    "label_names": ["a", "b", "c"],
    "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop_pct": 0.9, "input_size": [3, 64, 64]},
}


def test_weights_by_their_file_are_read_as_by_their_folder(tmp_path: Path) -> None:
    safetensors.save_file(make_state("timm", "b0", classes=3), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    by_folder, by_file = (open_network(path, InputOptions()) for path in (tmp_path, tmp_path / "model.safetensors"))
    assert (by_file.preprocessing, by_file.labels) == (by_folder.preprocessing, by_folder.labels)
    assert by_file.image_size == SIZE
    for other in ("{", "[]", '{"pretrained_cfg": 3, "model_type": "bert"}'):  # of another program
        (tmp_path / "config.json").write_text(other)
        found = open_network(tmp_path / "model.safetensors", InputOptions(source="timm"))
        assert found.preprocessing.mean == (0.485, 0.456, 0.406)


def test_transformers_names_are_known_without_a_folder_and_inside_a_wrapper(tmp_path: Path) -> None:
    state = make_state("lukemelas", "b0", classes=2)
    tensors = {f"model.{of_transformers(key)}": value for key, value in state.items()}
    safetensors.save_file({**tensors, "loss.weight": np.ones(2, np.float32)}, tmp_path / "last.safetensors")
    options = InputOptions(image_size=SIZE, padding_size=64)
    direct = open_network(state, InputOptions(source="lukemelas", image_size=SIZE, padding_size=64))
    np.testing.assert_array_equal(logits(open_network(tmp_path / "last.safetensors", options)), logits(direct))


def test_labels_that_do_not_fit_are_remarked_on(tmp_path: Path) -> None:
    safetensors.save_file(make_state("timm", "b0", classes=3), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "label_names": ["a", "b"]}))
    network = open_network(tmp_path, InputOptions())
    assert network.labels is None
    assert "left out the 2 labels of label_names in config.json: the network has 3 outputs" in network.remarks


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["model.safetensors.index.json", "model-00001-of-00002.safetensors"], "in parts .*: save_pretrained"),
        (["best.ckpt", "notes.txt"], r"no weights of a known name; .* config\.json, or one of its files: best\.ckpt$"),
        (["a.jpg"], r"no weights of a known name; .* config\.json$"),
    ],
)
def test_folders_without_weights_of_a_known_name(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(CheckpointError, match=message):
        open_network(tmp_path, InputOptions())
