"""Where a trainer's file keeps what it knows besides the weights: the mappings around them, and options in those."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edge_effnet.exporters.inputs.records import plain

#: Keys under which options lie: timm's and torchvision's `args`, Lightning's hyper-parameters, OpenMMLab's `meta` and
#: `dataset_meta`, configurations of OmegaConf, ultralytics' `train_args`, fastai's `dls`, scikit-learn's encoders, and
#: parts of those.
HOLDERS = (
    *("args", "opt", "opts", "options", "settings", "hyper_parameters", "hparams", "datamodule_hyper_parameters"),
    *("config", "cfg", "conf", "train_args", "meta", "metadata", "dataset_meta", "data", "dataset", "datamodule"),
    *("data_config", "transform", "transforms", "preprocess", "preprocessing", "pretrained_cfg", "default_cfg", "dls"),
    *("label_encoder", "encoder", "le", "processing_params"),
)
#: What a layer that normalises its image calls what it subtracts: `mean`, `pixel_mean`, `normalize.mean`.
_MEAN = re.compile(r"((?:.*\.)?_?(?:pixel_|image_|img_|norm_)?)mean")
_LEVELS = 255
_MAX_DEPTH, _MAX_HOLDERS, _MAX_KEYS = 4, 64, 10_000


def holders_of(around: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Text keys → plain values of each mapping around the weights, and of the options below them, nearest first."""
    waiting = deque((value, 0) for value in reversed(around))
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_HOLDERS:
        value, depth = waiting.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        found = plain(value)
        if not isinstance(found, Mapping) or len(found) > _MAX_KEYS:
            continue
        holder = {key: _listed(item) for key, item in found.items() if isinstance(key, str)}
        yield holder
        if depth < _MAX_DEPTH:
            waiting.extend((found[key], depth + 1) for key in HOLDERS if key in found)


def statistics_in(outside: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """ "mean" and "std", of pixels in 0..1, of layers beside the network that normalise its image: a wrapper's buffers.

    outside: tensors by name. Larger than 1, they are of pixels in 0..255.
    """
    for match in filter(None, map(_MEAN.fullmatch, outside)):
        values = [outside.get(match[1] + name) for name in ("mean", "std")]
        if any(value is None or math.prod(value.shape) not in (1, 3) for value in values):
            continue
        mean, std = (np.broadcast_to(_vector(value), (3,)) for value in values)
        scale = _LEVELS if mean.max() > 1 else 1
        if (np.isfinite(mean) & (std > 0)).all():
            yield {"mean": (mean / scale).round(6).tolist(), "std": (std / scale).round(6).tolist()}


def _vector(value: Any) -> Any:
    value = value.detach().cpu().float().numpy() if hasattr(value, "detach") else value
    return np.asarray(value, np.float64).reshape(-1)


def _listed(value: Any) -> Any:
    """The value, a list's values plain, too."""
    found = plain(value)
    return [plain(item) for item in found] if isinstance(found, list | tuple) and len(found) <= _MAX_KEYS else found
