"""nn.Modules of any make, compared with themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from support.networks import narrow_state  # noqa: E402
from support.timm_like import narrow_module  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from edge_effnet.errors import CheckpointError, OperatorError, UsageError  # noqa: E402
from edge_effnet.exporters.families.identify import identify  # noqa: E402
from edge_effnet.exporters.families.records import Published  # noqa: E402
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint  # noqa: E402
from edge_effnet.exporters.inputs.module.network import _given  # noqa: E402
from edge_effnet.exporters.inputs.open import open_network  # noqa: E402
from edge_effnet.exporters.inputs.options import InputOptions  # noqa: E402
from edge_effnet.network.execute import execute  # noqa: E402
from edge_effnet.preprocessing import IMAGENET_MEAN, IMAGENET_STD  # noqa: E402

pytestmark = pytest.mark.torch
SIZE = InputOptions(image_size=(32, 32))
CONFIG = {
    "mean": (0.5,) * 3,
    "std": (0.5,) * 3,
    "crop_pct": 0.9,
    "interpolation": "bilinear",
    "input_size": (3, 64, 64),
}


class Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce, self.excite = nn.Linear(channels, 4), nn.Linear(4, channels)

    def forward(self, x):
        gate = torch.sigmoid(self.excite(F.silu(self.reduce(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


class Own(nn.Module):
    """Normalises inside, pads by itself, gates with linear layers, spells hard swish out, and ends in a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.SiLU(inplace=True))
        self.depthwise = nn.Conv2d(16, 16, 5, 2, groups=16, bias=False)
        self.norm, self.gate, self.point = nn.BatchNorm2d(16, eps=1e-3), Gate(16), nn.Conv2d(16, 16, 1)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 5))

    def forward(self, x):
        x = self.stem((x - self.mean) / 0.25)
        y = F.relu6(self.norm(self.depthwise(F.pad(x, (1, 2, 1, 2)))))
        y = self.point(self.gate(y))
        y = F.hardswish(y * F.relu6(y + 3) / 6)
        return F.softmax(self.head(F.adaptive_avg_pool2d(y, 1).flatten(1)), -1)


def own(seed: int = 0) -> Own:
    torch.manual_seed(seed)
    module = Own()
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.running_mean.normal_()
            child.running_var.uniform_(0.5, 2)
    return module


def test_a_module_of_ones_own_is_read_by_what_it_computes() -> None:
    module = own()
    network = open_network(module, SIZE)
    assert module.training
    assert network.head.kind == "softmax"
    assert network.preprocessing.mean == (0.485, 0.456, 0.406)
    assert network.preprocessing.std == (0.25, 0.25, 0.25)
    assert [node.kind for node in network.graph.nodes if hasattr(node, "kind")].count("hard_swish") == 2
    pixels = np.random.default_rng(1).random((2, 32, 32, 3), np.float32)
    logits = execute(network.graph, ((pixels - [0.485, 0.456, 0.406]) / 0.25).astype(np.float32))
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())).numpy()
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(scores - expected).max() < 1e-5


def test_a_wrapper_around_a_network_is_looked_into() -> None:
    class Trainer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = own()

        def forward(self, batch):
            return self.model(batch["image"])

    assert open_network(Trainer(), SIZE).output_size == 5


def test_what_the_operators_have_no_place_for_is_named() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(OperatorError, match="instance_norm"):
        open_network(module, SIZE)


@pytest.mark.parametrize("change", ["half", "bfloat16", "double"])
def test_other_precisions_are_read_as_float32(change: str) -> None:
    module = getattr(own(), change)()
    before = {key: value.dtype for key, value in module.state_dict().items()}
    network = open_network(module, SIZE)
    assert {key: value.dtype for key, value in module.state_dict().items()} == before
    assert {node.weight.dtype for node in network.graph.nodes if hasattr(node, "weight")} == {np.dtype(np.float32)}


def test_a_module_without_values_and_a_class() -> None:
    with pytest.raises(
        CheckpointError, match=r"Own is torch\.float32 on meta and can't be copied .* module\.float\(\)\.cpu"
    ):
        open_network(own().to("meta"), SIZE)
    with pytest.raises(CheckpointError, match="can't read weights from the class Own"):
        open_network(Own, SIZE)


@pytest.mark.parametrize("kind", [dict, tuple])
def test_of_several_outputs_none_is_guessed(kind: type) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

        def forward(self, x):
            features = self.conv(x).mean((2, 3))
            pairs = {"features": features, "scores": self.fc(features)}
            return pairs if kind is dict else tuple(pairs.values())

    with pytest.raises(CheckpointError, match=r"gives 2 tensors of its image, \[1, 8\], \[1, 5\]; expected one: give"):
        open_network(Two(), SIZE)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda y: y.argmax(1), "argmax.*expected scores of every class: leave it out"),
        (lambda y: y.flip(1), "flip.*expected one look at the image as it is: .*--channels bgr"),
    ],
)
def test_what_a_module_does_besides_is_answered_with_what_to_do(end: Any, message: str) -> None:
    class Ended(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x):
            return end(self.conv(x).mean((2, 3)))

    with pytest.raises(OperatorError, match=message):
        open_network(Ended(), SIZE)


def test_decisions_on_pixels_are_refused() -> None:
    class Deciding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x):
            return self.conv(x).mean((2, 3)) if float(x.sum()) > 0 else self.conv(-x).mean((2, 3))

    with pytest.raises(CheckpointError, match=r"torch\.export"):
        open_network(Deciding(), SIZE)


def test_a_module_that_says_no_size_is_asked_for_it() -> None:
    with pytest.raises(UsageError, match="image_size"):
        open_network(own(), InputOptions())


class TestPublished:
    """A quarter-wide B0 with timm's names: what is published of timm's, unless the module normalises by itself."""

    narrow = staticmethod(lambda: narrow_module(narrow_state("b0")))
    size = InputOptions(image_size=(64, 64))

    def test_a_modules_configuration_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module = self.narrow()
        monkeypatch.setattr(type(module), "pretrained_cfg", CONFIG, raising=False)
        found = open_network(module, self.size).preprocessing
        assert (found.mean, found.std, found.interpolation) == ((0.5,) * 3, (0.5,) * 3, "bilinear")
        assert found.resized == (71, 71)

    def test_a_module_of_known_names_is_prepared_as_published(self) -> None:
        known = identify(load_checkpoint(self.narrow()))
        given = _given({}, replace(known, published=Published(224, 0.875)), (64, 64), inside=False)
        assert (given.statistics, given.interpolation) == ((IMAGENET_MEAN, IMAGENET_STD), "bicubic")
        assert (given.resize, given.crop_pct) == (None, 0.875)
        assert _given({}, known, (64, 64), inside=False).resize is None  # nothing is published of a narrow one

    def test_a_module_that_normalises_by_itself_isnt_normalised_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Normalised(nn.Module):
            def __init__(self, model: nn.Module) -> None:
                super().__init__()
                self.model = model

            def forward(self, x):
                return self.model((x - 0.25) / 0.125)

        module = self.narrow()
        monkeypatch.setattr(type(module), "pretrained_cfg", CONFIG, raising=False)
        found = open_network(Normalised(module), self.size).preprocessing
        assert (found.mean, found.std) == ((0.25,) * 3, (0.125,) * 3)

    def test_a_trainers_network_is_found_under_any_name(self) -> None:
        class Trainer(nn.Module):
            def __init__(self, model: nn.Module) -> None:
                super().__init__()
                self.efficientnet, self.loss = model, nn.CrossEntropyLoss()

            def forward(self, *arguments):
                return super().forward(*arguments)

        assert open_network(Trainer(self.narrow()), self.size).output_size == 5

    def test_a_backbone_isnt_taken_without_its_head(self) -> None:
        class Trainer(nn.Module):
            def __init__(self, model: nn.Module) -> None:
                super().__init__()
                self.backbone, self.head = model, nn.Linear(5, 2)

            def forward(self, *arguments):
                return super().forward(*arguments)

        with pytest.raises(CheckpointError, match="of a trainer's, give the network inside"):
            open_network(Trainer(self.narrow()), self.size)

    @pytest.mark.filterwarnings("ignore:.*jit")
    def test_torchscript_is_read_by_its_names(self, tmp_path: Path) -> None:
        traced = torch.jit.trace(self.narrow(), torch.zeros(1, 3, 64, 64))
        traced.save(tmp_path / "m.pt")
        said = InputOptions(source="timm", image_size=(64, 64))
        direct = open_network(narrow_state("b0"), said)
        for source in (traced, tmp_path / "m.pt"):
            found = open_network(source, said)
            for one, other in zip(found.graph.nodes, direct.graph.nodes, strict=True):
                np.testing.assert_array_equal(getattr(one, "weight", 0), getattr(other, "weight", 0))

    def test_programs_of_torch_export(self, tmp_path: Path) -> None:
        program = torch.export.export(self.narrow(), (torch.zeros(1, 3, 64, 64),))
        assert open_network(program, self.size).output_size == 5
        torch.export.save(program, tmp_path / "m.pt2")
        with pytest.raises(CheckpointError, match=r"a program of torch\.export, which isn't opened.*give export the"):
            open_network(tmp_path / "m.pt2", self.size)
