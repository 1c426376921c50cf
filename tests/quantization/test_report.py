"""The report beside an int8 file: what it holds, what it is measured on, and the page made of it."""

from __future__ import annotations

import hashlib
import html.parser
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.networks import CLASSES, export_narrow, float_graph, inputs_of, narrow_state, photos

from edge_effnet.errors import MissingDependencyError, OutputError, UsageError
from edge_effnet.exporters import calibrated, candidate
from edge_effnet.exporters import report as module
from edge_effnet.formats import read_model_file
from edge_effnet.quantization.measure.layers import layer_sqnr
from edge_effnet.quantization.records import QuantizedGraph
from edge_effnet.quantization.report import held_out
from edge_effnet.quantization.report.held_out import compare_answers, wilson_interval
from edge_effnet.quantization.report.page import _held_out_tiles, render_page

pytestmark = pytest.mark.litert
LABELS = tuple("<abcde"[:CLASSES])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow B0 calibrated on 4 of 8 photos, with both kinds of report, twice; and without."""
    folder = tmp_path_factory.mktemp("report")
    for index, pixels in enumerate(photos(8)):
        (folder / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / "photos" / f"p{index}.png")
    for name, report in (("a", "a.html"), ("b", "b.html"), ("c", "c.json"), ("d", None)):
        export(folder / f"{name}.tflite", folder / "photos", report=report and folder / report)
    return folder


def export(path: Path, calibration: Any, *, variant: str = "b0", calibration_images: int = 4, **options: Any) -> Any:
    return export_narrow(
        narrow_state(variant),
        variant,
        path,
        precision="int8",
        image_size=32,
        labels=LABELS,
        calibration=calibration,
        calibration_images=calibration_images,
        **options,
    )


@pytest.fixture(scope="module")
def document(made: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made / "c.json").read_text(encoding="utf-8"))
    return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_file_is_the_same_with_and_without_and_the_page_is_the_same_twice(made: Path) -> None:
    assert len({digest(made / f"{name}.tflite") for name in "abcd"}) == 1
    assert digest(made / "a.html") == digest(made / "b.html")


def test_measured_on_photos_that_were_not_calibrated_on(
    made: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seed's order: the first 4 calibrate, the other 4 measure."""
    order = [
        sorted((made / "photos").iterdir(), key=str)[index].name for index in np.random.default_rng(0).permutation(8)
    ]
    assert [photo["name"] for photo in document["held_out"]["photos"]] == order[4:]
    assert document["held_out"]["note"] == "Measured on 4 photos not calibrated on."
    assert document["subject"]["calibration_images"] == 4
    monkeypatch.setattr(calibrated, "JUDGED", 2)
    export(made / "e.tflite", made / "photos", report=made / "e.json")
    assert [photo["name"] for photo in json.loads((made / "e.json").read_text())["held_out"]["photos"]] == order[4:6]


def test_what_it_says_about_the_photos(document: dict[str, Any]) -> None:
    found = document["held_out"]
    agreeing = sum(photo["agrees"] for photo in found["photos"])
    assert (found["images"], found["top1_agreement"]) == (4, agreeing / 4)
    assert found["agreement_interval"] == list(wilson_interval(agreeing, 4))
    assert found["drift"] == pytest.approx(np.mean([photo["kept"] - photo["float_score"] for photo in found["photos"]]))
    assert found["float_confidence"] == pytest.approx(np.mean([photo["float_score"] for photo in found["photos"]]))
    assert found["logit_sqnr_db"] > 0
    assert "litert" in found["engine"]
    shown = [
        (shown["outcome"]["agrees"], -abs(shown["outcome"]["kept"] - shown["outcome"]["float_score"]))
        for shown in found["worst"]
    ]
    assert len(shown) == 4
    assert shown == sorted(shown)
    assert all(shown["thumbnail"].startswith("data:image/jpeg;base64,") for shown in found["worst"])


def test_what_it_says_about_the_tensors(made: Path, document: dict[str, Any]) -> None:
    tensors = {tensor["name"]: tensor for tensor in document["tensors"]}
    assert sum(tensor["noise_share"] for tensor in tensors.values()) == pytest.approx(1, abs=1e-3)
    logits = document["tensors"][-1]
    assert (logits["low"], logits["high"], logits["channels"]) == (None, None, CLASSES)
    for tensor in tensors.values():
        assert len(tensor["channel_low"]) == len(tensor["channel_high"]) == tensor["channels"]
        assert tensor["reach"] >= 1 or tensor["observed_low"] == tensor["observed_high"]
        assert 0 <= tensor["clipped"] <= 1
        assert all(count >= 0 for count in tensor["histogram"])
        assert (tensor["bias_shift"] is None) == (tensor["kind"] not in ("Conv2D", "DepthwiseConv2D", "Dense"))
    assert any(tensor["before_swish"] for tensor in tensors.values())
    assert any(tensor["bias_shift"] for tensor in tensors.values())
    recorded = read_model_file(made / "c.tflite").document
    assert recorded is not None
    assert recorded.quantization is not None
    assert {lane["block"]: lane["widths"] for lane in document["lanes"]} == recorded.quantization["lanes"]
    assert document["subject"]["recipe"] == recorded.quantization["recipe"]
    assert document["equalised"]
    assert {item["name"] for item in document["equalised"]} <= set(tensors)


class Reader(html.parser.HTMLParser):
    """Open tags at the end, ids that stand twice, and everything that a page could load."""

    VOID = ("meta", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(str(value))
            if name in ("src", "href", "xlink:href"):
                self.loaded.append(str(value))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_asks_for_nothing(made: Path) -> None:
    page = (made / "a.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert all(value.startswith(("#", "data:image/jpeg;base64,")) for value in reader.loaded)
    assert "<script" not in page
    assert "url(http" not in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert "of 4 photos; 95 % interval" in reader.text
    assert not re.search(r"\b20\d\d-\d\d-\d\d", page)


def test_charts_take_the_pages_colours(made: Path) -> None:
    page = (made / "a.html").read_text(encoding="utf-8")
    assert page.count("<svg ") >= 8
    assert "fill: var(--main)" in page
    assert not re.search(r"#0[1-6]0[2-7]0[3-8]", page)


def test_a_small_folder_that_is_used_up_is_measured_with_a_warning(made: Path) -> None:
    report = export(made / "f.tflite", made / "photos", calibration_images=64, report=made / "f.json")
    found = json.loads((made / "f.json").read_text())
    assert report.document.quantization["calibration_images"] == found["subject"]["calibration_images"] == 8
    note = "the 8 photos calibrated on, too few to hold any out"
    assert found["held_out"]["note"] == f"Measured on {note}."
    assert found["subject"]["remarks"] == [f"Measured on {note}, so it may look better than it is."]
    assert report.document.quantization["held_out"]["photos"] == note
    export(made / "g.tflite", made / "photos", calibration_images=64)
    assert digest(made / "f.tflite") == digest(made / "g.tflite")


def test_of_a_larger_folder_an_eighth_is_held_out(tmp_path: Path) -> None:
    report = export(tmp_path / "m.tflite", photos(40), variant="lite0", calibration_images=64)
    assert report.document.quantization["calibration_images"] == 35
    assert report.document.quantization["held_out"]["photos"] == "5 photos held out of the calibration"


def test_an_evaluation_folder_judges(made: Path) -> None:
    for index, pixels in enumerate(photos(3, first=50)):
        folder = made / "others" / LABELS[index]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"p{index}.png")
    report = export(made / "h.tflite", made / "photos", evaluation=made / "others")
    found = report.document.quantization["held_out"]
    assert found["photos"] == "3 photos of the evaluation folder"
    assert 0 <= found["int8_top1"] <= 1
    assert any("right " in text and "3 photos of the evaluation folder" in text for text in report.remarks)


def test_one_photo_judges_itself(tmp_path: Path) -> None:
    export(tmp_path / "m.tflite", photos(1), variant="lite0", report=tmp_path / "m.json")
    export(tmp_path / "m.tflite", photos(1), variant="lite0", report=tmp_path / "m.html")
    found = json.loads((tmp_path / "m.json").read_text())
    assert found["held_out"]["images"] == 1
    assert "so it may look better than it is" in (tmp_path / "m.html").read_text()


@pytest.mark.onnx
def test_an_onnx_file_is_measured_as_such(tmp_path: Path) -> None:
    export(tmp_path / "m.onnx", photos(6), variant="lite0", report=tmp_path / "m.json")
    found = json.loads((tmp_path / "m.json").read_text())["held_out"]
    assert "onnxruntime" in found["engine"]
    assert [photo["name"] for photo in found["photos"]] == ["photo 1", "photo 2"]


def test_without_an_engine_it_is_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **_options: object) -> None:
        raise MissingDependencyError("no engine")

    export(tmp_path / "m.tflite", photos(6), variant="lite0", report=tmp_path / "a.json")
    monkeypatch.setattr(candidate, "open_session", missing)
    export(tmp_path / "m.tflite", photos(6), variant="lite0", report=tmp_path / "b.json")
    engine, simulated = (json.loads((tmp_path / f"{name}.json").read_text())["held_out"] for name in "ab")
    assert simulated["engine"] == "a simulation in numpy"
    for one, other in zip(engine["photos"], simulated["photos"], strict=True):
        assert one["float_score"] == pytest.approx(other["float_score"], abs=1e-5)
        assert one["kept"] == pytest.approx(other["kept"], abs=0.02)


@pytest.mark.parametrize(
    ("name", "precision", "error", "message"),
    [
        ("r.pdf", "int8", UsageError, r"r\.pdf ends in \.pdf; expected \.html or \.json"),
        ("r", "int8", UsageError, r"ends in nothing; expected \.html or \.json"),
        ("r.html", "fp16", UsageError, "a report is about int8, not fp16"),
        ("none/r.html", "int8", OutputError, "the folder .* does not exist"),
    ],
)
def test_what_cannot_be_written_is_noticed_first(
    tmp_path: Path, name: str, precision: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        export_narrow({}, "b0", tmp_path / "m.tflite", precision=precision, report=tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"needs matplotlib: pip install 'edge-effnet\[export\]'"):
        module.check_report(Path("r.html"), "int8")
    module.check_report(Path("r.json"), "int8")


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 0, 0, 1), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (50, 100, 0.4038, 0.5962)],
)
def test_wilson(hits: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(hits, trials) == pytest.approx((low, high), abs=1e-4)


def test_layers_of_an_unquantized_graph_are_exact() -> None:
    graph = float_graph(narrow_state("lite0"), "lite0")
    found = layer_sqnr(graph, QuantizedGraph(graph), inputs_of(graph, 1))
    assert set(found) == {node.name for node in graph.nodes}
    assert {(layer.local_db, layer.total_db) for layer in found.values()} == {(None, None)}


def test_names_are_escaped(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = '<img src="https://example.org/x" onerror="a">'
    monkeypatch.setattr(held_out, "_name", lambda *_: hostile)
    pages: list[str] = []

    def keep(report: Any) -> str:
        pages.append(render_page(report))
        return pages[0]

    monkeypatch.setattr("edge_effnet.quantization.report.page.render_page", keep)
    export(made / "h.tflite", made / "photos", report=made / "h.html")
    assert hostile not in pages[0]
    assert "&lt;img src=&quot;https://example.org/x" in pages[0]


def test_the_accuracy_where_folders_are_classes(tmp_path: Path) -> None:
    sources = [tmp_path / folder / f"{number}.png" for number, folder in enumerate(("Cat", "dog", "cat"))]
    right, wrong = np.float32([3, 0]), np.float32([0, 3])
    squares = [np.zeros((8, 8, 3), np.uint8)] * 3

    def compared(labels: tuple[str, ...] | None) -> Any:
        exact, rounded = np.stack([right, right, wrong]), np.stack([right, wrong, right])
        given: dict[str, Any] = {"sources": sources, "squares": squares, "engine": "none", "note": ""}
        return compare_answers(exact, rounded, labels=labels, **given)

    found, unnamed = compared(("cat", "dog")), compared(None)
    assert [photo.truth for photo in found.photos] == ["cat", "dog", "cat"]
    assert (found.float_top1, found.int8_top1) == (pytest.approx(1 / 3), 1.0)
    assert "right answers in int8" in "".join(what for _, what, _ in _held_out_tiles(found))
    assert unnamed.float_top1 is None
