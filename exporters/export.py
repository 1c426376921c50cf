"""The one call from a checkpoint to a model file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from edge_effnet.clashes import check_outputs
from edge_effnet.decoding import DEFAULT_RULES, ImageRules
from edge_effnet.errors import UsageError
from edge_effnet.exporters.candidate import Squares
from edge_effnet.exporters.families.build import build_graph
from edge_effnet.exporters.families.identify import Identified, identify
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.exporters.int8 import Int8Options, make_int8
from edge_effnet.exporters.judging import made_up_squares, verify
from edge_effnet.exporters.order import order_channels
from edge_effnet.exporters.outputs.emit import emit
from edge_effnet.exporters.report import check_report, write_report
from edge_effnet.exporters.settings import PreprocessingOptions, resolve_preprocessing
from edge_effnet.files import require_writable_folder, write_atomically
from edge_effnet.formats import read_model_file
from edge_effnet.images import look_through
from edge_effnet.labels import check_label_count, read_labels
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.graph import Graph
from edge_effnet.preprocessing import Interpolation, Preprocessing, Triple
from edge_effnet.quantization.measure.calibration import CalibrationSource
from edge_effnet.quantization.pipeline import quantize_weights_only
from edge_effnet.quantization.records import Progress, QuantizedGraph
from edge_effnet.quantization.refine import DEFAULT_MINUTES
from edge_effnet.version import __version__

Verification: TypeAlias = Literal["on a few photos", "none"]
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
    image_size: int | None = None,
    padding_size: int | None = None,
    labels: Sequence[str] | str | os.PathLike[str] | None = None,
    mean: Triple | None = None,
    std: Triple | None = None,
    crop_pct: float | None = None,
    resize: int | None = None,
    interpolation: Interpolation | None = None,
    calibration: CalibrationSource | None = None,
    calibration_images: int = 256,
    image_rules: ImageRules = DEFAULT_RULES,
    evaluation: str | os.PathLike[str] | None = None,
    seed: int = 0,
    workers: int | None = None,
    refine: float | None = DEFAULT_MINUTES,
    max_drop: float | None = None,
    report: str | os.PathLike[str] | None = None,
    verification: Verification = "on a few photos",
    progress: Progress | None = None,
) -> ExportReport:
    """Writes `output` (`.tflite` or `.onnx`, atomically) from trained weights.

    checkpoint: a `.safetensors`, `.pth`, `.pt`, `.ckpt`, `.bin` or `.pkl` path, an nn.Module or a state dict. weights:
    the key of the network to take where a file holds several. source: "timm", "timm-tf",
    "torchvision", "lukemelas" or a published model name; needed only where the tensors don't tell. image_size: the
    network's input, the variant's by default. padding_size: the size an efficientnet-pytorch model was built for.
    labels: names or the path of a file with one a line. calibration: photos for int8, a folder or a sequence.
    image_rules: which of them are decoded; the others are left out, with a remark. workers: how many are decoded at a
    time, by default as many as there are cores.
    evaluation: a folder that int8 is judged by; without one, photos that weren't calibrated on.
    refine: minutes of learned refinement on two idle cores, None for none.
    verification: the file is run on a few photos before it is kept, and refused where it isn't near the float network.
    max_drop: points of accuracy that int8 may lose (of agreement with float, where the photos' folders are no labels);
    parts of blocks go back to float32 until it holds. report: a `.html` or `.json` file to write beside it, on what
    int8 did; measured on photos not calibrated on, before either file is written.
    The same arguments give the same bytes. Raises EdgeEffnetError's leaves; nothing is written then.
    """
    path = Path(output)
    _check_output(path, precision)
    check_outputs({"output": path, "report": report}, _inputs(checkpoint, labels, calibration))
    require_writable_folder(path)
    _check_int8_options(precision, calibration=calibration, evaluation=evaluation, max_drop=max_drop, report=report)
    given = None
    if precision == "int8":
        given = Int8Options(
            calibration, calibration_images, evaluation, seed, refine, max_drop, rules=image_rules, workers=workers
        )
    options = PreprocessingOptions(mean, std, crop_pct, resize, interpolation)
    names = read_labels(labels) if isinstance(labels, (str, os.PathLike)) else labels
    loaded = load_checkpoint(checkpoint, weights=weights)
    model = identify(loaded, source=source, variant=variant)
    size = image_size or model.dialect.native_image_size(model.variant)
    preprocessing = resolve_preprocessing(model, image_size=size, options=options)
    document = _document(model, preprocessing, labels=names, precision=precision, sha256=loaded.sha256)
    graph, remarks = _float_graph(model, size, padding_size)
    int8 = None
    if given is not None:
        wanted = report is not None
        int8 = make_int8(graph, document, path.suffix, options=given, with_report=wanted, progress=progress)
        quantized, document = int8.made.quantized, int8.made.document
        remarks = (*remarks, *int8.remarks, *_left_out(calibration))
    else:
        quantized = quantize_weights_only(graph) if precision == "weight-int8" else QuantizedGraph(graph)
        document = replace(document, quantization=quantized.summary)
    if verification == "on a few photos":
        squares = int8.made.photos.judged if int8 else made_up_squares(document.preprocessing)
        document = _verified(graph, quantized, document, path.suffix, squares)
    data = emit(quantized, document, path.suffix)
    written = read_model_file(data, name=str(path)).document or document
    write_atomically(path, data)
    if report is not None and int8 is not None and int8.report is not None:
        write_report(Path(report), int8.report)
    return ExportReport(path, len(data), written, (*loaded.remarks, *remarks))


def _verified(
    graph: Graph, quantized: QuantizedGraph, document: ModelDocument, ending: str, squares: Squares
) -> ModelDocument:
    """The document with how near the file comes to the float graph; raises EngineError where that isn't near enough."""
    found = verify(
        emit(quantized, document, ending),
        graph,
        squares,
        ending=ending,
        preprocessing=document.preprocessing,
        exact=document.precision == "fp32",
    )
    return document if found is None else replace(document, extra={**document.extra, "verified": found})


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


def _check_int8_options(precision: str, *, report: str | os.PathLike[str] | None, **others: Any) -> None:
    """Raises, before minutes of work, what is wrong with the options that go with int8."""
    for name, value in others.items():
        if value is not None and precision != "int8":
            raise UsageError(f"--{name.replace('_', '-')} goes with --precision int8; it has no effect on {precision}")
    if report is not None:
        check_report(Path(report), precision)


def _float_graph(model: Identified, size: int, padding_size: int | None) -> tuple[Graph, tuple[str, ...]]:
    native = padding_size or model.built_for or model.dialect.native_image_size(model.variant)
    graph = order_channels(build_graph(model, image_size=size, built_for=native))
    if padding_size is not None and model.dialect.padding != "same-baked":
        raise UsageError(
            f"--padding-size {padding_size} has no effect on weights of {model.dialect.name}; it is for "
            "efficientnet-pytorch's (lukemelas)"
        )
    if model.dialect.padding == "same-baked" and size != native:
        return graph, (
            f"padding as built for {native} px, as efficientnet-pytorch does at another size; --padding-size if it "
            "was built for another",
        )
    return graph, ()


def _document(
    model: Identified, preprocessing: Preprocessing, *, labels: Sequence[str] | None, precision: Precision, sha256: str
) -> ModelDocument:
    return ModelDocument(
        variant=model.variant.name,
        image_size=preprocessing.crop,
        num_classes=model.num_classes,
        labels=None if labels is None else check_label_count(labels, model.num_classes, source="labels"),
        preprocessing=preprocessing,
        precision=precision,
        source={
            "dialect": model.dialect.name,
            "sha256": sha256,
            "padding": model.dialect.padding,
            "bn_eps": model.bn_eps,
        },
        created_by=f"edge-effnet {__version__}",
    )
