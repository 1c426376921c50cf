"""The one call from a checkpoint to a model file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from edge_effnet.agreement import check_seed, check_sides
from edge_effnet.arguments import path_of
from edge_effnet.clashes import check_outputs
from edge_effnet.decoding import DEFAULT_RULES, ImageRules
from edge_effnet.errors import UsageError
from edge_effnet.exporters.calibrated import Photos, calibrate
from edge_effnet.exporters.inputs.open import open_network
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.max_drop import HELD_OUT_PHOTOS, check_held_out, keep_within
from edge_effnet.exporters.order import order_channels
from edge_effnet.exporters.outputs.emit import emit
from edge_effnet.exporters.outputs.ending import with_probabilities
from edge_effnet.exporters.report import check_report, report_on, write_report
from edge_effnet.exporters.settings import PreprocessingOptions
from edge_effnet.files import require_writable_folder, write_atomically
from edge_effnet.formats import read_model_file
from edge_effnet.framing import ResizeMode
from edge_effnet.heads import HeadKind, Output, decisions_of
from edge_effnet.images import look_through
from edge_effnet.labels import check_label_count, read_labels, remarks_on_labels
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.records import Network
from edge_effnet.preprocessing import Channels, Interpolation, Preprocessing, Resizer, Values
from edge_effnet.quantization.headroom import check_headroom
from edge_effnet.quantization.measure.calibration import CalibrationSet, CalibrationSource, draw_calibration_set
from edge_effnet.quantization.pipeline import quantize_weights_only
from edge_effnet.quantization.records import Progress, QuantizedGraph
from edge_effnet.quantization.refine import DEFAULT_MINUTES, check_refinement
from edge_effnet.version import __version__

Precision: TypeAlias = Literal["fp32", "fp16", "int8", "weight-int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class ExportReport:
    """What was written: the document inside the file, its size, and remarks worth a line on the screen."""

    path: Path
    size_bytes: int
    document: ModelDocument
    remarks: tuple[str, ...]


def export(
    checkpoint: Any,
    output: str | os.PathLike[str],
    *,
    precision: Precision = "fp32",
    source: str | None = None,
    variant: str | None = None,
    weights: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    padding_size: int | None = None,
    labels: Sequence[str] | str | os.PathLike[str] | None = None,
    head: HeadKind | None = None,
    head_activation: str | None = None,
    output_kind: Output = "logits",
    thresholds: tuple[float, ...] | None = None,
    mean: Values | None = None,
    std: Values | None = None,
    crop_pct: float | None = None,
    resize: int | None = None,
    interpolation: Interpolation | None = None,
    resize_mode: ResizeMode | None = None,
    resizer: Resizer | None = None,
    fill: tuple[int, int, int] | None = None,
    channels: Channels | None = None,
    calibration: CalibrationSource | None = None,
    calibration_images: int = 256,
    image_rules: ImageRules = DEFAULT_RULES,
    seed: int = 0,
    workers: int | None = None,
    refine: float = DEFAULT_MINUTES,
    max_drop: float | None = None,
    report: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes `output` (`.tflite` or `.onnx`, atomically) from trained weights.

    checkpoint: a `.safetensors`, `.pth`, `.pt`, `.ckpt`, `.bin` or `.pkl` path, an nn.Module or a state dict. weights:
    the key of the network to take where a file holds several. source: "timm", "timm-tf", "torchvision", "lukemelas" or
    a published model name; needed only where the tensors don't tell. image_size: the network's input, a side or
    (height, width), the variant's by default. padding_size: the size an efficientnet-pytorch model was built for.
    head: "softmax", "sigmoid" or "features", where what is found isn't meant; head_activation: between linear layers,
    which a state dict doesn't say. output_kind: "probabilities" for a file that ends in softmax or sigmoid itself.
    labels: names or the path of a file with one a line. calibration: photos for int8, a folder or a sequence.
    image_rules: which of them are decoded; the others are left out, with a remark. workers: how many are decoded at a
    time, by default as many as there are cores.
    refine: minutes of two idle cores that int8's rounding, biases and ranges are learned for on the calibration photos;
    Ctrl-C ends it with what was reached; 0 leaves it out.
    max_drop: points of accuracy that int8 may lose (of agreement with float, where the photos' folders are no labels);
    parts of blocks go back to float32 until it holds. report: a `.html` or `.json` file to write beside it, on what
    int8 did; measured on photos not calibrated on, before either file is written.
    The same arguments give the same bytes. Raises EdgeEffnetError's leaves; nothing is written then.
    """
    path = path_of(output, "output")
    _check_output(path, precision)
    check_outputs({"output": path, "report": report}, _inputs(checkpoint, labels, calibration))
    require_writable_folder(path)
    _check_int8_options(precision, refine, max_drop, report)
    check_seed(seed)
    if output_kind == "probabilities" and precision == "int8":
        raise UsageError("int8 files give logits; probabilities go with fp32, fp16 and weight-int8")
    options = InputOptions(
        source=source,
        variant=variant,
        weights=weights,
        image_size=(image_size, image_size) if isinstance(image_size, int) else image_size,
        padding_size=padding_size,
        head=head,
        head_activation=head_activation,
        output=output_kind,
        thresholds=thresholds,
        labels=read_labels(labels) if isinstance(labels, (str, os.PathLike)) else labels,
        preprocessing=PreprocessingOptions(
            mean, std, crop_pct, resize, interpolation, resize_mode, resizer, fill, channels
        ),
    )
    network = open_network(checkpoint, options)
    check_sides(network.preprocessing)
    document = _document(network, precision)
    graph, remarks = order_channels(network.graph), network.remarks
    found = None
    if precision == "int8":
        drawn = _drawn(
            calibration,
            document.preprocessing,
            limit=calibration_images,
            seed=seed,
            rules=image_rules,
            workers=workers,
            progress=progress,
        )
        photos = Photos(drawn, seed)
        if max_drop is not None:
            check_held_out(photos)
        made = calibrate(graph, document, path.suffix, photos=photos, progress=progress)
        made = made.refined(refine, progress=progress)
        remarks = (*remarks, *([made.refinement.sentence()] if made.refinement else []))
        if max_drop is not None:
            made, reached = keep_within(made, max_drop, progress=progress)
            remarks = (*remarks, reached)
        check_headroom(made.quantized)
        data = made.emit(made.quantized)
        if report is not None:
            found = report_on(made, skip=0 if max_drop is None else HELD_OUT_PHOTOS, progress=progress)
        remarks = (*remarks, *(f"left out a calibration photo: {reason}" for reason in photos.drawn.broken))
        remarks = (*remarks, *_left_out(calibration))
    else:
        graph = with_probabilities(graph, network.head)
        quantized = quantize_weights_only(graph) if precision == "weight-int8" else QuantizedGraph(graph)
        data = emit(quantized, replace(document, quantization=quantized.summary), path.suffix)
    written = read_model_file(data, name=str(path)).document or document
    write_atomically(path, data)
    if report is not None and found is not None:
        write_report(Path(report), found)
    return ExportReport(path, len(data), written, (*remarks, *remarks_on_labels(network.labels)))


def _inputs(checkpoint: Any, labels: Any, calibration: Any) -> dict[str, Any]:
    """What is read, by the name a message gives it."""
    beside = Path(checkpoint).with_name("config.json") if isinstance(checkpoint, (str, Path)) else None
    return {
        "the checkpoint": checkpoint,
        "the configuration beside the checkpoint": beside,
        "the file of labels": labels,
        "a calibration photo": calibration,
    }


def _left_out(calibration: Any) -> tuple[str, ...]:
    """What of a calibration folder isn't read, and what would read it."""
    folder = Path(calibration) if isinstance(calibration, (str, os.PathLike)) else None
    found = look_through(folder).remark if folder is not None else None
    return () if found is None else (f"{folder}: {found}",)


def _check_output(path: Path, precision: str) -> None:
    if path.suffix not in (".tflite", ".onnx"):
        raise UsageError(f"output {path} ends in {path.suffix or 'nothing'}; expected .tflite or .onnx")
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is unknown; expected one of {', '.join(PRECISIONS)}")


def _check_int8_options(
    precision: str,
    refine: float,
    max_drop: float | None,
    report: str | os.PathLike[str] | None,
) -> None:
    """Raises, before minutes of work, what is wrong with the options that go with int8."""
    if precision == "int8" and refine:
        check_refinement(refine)
    if max_drop is not None and (precision != "int8" or not 0 <= max_drop <= 100):
        raise UsageError(f"--max-drop {max_drop} goes with --precision int8 and is a number of points, 0 to 100")
    if report is not None:
        check_report(Path(report), precision)


def _drawn(calibration: CalibrationSource | None, preprocessing: Preprocessing, **how: Any) -> CalibrationSet:
    """how: `draw_calibration_set`'s options."""
    if calibration is None:
        raise UsageError(
            "int8 needs photos to calibrate on: --calibration DIR, a few hundred like those the model will see, no "
            "labels needed"
        )
    return draw_calibration_set(calibration, preprocessing, **how)


def _document(network: Network, precision: str) -> ModelDocument:
    labels, outputs = network.labels, network.output_size
    return ModelDocument(
        variant=network.architecture or "network",
        image_size=network.preprocessing.crop,
        num_classes=outputs,
        labels=None
        if labels is None
        else check_label_count(labels, decisions_of(network.head, outputs, labels), source="labels"),
        preprocessing=network.preprocessing,
        precision=precision,
        source=network.origin.to_dict(),
        created_by=f"edge-effnet {__version__}",
        head=network.head,
    )
