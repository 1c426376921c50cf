"""The report beside an exported file: which photos it may measure on, what runs the two models, and what is written."""

from __future__ import annotations

from pathlib import Path

from edge_effnet.errors import UsageError
from edge_effnet.exporters.calibrated import Calibrated
from edge_effnet.exporters.candidate import Answers
from edge_effnet.exporters.judging import Judgement, logits_of
from edge_effnet.files import require_writable_folder, write_atomically
from edge_effnet.quantization.measure.layers import layer_sqnr
from edge_effnet.quantization.pixels import network_input
from edge_effnet.quantization.report.charts import require_matplotlib
from edge_effnet.quantization.report.held_out import compare_answers
from edge_effnet.quantization.report.summary import QuantizationReport, Subject, make_report
from edge_effnet.text import json_text

#: Photos on which every tensor is looked at.
_LAYER_PHOTOS = 8


def check_report(path: Path, precision: str) -> None:
    """Raises, before minutes of work, what would keep the report from being written."""
    if path.suffix not in (".html", ".json"):
        raise UsageError(f"report {path} ends in {path.suffix or 'nothing'}; expected .html or .json")
    if precision != "int8":
        raise UsageError(f"a report is about int8, not {precision}: leave --report out, or say --precision int8")
    require_writable_folder(path)
    if path.suffix == ".html":
        require_matplotlib()


def write_report(path: Path, report: QuantizationReport) -> None:
    """As the ending says: one HTML page, or the same as JSON."""
    if path.suffix == ".html":
        from edge_effnet.quantization.report.page import render_page

        text = render_page(report)
    else:
        text = json_text(report.to_dict()) + "\n"
    write_atomically(path, text.encode())


def report_on(made: Calibrated, judgement: Judgement, exact: Answers, rounded: Answers) -> QuantizationReport:
    """From what the stages found and what both networks answered for the photos that `made` is judged by."""
    photos = made.photos
    image = made.quantized.activations[made.quantized.graph.input_name]
    inputs = (network_input(pixels, image) for pixels in photos.judged.subset(slice(0, _LAYER_PHOTOS)))
    sqnr = layer_sqnr(made.trace.graph, made.quantized, inputs)
    head = logits_of(made.document.head)
    found = (
        compare_answers(
            exact.logits,
            rounded.logits,
            head=head,
            sources=photos.judged.sources,
            squares=photos.judged.squares,
            labels=made.document.labels,
            engine=judgement.engine,
            note=f"Measured on {photos.note}.",
        )
        if head.has_classes
        else None
    )
    return make_report(_subject(made), made.quantized, made.trace, sqnr, found)


def _subject(made: Calibrated) -> Subject:
    document, summary = made.document, made.quantized.summary or {}
    remarks = () if made.photos.fresh else (f"Measured on {made.photos.note}, so it may look better than it is.",)
    return Subject(
        variant=document.variant,
        image_size=document.size_text,
        num_classes=document.num_classes,
        calibration_images=len(made.photos.drawn),
        seed=made.photos.seed,
        recipe=summary.get("recipe", {}),
        float_tensors=tuple(summary.get("float_tensors", ())),
        created_by=document.created_by,
        remarks=remarks,
    )
