"""What files of other makers say themselves of how photos are prepared."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import foreign
from support.networks import SIZE, export_narrow, narrow_state
from test_foreign_files import COLOUR, LOGITS, PHOTO

from edge_effnet import Classifier
from edge_effnet.cli.main import main
from edge_effnet.exporters.inputs.open import open_network
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.foreign import input_size, preparation_of
from edge_effnet.formats import read_model_file
from edge_effnet.formats.official import statistics_in
from edge_effnet.formats.packed import DOCUMENT_NAME

pytestmark = [
    pytest.mark.litert,
    pytest.mark.onnx,
    pytest.mark.filterwarnings("ignore::edge_effnet.errors.UnverifiedModelWarning"),
]


@pytest.fixture(scope="module")
def with_metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float file with official metadata and packed labels, and without this project's document."""
    folder = tmp_path_factory.mktemp("foreign")
    export_narrow(narrow_state("b0"), "b0", folder / "ours.tflite", labels=list("abcde"), verification="none")
    data = (folder / "ours.tflite").read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        start = min(item.header_offset for item in packed.infolist())
        others = {name: packed.read(name) for name in packed.namelist() if name != DOCUMENT_NAME}
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as archive:
        for name, content in others.items():
            archive.writestr(name, content)
    (folder / "foreign.tflite").write_bytes(data[:start] + kept.getvalue())
    return folder / "foreign.tflite"


def test_official_metadata_and_packed_labels(with_metadata: Path) -> None:
    with Classifier(with_metadata) as classifier:
        found = classifier.preprocessing
        assert classifier.labels == tuple("abcde")
    assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (found.crop, found.mode, found.resizer, found.interpolation) == (SIZE, "squash", "opencv", "bilinear")


def test_export_takes_the_same_preparation(with_metadata: Path) -> None:
    network = open_network(with_metadata, InputOptions())
    assert network.preprocessing == preparation_of(read_model_file(with_metadata))
    assert any("metadata" in remark for remark in network.remarks)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_the_scale_of_an_integer_input(tmp_path: Path, dtype: str) -> None:
    """1/128 a step around 0: from -1 to just below 1, so pixel 255 is what -1..1 would make 1."""
    path = foreign.tflite(tmp_path / "m.tflite", dtype=dtype)
    found = preparation_of(read_model_file(path))
    assert found is not None
    np.testing.assert_allclose((found.mean[0], found.std[0]), (128 / 255, 128 / 255))
    with Classifier(path) as classifier:
        np.testing.assert_allclose(classifier.logits(PHOTO), LOGITS, atol=4 * foreign.OUTPUT_SCALE)


def test_bytes_without_a_scale_are_pixels(tmp_path: Path) -> None:
    with Classifier(foreign.onnx(tmp_path / "m.onnx", uint8=True)) as classifier:
        np.testing.assert_allclose(classifier.logits(PHOTO), foreign.WEIGHTS @ np.array(COLOUR), rtol=1e-5)


@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_floats_without_metadata_say_nothing(tmp_path: Path, ending: str) -> None:
    file = read_model_file(getattr(foreign, ending)(tmp_path / f"m.{ending}"))
    assert preparation_of(file) is None
    assert input_size(file) == (foreign.SIZE, foreign.SIZE)


@pytest.mark.parametrize("buffer", [b"", b"\x00" * 8, b"\x10\x00\x00\x00M002" + b"\x00" * 16])
def test_metadata_of_another_kind_say_nothing(buffer: bytes) -> None:
    assert statistics_in(memoryview(buffer), name="m") is None


class TestCommandLine:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return foreign.tflite(tmp_path / "m.tflite")

    @pytest.fixture
    def photo(self, tmp_path: Path) -> Path:
        PHOTO.save(tmp_path / "photo.png")
        return tmp_path / "photo.png"

    @pytest.mark.parametrize(("said", "low", "high"), [("0..255", 0, 255), ("0..1", 0, 1), ("-1..1", -1, 1)])
    def test_the_size_is_the_files_own(
        self, path: Path, photo: Path, said: str, low: int, high: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["predict", str(photo), "--model", str(path), f"--input-range={said}", "--top-k", "3"]
        assert main([*words, "--format", "json"]) == 0
        written = capsys.readouterr()
        logits = foreign.WEIGHTS @ (np.array(COLOUR) / 255 * (high - low) + low)
        scores = {item["index"]: item["score"] for item in json.loads(written.out)[0]["predictions"]}
        np.testing.assert_allclose(
            [scores[index] for index in range(3)], np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum(),
            atol=1e-4,
        )  # fmt: skip
        assert f"resized to {foreign.SIZE}×{foreign.SIZE}" in written.err

    def compared(self, *words: Any, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
        assert main(["compare", *map(str, words), "--format", "json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    def test_a_softmax_of_its_own_is_compared_by_its_logarithm(
        self, path: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = foreign.tflite(tmp_path / "softmax.tflite", softmax=True)
        found = self.compared(path, other, photo.parent, "--input-range=-1..1", capsys=capsys)
        assert found["top1_agreement"] == 1
        assert found["logit_sqnr_db"] > 60

    def test_options_count_for_the_file_that_says_nothing(
        self, photo: Path, with_metadata: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ours = with_metadata.with_name("ours.tflite")
        found = self.compared(ours, with_metadata, photo.parent, "--mean", "0.485,0.456,0.406", capsys=capsys)
        assert found["images"] == 1
        with pytest.raises(SystemExit):
            main(["compare", str(ours), str(ours), str(photo.parent), "--mean", "0"])
        assert "--mean has no effect without --image-size N or a model of another maker" in capsys.readouterr().err
