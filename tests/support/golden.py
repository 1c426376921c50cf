"""The golden cases: what timm, torchvision and efficientnet-pytorch themselves give for weights rebuilt from a seed."""

from __future__ import annotations

import functools
import gzip
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parents[1] / "golden"
NAMES = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))

State = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, eq=False)
class Case:
    """keys: state-dict name → shape, in the model's own order; logits: float64[num_classes]."""

    source: str
    model: str
    image_size: int
    seed: int
    keys: Mapping[str, tuple[int, ...]]
    logits: npt.NDArray[np.float64]

    @property
    def dialect(self) -> str:
        """timm's `tf_` models are a dialect of their own."""
        return "timm-tf" if self.model.startswith("tf_") else self.source

    @property
    def variant(self) -> str:
        return self.model.replace("-", "_").split("_")[-1]


@functools.cache
def load_case(name: str) -> Case:
    content = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    keys = {key: tuple(shape) for key, shape in content["keys"].items()}
    return Case(
        content["source"], content["model"], content["image_size"], content["seed"], keys, np.array(content["logits"])
    )


def find_case(dialect: str, variant: str) -> Case:
    return next(case for case in map(load_case, NAMES) if (case.dialect, case.variant) == (dialect, variant))


def rebuild(keys: Mapping[str, Sequence[int]], seed: int, *, gain: float = 1.7) -> State:
    """The state dict of the recipe: every tensor from its name and the seed; gain: of the weights' variance."""
    return {
        key: _tensor(key, tuple(shape), np.random.default_rng([seed, zlib.crc32(key.encode())]), gain)
        for key, shape in keys.items()
    }


def _tensor(key: str, shape: tuple[int, ...], random: np.random.Generator, gain: float) -> npt.NDArray[np.generic]:
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key.endswith("running_var"):
        values = random.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        values = random.standard_normal(shape) * 0.1
    elif len(shape) == 1 and key.endswith("weight"):
        values = random.uniform(0.8, 1.2, shape)
    elif len(shape) == 1:
        values = random.standard_normal(shape) * 0.1
    else:
        values = random.standard_normal(shape) * (gain / math.prod(shape[1:])) ** 0.5
    return values.astype(np.float32)


def noise(seed: int, size: int) -> npt.NDArray[np.float32]:
    """float32[1, 3, size, size]: the recipe's normalised image."""
    return np.random.default_rng([seed, size]).standard_normal((1, 3, size, size)).astype(np.float32)


def make_state(dialect: str, variant: str, *, classes: int, seed: int = 1) -> State:
    """Random weights of another class count, under the keys of a dialect; Lite in lukemelas names is renamed from
    timm's.
    """
    renamed = dialect == "lukemelas" and variant.startswith("lite")
    case = find_case("timm-tf" if renamed else dialect, variant)
    keys = {name: (classes, *shape[1:]) if shape[:1] == (1000,) else shape for name, shape in case.keys.items()}
    return rebuild(_lukemelas_lite(keys) if renamed else keys, seed)


def _lukemelas_lite(keys: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """timm's Lite keys as the PyPI weight packages write them."""
    numbers: dict[str, int] = {}
    renamed = {}
    for name, shape in keys.items():
        first, *rest = name.split(".")
        if first == "blocks":
            number = numbers.setdefault(".".join(rest[:2]), len(numbers))
            opening = f"blocks.{rest[0]}.{rest[1]}.conv_pwl.weight" in keys
            renamed[f"_blocks.{number}.{_LITE_LAYERS[opening][rest[2]]}.{rest[3]}"] = shape
        else:
            renamed[".".join([_LITE_ENDS[first], *rest])] = shape
    return renamed


_LITE_ENDS = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
_LITE_LAYERS = {
    True: {
        "conv_pw": "_expand_conv",
        "bn1": "_bn0",
        "conv_dw": "_depthwise_conv",
        "bn2": "_bn1",
        "conv_pwl": "_project_conv",
        "bn3": "_bn2",
    },
    False: {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"},
}
