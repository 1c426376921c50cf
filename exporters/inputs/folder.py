"""Folders as hubs keep them: weights, and a config.json that says what they are of and how photos are prepared.

Sources: timm's `push_to_hf_hub` (`architecture`, `pretrained_cfg`, `label_names`), transformers' EfficientNet
(`configuration_efficientnet.py`, `modeling_efficientnet.py`, `image_processing_efficientnet.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters.families.head import check_pooling
from edge_effnet.exporters.inputs.checkpoint import Checkpoint, load_checkpoint
from edge_effnet.exporters.inputs.label_sources import labels_beside, labels_under
from edge_effnet.exporters.inputs.no_network import check_is_a_network
from edge_effnet.exporters.inputs.options import FoundLabels, InputOptions
from edge_effnet.exporters.settings import PreprocessingOptions
from edge_effnet.framing import ResizeMode
from edge_effnet.preprocessing import IMAGENET_MEAN, INTERPOLATIONS, Interpolation, Resizer, Triple, triple
from edge_effnet.text import parse_json

_CONFIG, _PROCESSOR = "config.json", "preprocessor_config.json"
#: Names of weights, the safe format first.
WEIGHTS = ("model.safetensors", "pytorch_model.bin", "model.pth", "model.pt", "open_clip_model.safetensors")
#: Whole networks that a folder may hold instead.
NETWORKS = ("model.keras", "model.onnx", "model.tflite", "model.h5")
_MAX_CONFIG_BYTES = 1 << 22
#: PIL's numbers of interpolations.
_RESAMPLE = {2: "bilinear", 3: "bicubic"}
_PREFIX, _STEM, _MODEL_TYPE = "efficientnet.", "efficientnet.embeddings.convolution.weight", "efficientnet"
#: Of files that may be weights under a name of their own.
_WEIGHTS_ENDINGS, _MOST_LISTED = (
    (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".keras", ".h5", ".onnx", ".tflite"),
    4,
)
#: timm's crop modes; "center" is the default's.
_MODES: Mapping[str, ResizeMode] = {"squash": "squash", "border": "longer"}
#: transformers' names → efficientnet-pytorch's, whose rules they share.
_RENAMED = (
    (r"embeddings\.convolution\.", "_conv_stem."),
    (r"embeddings\.batchnorm\.", "_bn0."),
    (r"encoder\.top_conv\.", "_conv_head."),
    (r"encoder\.top_bn\.", "_bn1."),
    (r"encoder\.blocks\.(\d+)\.expansion\.expand_conv\.", r"_blocks.\1._expand_conv."),
    (r"encoder\.blocks\.(\d+)\.expansion\.expand_bn\.", r"_blocks.\1._bn0."),
    (r"encoder\.blocks\.(\d+)\.depthwise_conv\.depthwise_conv\.", r"_blocks.\1._depthwise_conv."),
    (r"encoder\.blocks\.(\d+)\.depthwise_conv\.depthwise_norm\.", r"_blocks.\1._bn1."),
    (r"encoder\.blocks\.(\d+)\.squeeze_excite\.reduce\.", r"_blocks.\1._se_reduce."),
    (r"encoder\.blocks\.(\d+)\.squeeze_excite\.expand\.", r"_blocks.\1._se_expand."),
    (r"encoder\.blocks\.(\d+)\.projection\.project_conv\.", r"_blocks.\1._project_conv."),
    (r"encoder\.blocks\.(\d+)\.projection\.project_bn\.", r"_blocks.\1._bn2."),
    (r"classifier\.", "_fc."),
)


@dataclass(frozen=True)
class FolderContent:
    """A folder's weights, and what its configuration says laid under the user's options."""

    checkpoint: Checkpoint
    options: InputOptions


def whole_network_in(folder: Path) -> Path | None:
    """A file of a folder that says what is computed, where there are no weights of a known name."""
    if any((folder / name).is_file() for name in WEIGHTS):
        return None
    return next((folder / name for name in NETWORKS if (folder / name).is_file()), None)


def read_folder(folder: Path, options: InputOptions) -> FolderContent:
    """Weights and configuration; raises CheckpointError where one is missing or broken."""
    config = read_config(folder / _CONFIG)
    found = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        raise CheckpointError(f"{folder}: {_without_weights(folder)}")
    check_pooling([config], f"{folder / _CONFIG}")
    check_is_a_network(found)
    return configured(found, config, load_checkpoint(found, weights=options.weights), options)


def _without_weights(folder: Path) -> str:
    """What a folder without weights of a known name holds instead, and what to do."""
    expected = f"expected {', '.join(WEIGHTS[:2])} beside its config.json"
    if parts := sorted(path.name for path in folder.glob("*.index.json")):
        return f"weights in parts ({parts[0]}); {expected}: save_pretrained(FOLDER, max_shard_size='100GB') writes one"
    others = sorted(path.name for path in folder.iterdir() if path.suffix in _WEIGHTS_ENDINGS)
    instead = f", or one of its files: {', '.join(others[:_MOST_LISTED])}" if others else ""
    return f"no weights of a known name; {expected}{instead}"


def with_configuration(weights: Path, checkpoint: Checkpoint, options: InputOptions) -> FolderContent:
    """A hub folder's weights given by their file: with what the config.json beside them says. Another program's
    config.json, or a broken one, says nothing.
    """
    try:
        config = read_config(weights.with_name(_CONFIG))
    except CheckpointError:
        config = {}
    known = isinstance(config.get("pretrained_cfg"), Mapping) or config.get("model_type") == _MODEL_TYPE
    if known or _is_of_transformers(checkpoint):
        return configured(weights, config, checkpoint, options)
    return FolderContent(checkpoint, options)


def configured(
    weights: Path, config: Mapping[str, Any], checkpoint: Checkpoint, options: InputOptions
) -> FolderContent:
    """Weights, and their folder's configuration laid under the options."""
    check_pooling([config], f"{weights.with_name(_CONFIG)}")
    if config.get("model_type") == _MODEL_TYPE or _is_of_transformers(checkpoint):
        return _of_transformers(weights.parent, config, checkpoint, options, _labels(weights, checkpoint, config))
    given = config.get("pretrained_cfg")
    given = given if isinstance(given, Mapping) else {}
    said = laid_under(options.preprocessing, facts_of_timm(given))
    size = options.image_size or _size(given)
    return FolderContent(
        checkpoint,
        replace(options, preprocessing=said, image_size=size, found_labels=_labels(weights, checkpoint, config, given)),
    )


def _labels(weights: Path, checkpoint: Checkpoint, *configs: Mapping[str, Any]) -> tuple[FoundLabels, ...]:
    """Class names in the configuration, in the checkpoint, and in files beside the weights."""
    found = [one for config in configs for one in labels_under(config, f"in {_CONFIG}")]
    found += [one for holder in checkpoint.beside for one in labels_under(holder, "in the checkpoint")]
    return (*found, *labels_beside(weights))


def read_config(path: Path) -> Mapping[str, Any]:
    """A small JSON object; empty where there is no such file. Raises CheckpointError."""
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise CheckpointError(f"{path}: larger than {_MAX_CONFIG_BYTES:,} bytes; expected a configuration")
        content = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: can't be read ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}; expected an object")
    return content


def _size(config: Mapping[str, Any]) -> tuple[int, int] | None:
    sides = config.get("input_size")
    return (int(sides[1]), int(sides[2])) if isinstance(sides, list) and len(sides) == 3 else None


def facts_of_timm(config: Mapping[str, Any]) -> PreprocessingOptions:
    """mean, std, crop_pct and interpolation, of a `pretrained_cfg` or of the options that timm's trainer keeps."""
    interpolation, share = config.get("interpolation"), config.get("crop_pct")
    mean = _triple(config.get("mean"))
    mode = _MODES.get(str(config.get("crop_mode")))
    return PreprocessingOptions(
        mean=mean,
        std=_triple(config.get("std")),
        crop_pct=float(share) if isinstance(share, int | float) else None,
        interpolation=pillow_name(interpolation),
        mode=mode,
        fill=border_of(mean) if mode == "longer" else None,
    )


def pillow_name(interpolation: Any) -> Interpolation | None:
    """timm's name of a way that Pillow resizes, which is ours; None for "random", and where nothing is said."""
    return next((name for name in INTERPOLATIONS["pillow"] if name == interpolation), None)


def border_of(mean: Triple | None) -> tuple[int, int, int]:
    """The colour around a photo in timm's crop mode "border": the mean."""
    red, green, blue = (round(255 * value) for value in mean or IMAGENET_MEAN)
    return red, green, blue


def _triple(values: Any) -> Triple | None:
    try:
        return None if values is None else triple(values)
    except (TypeError, ValueError):
        return None


def laid_under(said: PreprocessingOptions, config: PreprocessingOptions) -> PreprocessingOptions:
    """What the user says, and what the configuration says where the user doesn't."""
    share = config.crop_pct if said.crop_pct is None and said.resize is None else said.crop_pct
    resize = config.resize if said.crop_pct is None and said.resize is None else said.resize
    return replace(
        said,
        mean=said.mean or config.mean,
        std=said.std or config.std,
        crop_pct=share,
        resize=resize,
        interpolation=said.interpolation or _known_to(said.resizer, config.interpolation),
        mode=said.mode or config.mode,
        fill=said.fill or (config.fill if said.mode is None else None),
    )


def _known_to(resizer: Resizer | None, interpolation: Interpolation | None) -> Interpolation | None:
    return interpolation if interpolation in INTERPOLATIONS.get(resizer or "pillow", ()) else None


def _of_transformers(
    folder: Path,
    config: Mapping[str, Any],
    checkpoint: Checkpoint,
    options: InputOptions,
    labels: tuple[FoundLabels, ...],
) -> FolderContent:
    """transformers' EfficientNet: its own names, and TensorFlow's SAME baked for its image size."""
    wrapper = next((key.removesuffix(_STEM) for key in checkpoint.tensors if key.endswith(_STEM)), "")
    tensors = {
        _renamed(key.removeprefix(wrapper).removeprefix(_PREFIX)): value
        for key, value in checkpoint.tensors.items()
        if key.startswith(wrapper)
    }
    size = config.get("image_size")
    built_for = size if isinstance(size, int) else None
    processor = read_config(folder / _PROCESSOR)
    options = replace(
        options,
        source=options.source or "lukemelas",
        preprocessing=laid_under(options.preprocessing, _of_processor(processor)),
        image_size=options.image_size or (None if built_for is None else (built_for, built_for)),
        padding_size=options.padding_size or built_for,
        found_labels=labels,
    )
    renamed = replace(checkpoint, tensors=tensors, built_for=built_for, architecture=None)
    return FolderContent(renamed, options)


def _is_of_transformers(checkpoint: Checkpoint) -> bool:
    return any(key.endswith(_STEM) for key in checkpoint.tensors)


def _renamed(key: str) -> str:
    for pattern, name in _RENAMED:
        if re.match(pattern, key):
            return re.sub(pattern, name, key, count=1)
    return key


def _of_processor(config: Mapping[str, Any]) -> PreprocessingOptions:
    """`include_top` divides by `image_std` once more, as the original does."""
    mean, std = _triple(config.get("image_mean")), _triple(config.get("image_std"))
    if mean is not None and std is not None and config.get("include_top"):
        std = triple(round(value * value, 6) for value in std)
    side = config.get("size", {}).get("height") if isinstance(config.get("size"), Mapping) else None
    resample: Any = _RESAMPLE.get(config.get("resample", 0), "bilinear") if config else None
    return PreprocessingOptions(
        mean=mean,
        std=std,
        resize=side if isinstance(side, int) and config.get("do_center_crop") else None,
        interpolation=resample,
    )
