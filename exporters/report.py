"""The report beside an exported file: which photos it may measure on, what runs the two models, and what is written."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edge_effnet.classifier import Classifier
from edge_effnet.errors import MissingDependencyError, SlowEngineWarning, UsageError
from edge_effnet.exporters.calibrated import Calibrated
from edge_effnet.files import require_writable_folder, temporary_folder, write_atomically
from edge_effnet.network.execute import execute
from edge_effnet.quantization.measure.calibration import CalibrationSet
from edge_effnet.quantization.measure.layers import layer_sqnr
from edge_effnet.quantization.measure.simulate import simulate
from edge_effnet.quantization.pixels import network_input
from edge_effnet.quantization.records import Progress, QuantizedGraph
from edge_effnet.quantization.report.charts import require_matplotlib
from edge_effnet.quantization.report.held_out import Contestants, HeldOut, Logits, measure_held_out
from edge_effnet.quantization.report.summary import QuantizationReport, Subject, make_report
from edge_effnet.text import json_text

#: Photos that are measured on, and those of them on which every tensor is looked at.
_HELD_OUT, _LAYER_PHOTOS = 64, 8


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


def report_on(made: Calibrated, *, skip: int = 0, progress: Progress | None = None) -> QuantizationReport:
    """Measured on photos that weren't calibrated on; where the source has no more, on a quarter held out from a twin.

    skip: photos after those that had a say in the file.
    """
    photos = made.photos.drawn
    held_out = made.photos.further(_HELD_OUT, skip=skip)
    quantized: QuantizedGraph = made.quantized
    remarks: tuple[str, ...] = ()
    note = f"Measured on {len(held_out)} photos of the calibration source that were not calibrated on."
    seen = held_out
    if not len(held_out):
        kept, seen, remarks = _without_further(photos), photos, _remarks(len(photos))
        held_out = photos.subset(slice(kept, None))
        quantized = made.requantize(photos.subset(slice(0, kept))) if len(held_out) else quantized
        note = f"Measured on {len(held_out)} photos, by a twin calibrated on the other {kept}."
    image = made.quantized.activations[made.quantized.graph.input_name]
    inputs = (network_input(pixels, image) for pixels in seen.subset(slice(0, _LAYER_PHOTOS)))
    sqnr = layer_sqnr(made.trace.graph, made.quantized, inputs)
    found = _measure(made, quantized, held_out, note, progress) if len(held_out) else None
    return make_report(_subject(made, remarks), made.quantized, made.trace, sqnr, found)


def _without_further(photos: CalibrationSet) -> int:
    """How many photos a twin is calibrated on; the rest, a quarter, is held out. One photo can't be split."""
    return len(photos) - (max(1, len(photos) // 4) if len(photos) > 1 else 0)


def _remarks(photos: int) -> tuple[str, ...]:
    layers = "The figures of single tensors come from photos calibrated on."
    if photos == 1:
        return (f"There is only one photo, so nothing could be held out. {layers}",)
    return (
        f"All {photos} photos went into the file's calibration, so a twin, calibrated on three quarters of them, is "
        f"measured here. {layers}",
    )


def _subject(made: Calibrated, remarks: tuple[str, ...]) -> Subject:
    document, summary = made.document, made.quantized.summary or {}
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


def _measure(
    made: Calibrated, quantized: QuantizedGraph, held_out: CalibrationSet, note: str, progress: Progress | None
) -> HeldOut:
    with _logits(made, quantized) as (float_logits, int8_logits, engine):
        models = Contestants(
            float_logits, int8_logits, engine, made.document.labels, held_out.preprocessing, held_out.rules
        )
        total = len(held_out)
        return measure_held_out(
            models,
            held_out.sources,
            note=note,
            told=None if progress is None else lambda done: progress("report", done, total),
        )


@contextmanager
def _logits(made: Calibrated, quantized: QuantizedGraph) -> Iterator[tuple[Logits, Logits, str]]:
    """The two files in the engine that will run them, or the simulation where that isn't installed."""
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore", SlowEngineWarning)
        folder = stack.enter_context(temporary_folder())
        try:
            first, second = (
                stack.enter_context(_open(folder / f"{name}{made.ending}", made.emit(graph)))
                for name, graph in (("float", QuantizedGraph(made.graph)), ("int8", quantized))
            )
        except MissingDependencyError:
            yield (*_simulated(made, quantized), "a simulation in numpy")
        else:
            yield first.logits, second.logits, second.engine_version


def _open(path: Path, data: bytes) -> Classifier:
    write_atomically(path, data)
    return Classifier(path, threads=1)


def _simulated(made: Calibrated, quantized: QuantizedGraph) -> tuple[Logits, Logits]:
    image, preprocessing = quantized.activations[quantized.graph.input_name], made.document.preprocessing
    return (
        lambda photo: execute(made.graph, preprocessing.normalise(preprocessing.pixels(photo))[None])[0],
        lambda photo: simulate(quantized, network_input(preprocessing.pixels(photo), image))[0],
    )
