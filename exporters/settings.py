"""What the user may say about preprocessing, laid over what the checkpoint's origin says."""

from __future__ import annotations

from dataclasses import dataclass

from edge_effnet.errors import UsageError
from edge_effnet.exporters.families.identify import Identified
from edge_effnet.preprocessing import Interpolation, Preprocessing, Triple, resize_for_crop_pct


@dataclass(frozen=True)
class PreprocessingOptions:
    """None everywhere means: as the checkpoint's origin publishes it. `resize` and `crop_pct` exclude each other."""

    mean: Triple | None = None
    std: Triple | None = None
    crop_pct: float | None = None
    resize: int | None = None
    interpolation: Interpolation | None = None

    def __post_init__(self) -> None:
        if self.crop_pct is not None and self.resize is not None:
            raise UsageError("crop-pct and resize say the same thing twice; expected one of them")


def resolve_preprocessing(model: Identified, *, image_size: int, options: PreprocessingOptions) -> Preprocessing:
    """The options over what a published model name says, over the dialect's default."""
    default = model.dialect.preprocessing(model.variant, image_size)
    mean, std = (
        (default.mean, default.std)
        if model.published is None or model.published.statistics is None
        else model.published.statistics
    )
    published_pct = model.published.crop_pct if model.published else None
    crop_pct = options.crop_pct if options.crop_pct is not None else published_pct if options.resize is None else None
    resize = (
        options.resize
        if options.resize is not None
        else default.resize
        if crop_pct is None
        else resize_for_crop_pct(image_size, crop_pct)
    )
    return Preprocessing(
        resize=resize,
        crop=image_size,
        interpolation=options.interpolation or default.interpolation,
        mean=options.mean or mean,
        std=options.std or std,
    )
