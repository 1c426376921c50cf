"""How photos are prepared for a file of another maker: options, and what the file itself says."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from edge_effnet.cli.parsing import goes_with
from edge_effnet.cli.values import INTERPOLATION_NAMES, positive, three
from edge_effnet.errors import EdgeEffnetError, UsageError
from edge_effnet.foreign import input_size, preparation_of, require_one_size
from edge_effnet.formats import ModelFile, read_model_file
from edge_effnet.framing import RESIZE_MODES
from edge_effnet.preprocessing import HALF, INTERPOLATIONS, Preprocessing, Resizer, Triple, resize_for_crop_pct

#: Range of a float file's input → mean and standard deviation of pixels in 0..1.
_RANGES: dict[str, tuple[Triple, Triple]] = {
    "0..255": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
    "0..1": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "-1..1": (HALF, HALF),
}
_OPTIONS = ("mean", "std", "input_range", "crop_pct", "interpolation", "resize_mode", "resizer", "channels")


def add_preprocessing_options(parser: argparse.ArgumentParser) -> None:
    """How to prepare photos for a file that doesn't say."""
    group = parser.add_argument_group("files of other makers", "how to prepare photos where the file doesn't say")
    group.add_argument(
        "--image-size", type=positive, metavar="N", help="side of the network's input (default: as the file has it)"
    )
    goes_with(
        "without --image-size N or a model of another maker",
        group.add_argument("--mean", type=three, metavar="R,G,B", help="of pixels in 0..1 (default 0.5,0.5,0.5)"),
        group.add_argument("--std", type=three, metavar="R,G,B", help="of pixels in 0..1 (default 0.5,0.5,0.5)"),
        group.add_argument(
            "--input-range",
            choices=tuple(_RANGES),
            help="of the file's input, in place of --mean and --std: 0..255 as Keras' files take their pixels, 0..1 or "
            "-1..1",
        ),
        group.add_argument(
            "--crop-pct", type=float, metavar="X", help="share of the resized photo that the crop keeps (default 1)"
        ),
        group.add_argument(
            "--interpolation",
            choices=INTERPOLATION_NAMES,
            help="of the resize (default bicubic, with --resizer another library's bilinear)",
        ),
        group.add_argument("--resize-mode", choices=RESIZE_MODES, help="default shorter; squash as Keras' loaders do"),
        group.add_argument("--resizer", choices=tuple(INTERPOLATIONS), help="whose resize (default pillow)"),
        group.add_argument("--channels", choices=("rgb", "bgr"), help="order the network takes (default rgb)"),
        holds=_have_use,
    )


def _have_use(arguments: argparse.Namespace) -> bool:
    models = [*(getattr(arguments, name, None) for name in ("model", "a", "b")), *(getattr(arguments, "models", []))]
    return arguments.image_size is not None or any(map(_is_foreign, filter(None, models)))


def _is_foreign(model: str) -> bool:
    try:
        return read_model_file(model).document is None
    except (EdgeEffnetError, OSError):
        return False


def preprocessing_from(arguments: argparse.Namespace, model: str | Path) -> Preprocessing | None:
    """What the options say, the rest as the file has it; None where they say nothing.

    Raises UsageError for a range beside mean or std, and where neither says a size; ModelFileError for a file that
    takes any.
    """
    said = [name for name in _OPTIONS if getattr(arguments, name) is not None]
    if not said and arguments.image_size is None:
        return None
    if arguments.input_range is not None and (arguments.mean or arguments.std):
        raise UsageError(f"--input-range {arguments.input_range} says what --mean and --std say; expected one of them")
    file = read_model_file(model)
    return _laid_over(arguments, file if file.document is None else None)


def _laid_over(arguments: argparse.Namespace, file: ModelFile | None) -> Preprocessing:
    """The options over what a file of another maker says."""
    own = None if file is None else preparation_of(file)
    if file is not None:
        require_one_size(file)
    size = (arguments.image_size,) * 2 if arguments.image_size else None if file is None else input_size(file)
    if size is None:
        raise UsageError("the model file doesn't say the size of its images; say it: --image-size N")
    mean, std = _RANGES.get(arguments.input_range, (HALF, HALF) if own is None else (own.mean, own.std))
    resize = size if arguments.crop_pct is None else tuple(resize_for_crop_pct(s, arguments.crop_pct) for s in size)
    resizer: Resizer = arguments.resizer or "pillow"
    return Preprocessing(
        resize=(resize[0], resize[1]),
        crop=size,
        interpolation=arguments.interpolation or ("bicubic" if resizer == "pillow" else "bilinear"),
        mean=arguments.mean or mean,
        std=arguments.std or std,
        mode=arguments.resize_mode or "shorter",
        resizer=resizer,
        channels=arguments.channels or "rgb",
    )


def preprocessing_where_unsaid(arguments: argparse.Namespace, model: str | Path) -> Preprocessing | None:
    """For one of several files: the options count for those of other makers alone."""
    return preprocessing_from(arguments, model) if read_model_file(model).document is None else None


def values_text(values: Sequence[float]) -> str:
    """One number a channel, for people."""
    return "/".join(f"{value:.4g}" for value in values)


def how_prepared(preprocessing: Preprocessing) -> str:
    """A remark on a file of another maker."""
    (rows, columns), (height, width) = preprocessing.resized, preprocessing.size
    statistics = (preprocessing.mean, preprocessing.std)
    pixels = next((f"in {name}" for name, known in _RANGES.items() if known == statistics), None)
    pixels = pixels or "of mean {} and std {} in 0..1".format(*map(values_text, statistics))
    return (
        f"made by another tool: photos are resized to {columns}×{rows} ({preprocessing.mode}, "
        f"{preprocessing.interpolation}) and cropped to {width}×{height}, pixels {pixels}; "
        "--input-range, --mean, --std, --resize-mode and --resizer if that isn't what it was trained with"
    )
