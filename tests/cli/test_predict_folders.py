"""Folders of every kind of file: each gets a row or a remark, in every format, and the counts add up."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from edge_effnet.classifier import BUNDLED_MODEL

from .conftest import PHOTOS, Run, is_one_error

pytestmark = pytest.mark.litert
CAT, COFFEE = PHOTOS / "chelsea.jpg", PHOTOS / "coffee.jpg"
#: name → its row's status, or the kind under which it is left out.
ROWS = {
    "a.jpg": "ok",
    "b.JPEG": "ok",
    "c.png": "ok",
    "d.webp": "ok",
    "e.bmp": "ok",
    "f.gif": "ok",
    "g.tif": "error",
    "empty.jpg": "error",
    "text.jpg": "error",
    "cut.jpg": "error",
    "model.png": "error",
    "link.jpg": "ok",
    "deep/h.jpg": "ok",
}
LEFT_OUT = {
    "i.heic": ".heic",
    "j.HEIF": ".heif",
    "k.txt": ".txt",
    "l.pdf": ".pdf",
    "m": "without an ending",
    ".n.jpg": "hidden",
    "o.mp4": ".mp4",
    "p.zip": ".zip",
    "q.svg": ".svg",
    "r.csv": ".csv",
    "s.json": ".json",
    "t.tflite": ".tflite",
    "u.pth": ".pth",
    "v.psd": ".psd",
    "w.jxl": ".jxl",
    "broken.jpg": "broken link",
    "loop": "link to a folder",
    "pipe.jpg": "no regular file",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """31 kinds of files, without pillow-heif."""
    monkeypatch.setattr("edge_effnet.photo_formats._has_heif", lambda: False)
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    small = Image.open(COFFEE).resize((64, 48))
    for name in ("a.jpg", "b.JPEG", "c.png", "d.webp", "e.bmp", "f.gif", "g.tif", "deep/h.jpg"):
        small.save(folder / name)
    for name in LEFT_OUT:
        (folder / name).touch()
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("hello")
    (folder / "cut.jpg").write_bytes(CAT.read_bytes()[:900])
    (folder / "model.png").write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    (folder / "link.jpg").symlink_to("a.jpg")
    for name in ("broken.jpg", "loop", "pipe.jpg"):
        (folder / name).unlink()
    (folder / "broken.jpg").symlink_to("gone.jpg")
    (folder / "loop").symlink_to(".")
    os.mkfifo(folder / "pipe.jpg")
    return folder


def statuses(output: str, text: str) -> dict[str, str]:
    """Source → status."""
    if output == "csv":
        return {row["source"]: row["status"] for row in csv.DictReader(io.StringIO(text))}
    if output == "text":
        blocks = re.findall(r"(?m)^(\S.*)\n((?: .*\n)+)", text)
        return {source: "error" if "    error: " in lines else "ok" for source, lines in blocks}
    results = json.loads(text) if output == "json" else [json.loads(line) for line in text.splitlines()]
    return {result["source"]: result["status"] for result in results}


@pytest.mark.parametrize("output", ["text", "json", "jsonl", "csv"])
def test_every_file_has_a_row_or_a_remark(run: Run, folder: Path, output: str) -> None:
    outcome = run("predict", folder, "--format", output, "--top-k", "1")
    assert outcome.status == 2
    found = {os.path.relpath(source, folder): status for source, status in statuses(output, outcome.out).items()}
    assert found == ROWS
    (remark,) = [line for line in outcome.err.splitlines() if "left out" in line]
    assert f"{len(LEFT_OUT)} files left out" in remark
    counted = {kind: int(count) for count, kind in re.findall(r"(\d+) ([^,(]+?)(?: \(|,|$)", remark.split("out: ")[1])}
    assert counted == dict.fromkeys(LEFT_OUT.values(), 1)
    assert "1 .heic (pip install 'edge-effnet[heif]' reads them)" in remark
    assert outcome.err.splitlines()[-1] == "edge-effnet: 5 of 13 failed"
    assert len(found) + sum(counted.values()) == len(ROWS) + len(LEFT_OUT) == 31


def test_errors_say_what_the_file_is(run: Run, folder: Path) -> None:
    results = json.loads(run("predict", folder, "--format", "json").out)
    errors = {Path(result["source"]).name: result["error"] for result in results if result["status"] == "error"}
    assert "empty (0 bytes)" in errors["empty.jpg"]
    assert "image but a TFLite model; `edge-effnet info` says what it is" in errors["model.png"]
    assert "--allow-tiff" in errors["g.tif"]


def test_the_folder_alone_or_all_below_it(run: Run, folder: Path) -> None:
    for option, expected in (("--recursive", 13), ("--no-recursive", 12)):
        assert len(json.loads(run("predict", folder, "--format", "json", option).out)) == expected


def test_heic_and_avif(run: Run, tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    photo = Image.open(CAT).resize((256, 192))
    heif.from_pillow(photo).save(tmp_path / "a.heic")
    expected = 1
    if features.check("avif"):
        photo.save(tmp_path / "b.avif")
        expected = 2
    outcome = run("predict", tmp_path, "--format", "json", "--top-k", "1")
    assert (outcome.status, outcome.err) == (0, "")
    labels = [result["predictions"][0]["label"] for result in json.loads(outcome.out)]
    assert len(labels) == expected
    assert all("cat" in label.lower() or label == "tabby" for label in labels)


def test_heic_without_its_extra(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_effnet.photo_formats._has_heif", lambda: False)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    outcome = run("predict", tmp_path / "a.heic")
    assert "a HEIC photo; it needs pillow-heif: pip install 'edge-effnet[heif]'" in outcome.out
    assert is_one_error(run("predict", tmp_path), "1 file left out: 1 .heic (pip install 'edge-effnet[heif]'")


def test_no_photo_is_lost_to_the_threshold(run: Run) -> None:
    """And what pandas reads has whole numbers and names that are none of its own."""
    text = run("predict", CAT, COFFEE, "--threshold", "0.9", "--format", "csv").out
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["source"], first["status"], first["place"], first["class_id"]) == (str(CAT), "none above", "0", "-1")
    assert (second["status"], second["label"]) == ("ok", "espresso")
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(io.StringIO(text))
    assert table.place.dtype == table.class_id.dtype == np.int64
    assert not {name for name in table.columns if hasattr(pandas.DataFrame, name)}
    truth = pandas.DataFrame({"source": [str(CAT), str(COFFEE)], "truth": ["tabby", "espresso"]})
    joined = table[table.place <= 1].merge(truth)
    assert (joined.label == joined.truth).mean() == 0.5


def test_uncertain(run: Run) -> None:
    """Two breeds of cat 2 % apart; coffee leads by 95 %."""
    outcome = run("predict", CAT, COFFEE, "--margin", "0.2", "--format", "json", "--top-k", "1")
    first, second = json.loads(outcome.out)
    assert (first["status"], second["status"]) == ("uncertain", "ok")
    assert first["lead"] < 0.2 < second["lead"]
    assert "    uncertain: the lead is 1." in run("predict", CAT, "--margin", "0.2").out
    grouped = run("predict", CAT, "--margin", "0.2", "--group", "cat=tabby,tiger cat,Egyptian cat", "--top-k", "1").out
    assert re.search(r"\n +9\d\.\d %  cat\n$", grouped)


def test_to_a_file(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "found.csv"
    target.write_text("old")
    outcome = run("predict", COFFEE, tmp_path / "none.jpg", "--format", "csv", "-o", target)
    assert (outcome.status, outcome.out) == (2, "")
    assert len(target.read_text().splitlines()) == 7
    assert run("predict", COFFEE, "--allow", "nonsense", "-o", target).status == 2
    assert len(target.read_text().splitlines()) == 7
    assert [path.name for path in tmp_path.iterdir()] == ["found.csv"]
    photo = shutil.copy(COFFEE, tmp_path)
    assert is_one_error(run("predict", photo, "-o", photo), "which it would overwrite")


def test_skipping_errors(run: Run, tmp_path: Path) -> None:
    outcome = run("predict", COFFEE, tmp_path / "none.jpg", "--skip-errors", "--format", "json")
    assert outcome.status == 0
    assert [result["status"] for result in json.loads(outcome.out)] == ["ok", "error"]


@pytest.mark.parametrize("source", ["https://example.com/a.jpg", "s3://bucket/a.jpg"])
def test_addresses_are_not_read(run: Run, source: str) -> None:
    assert is_one_error(run("predict", source), f"{source}: addresses aren't read; download the file first")


@pytest.mark.parametrize("words", [["--allow", "cup", "--deny", "cup"]])
def test_lists_that_leave_nothing(run: Run, words: list[str]) -> None:
    assert is_one_error(run("predict", CAT, *words), "the allow and deny lists leave no label")


def test_the_nearest_label_holds_the_word(run: Run) -> None:
    assert "did you mean 'cowboy hat', " in run("predict", CAT, "--allow", "hat").err


def test_open_files_are_photos_and_lists_are_many() -> None:
    from edge_effnet import Classifier
    from edge_effnet.errors import ImageError

    with Classifier() as classifier, open(CAT, "rb") as file:
        expected = classifier.predict(CAT)
        many: Any = [CAT]
        assert classifier.predict(file) == classifier.predict(io.BytesIO(CAT.read_bytes())) == expected
        with pytest.raises(ImageError, match="for several images call predict_many"):
            classifier.predict(many)
        with pytest.raises(ImageError, match="the file is open as text"):
            classifier.predict(io.StringIO("text"))


#: As file systems hold them → as they are shown.
ODD_NAMES = {
    b"new\nline.jpg": "new\\nline.jpg",
    "bidi\u202egpj.x.jpg".encode(): "bidi\\u202egpj.x.jpg",
    b"bad\xff.jpg": "bad\\udcff.jpg",
    b"esc\x1b[31m.jpg": "esc\\x1b[31m.jpg",
    b'comma,"q".jpg': 'comma,"q".jpg',
}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("output", ["text", "json", "jsonl", "csv"])
def test_odd_names_have_one_row_each(run: Run, tmp_path: Path, output: str) -> None:
    small = io.BytesIO()
    Image.open(COFFEE).resize((64, 48)).save(small, "JPEG")
    for name in ODD_NAMES:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(small.getvalue())
    outcome = run("predict", tmp_path, "--format", output, "--top-k", "1")
    assert (outcome.status, outcome.err) == (0, "")
    found = [name.rsplit("/", 1)[-1] for name in statuses(output, outcome.out)]
    if "json" in output:  # JSON escapes what can't be shown, and says the name itself
        assert sorted(map(os.fsencode, found)) == sorted(ODD_NAMES)
    else:
        assert sorted(found) == sorted(ODD_NAMES.values())
    assert "\x1b" not in outcome.out


def labelled_folder(tmp_path: Path) -> Path:
    """Two classes of one photo each, and in both what isn't read."""
    data = tmp_path / "data"
    for label in ("espresso", "tabby"):
        (data / label).mkdir(parents=True)
        shutil.copy(COFFEE, data / label / "a.jpg")
        for name in ("b.heic", "c.txt", ".d.jpg"):
            (data / label / name).touch()
        (data / label / "e.jpg").symlink_to("gone.jpg")
        (data / label / "f.jpg").touch()
    return data


@pytest.mark.parametrize("words", [("eval", BUNDLED_MODEL), ("compare", BUNDLED_MODEL, BUNDLED_MODEL)])
def test_eval_and_compare_say_what_they_leave_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("edge_effnet.photo_formats._has_heif", lambda: False)
    data = labelled_folder(tmp_path)
    last = ["--no-record"] if words[0] == "eval" else []
    outcome = run(*words, data, "--format", "text", *last)
    assert outcome.status == 0
    kinds = "2 .heic (pip install 'edge-effnet[heif]' reads them), 2 .txt, 2 broken links, 2 hidden"
    assert f"edge-effnet: {data}: 8 files left out: {kinds}\n" in outcome.err
    assert outcome.err.count("empty (0 bytes)") == 2
    assert "2 photos" in outcome.out


def test_photos_beside_the_class_folders_are_said(run: Run, tmp_path: Path) -> None:
    data = labelled_folder(tmp_path)
    shutil.copy(CAT, data / "loose.jpg")
    assert "1 in no class folder" in run("eval", BUNDLED_MODEL, data, "--no-record").err


def test_a_list_of_labels_says_itself_what_is_read(run: Run, tmp_path: Path) -> None:
    data = labelled_folder(tmp_path)
    (data / "labels.csv").write_text("file,label\nespresso/a.jpg,espresso\n")
    assert "left out" not in run("eval", BUNDLED_MODEL, data, "--no-record").err


def test_notes_of_the_camera_s_page_are_no_remark_s_worth(run: Run, tmp_path: Path) -> None:
    for folder, label in (("c01", "espresso"), ("c02", "tabby")):
        (tmp_path / folder).mkdir()
        shutil.copy(COFFEE, tmp_path / folder / "a.jpg")
        (tmp_path / folder / "a.json").write_text("{}")
        (tmp_path / folder / "label.txt").write_text(label)
    assert "left out" not in run("eval", BUNDLED_MODEL, tmp_path, "--no-record").err
