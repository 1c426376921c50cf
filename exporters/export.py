"""The one call from a trained network, in whatever form it lies, to a model file."""

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
from edge_effnet.exporters.bounds import check_fits
from edge_effnet.exporters.inputs.open import files_beside, open_network
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.int8 import Int8, Int8Options, make_int8
from edge_effnet.exporters.judging import made_up_squares, verify
from edge_effnet.exporters.order import order_channels
from edge_effnet.exporters.outputs.emit import emit
from edge_effnet.exporters.outputs.ending import with_probabilities
from edge_effnet.exporters.report import check_report, write_report
from edge_effnet.exporters.settings import PreprocessingOptions
from edge_effnet.files import require_writable_folder, write_atomically
from edge_effnet.formats import read_model_file
from edge_effnet.framing import ResizeMode
from edge_effnet.heads import HeadKind, Output, decisions_of
from edge_effnet.images import look_through
from edge_effnet.label_files import read_labels
from edge_effnet.labels import check_label_count, remarks_on_labels
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.graph import Graph
from edge_effnet.network.records import Network
from edge_effnet.preprocessing import Channels, Interpolation, Resizer, Values
from edge_effnet.quantization.measure.calibration import CalibrationSource
from edge_effnet.quantization.pipeline import quantize_weights_only
from edge_effnet.quantization.records import Progress, QuantizedGraph
from edge_effnet.quantization.refine import DEFAULT_MINUTES, check_refinement
from edge_effnet.version import __version__

Precision: TypeAlias = Literal["fp32", "fp16", "int8", "weight-int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Verification: TypeAlias = Literal["on a few photos", "none"]


@dataclass(frozen=True)
class ExportReport:
    """What was written: the document inside the file, its size, and remarks worth a line on the screen."""

    path: Path
    size_bytes: int
    document: ModelDocument
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What `export` may be told, by these names.

    source: "timm", "timm-tf", "torchvision", "lukemelas" or a published model name; needed only where the tensors don't
    tell. weights: the key of the network to take where a file holds several. image_size: the network's input, a side or
    (height, width), the variant's by default. padding_size: the size an efficientnet-pytorch model was built for.
    head: "softmax", "sigmoid" or "features", where what is found isn't meant; head_activation: between linear layers,
    which a state dict doesn't say. output_kind: "probabilities" for a file that ends in softmax or sigmoid itself.
    labels: names or the path of a file with one a line.

    For int8: calibration: photos, a folder or a sequence, of which `calibration_images` are drawn by `seed`;
    image_rules: which of them are decoded, the others are left out with a remark; workers: how many at a time, by
    default as many as there are cores. evaluation: a folder of photos to judge int8 by; without one, photos that
    weren't calibrated on. refine: minutes of two idle cores that rounding, biases and ranges are learned for; Ctrl-C
    ends it with what was reached; 0 leaves it out. max_drop: points of accuracy that int8 may lose (of agreement with
    float, where the photos' folders are no labels); parts of blocks go back to float32 until it holds. report: a
    `.html` or `.json` file to write beside it, on what int8 did.
    verification: the file is run on a few photos before it is kept, and refused where it isn't near the network.
    """

    precision: Precision = "fp32"
    source: str | None = None
    variant: str | None = None
    weights: str | None = None
    image_size: int | tuple[int, int] | None = None
    padding_size: int | None = None
    labels: Sequence[str] | str | os.PathLike[str] | None = None
    head: HeadKind | None = None
    head_activation: str | None = None
    output_kind: Output = "logits"
    thresholds: tuple[float, ...] | None = None
    mean: Values | None = None
    std: Values | None = None
    crop_pct: float | None = None
    resize: int | None = None
    interpolation: Interpolation | None = None
    resize_mode: ResizeMode | None = None
    resizer: Resizer | None = None
    fill: tuple[int, int, int] | None = None
    channels: Channels | None = None
    calibration: CalibrationSource | None = None
    calibration_images: int = 256
    evaluation: str | os.PathLike[str] | None = None
    image_rules: ImageRules = DEFAULT_RULES
    seed: int = 0
    workers: int | None = None
    refine: float = DEFAULT_MINUTES
    max_drop: float | None = None
    report: str | os.PathLike[str] | None = None
    verification: Verification = "on a few photos"
    progress: Progress | None = None

    def of_input(self) -> InputOptions:
        """What the input's reader is told."""
        side = self.image_size
        return InputOptions(
            source=self.source,
            variant=self.variant,
            weights=self.weights,
            image_size=(side, side) if isinstance(side, int) else side,
            padding_size=self.padding_size,
            head=self.head,
            head_activation=self.head_activation,
            output=self.output_kind,
            thresholds=self.thresholds,
            labels=read_labels(self.labels) if isinstance(self.labels, (str, os.PathLike)) else self.labels,
            preprocessing=PreprocessingOptions(
                self.mean,
                self.std,
                self.crop_pct,
                self.resize,
                self.interpolation,
                self.resize_mode,
                self.resizer,
                self.fill,
                self.channels,
            ),
        )

    def of_int8(self) -> Int8Options | None:
        """What an int8 export is told; None for another precision. Raises UsageError for what goes with int8 alone."""
        if self.precision == "int8":
            return Int8Options(
                self.calibration,
                self.calibration_images,
                self.evaluation,
                self.seed,
                self.refine,
                self.max_drop,
                rules=self.image_rules,
                workers=self.workers,
            )
        if self.max_drop is not None:
            raise UsageError(f"--max-drop goes with --precision int8; it has no effect on {self.precision}")
        return None


def export(checkpoint: Any, output: str | os.PathLike[str], **options: Any) -> ExportReport:
    """Writes `output` (`.tflite` or `.onnx`, atomically) from a trained network.

    checkpoint: a path of any form that `inputs.open` knows, "hf-hub:OWNER/NAME", "torchvision:NAME", an nn.Module or a
    state dict. options: the fields of `ExportOptions`. The same arguments give the same bytes. Raises EdgeEffnetError's
    leaves, TypeError for an option that there isn't; nothing is written then.
    """
    told, path = ExportOptions(**options), path_of(output, "output")
    _check(path, told, checkpoint)
    int8_options = told.of_int8()
    if int8_options is not None and int8_options.minutes:
        check_refinement(int8_options.minutes)
    network = open_network(checkpoint, told.of_input())
    check_sides(network.preprocessing)
    check_fits(network.graph, told.precision, path.suffix)
    document, graph = document_of(network, told.precision), order_channels(network.graph)
    int8, remarks = None, network.remarks
    if int8_options is not None:
        wanted = told.report is not None
        int8 = make_int8(graph, document, path.suffix, options=int8_options, with_report=wanted, progress=told.progress)
        quantized, document = int8.made.quantized, int8.made.document
        remarks = (*remarks, *int8.remarks, *_left_out(told.calibration))
    else:
        quantized = quantize_weights_only(graph) if told.precision == "weight-int8" else QuantizedGraph(graph)
        document = replace(document, quantization=quantized.summary)
    quantized = replace(quantized, graph=with_probabilities(quantized.graph, network.head))
    if told.verification == "on a few photos":
        document = _verified(with_probabilities(graph, network.head), quantized, document, path.suffix, int8)
    data = emit(quantized, document, path.suffix)
    written = read_model_file(data, name=str(path)).document or document
    write_atomically(path, data)
    if told.report is not None and int8 is not None and int8.report is not None:
        write_report(Path(told.report), int8.report)
    return ExportReport(path, len(data), written, (*remarks, *remarks_on_labels(network.labels)))


def _check(path: Path, told: ExportOptions, checkpoint: Any) -> None:
    """Raises, before minutes of work, what would keep the files from being written."""
    if path.suffix not in (".tflite", ".onnx"):
        raise UsageError(f"output {path} ends in {path.suffix or 'nothing'}; expected .tflite or .onnx")
    if told.precision not in PRECISIONS:
        raise UsageError(f"precision {told.precision!r} is unknown; expected one of {', '.join(PRECISIONS)}")
    check_outputs({"output": path, "report": told.report}, _inputs(checkpoint, told))
    require_writable_folder(path)
    check_seed(told.seed)
    if told.report is not None:
        check_report(Path(told.report), told.precision)


def _inputs(checkpoint: Any, told: ExportOptions) -> dict[str, Any]:
    """What is read, by the name a message gives it."""
    return {
        "the checkpoint": checkpoint,
        "a file that belongs to the checkpoint": files_beside(checkpoint),
        "the file of labels": told.labels,
        "a calibration photo": told.calibration,
        "an evaluation photo": told.evaluation,
    }


def _left_out(calibration: Any) -> tuple[str, ...]:
    """What of a calibration folder isn't read, and what would read it."""
    folder = Path(calibration) if isinstance(calibration, (str, os.PathLike)) else None
    found = look_through(folder).remark if folder is not None else None
    return () if found is None else (f"{folder}: {found}",)


def _verified(
    graph: Graph, quantized: QuantizedGraph, document: ModelDocument, ending: str, int8: Int8 | None
) -> ModelDocument:
    """The document with how near the file comes to the float graph; raises EngineError where that isn't near enough."""
    found = verify(
        emit(quantized, document, ending),
        graph,
        int8.made.photos.judged if int8 else made_up_squares(document.preprocessing),
        ending=ending,
        preprocessing=document.preprocessing,
        exact=document.precision == "fp32",
    )
    return document if found is None else replace(document, extra={**document.extra, "verified": found})


def document_of(network: Network, precision: str) -> ModelDocument:
    """What the file will say of the network. Raises LabelError for labels of another number."""
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
