"""Where a trainer's file keeps what it knows besides the weights: the mappings around them, and options in those."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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


def _listed(value: Any) -> Any:
    """The value, a list's values plain, too."""
    found = plain(value)
    return [plain(item) for item in found] if isinstance(found, list | tuple) and len(found) <= _MAX_KEYS else found
