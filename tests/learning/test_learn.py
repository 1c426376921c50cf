from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PHOTOS
from support.classes import COLOURS, class_folder, class_photo

from edge_effnet import Classifier, EdgeEffnetError
from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.errors import ModelFileError, OutputError, UsageError
from edge_effnet.formats import read_tflite, with_document
from edge_effnet.learning import Learned, learn
from edge_effnet.learning.features import Depths

LABELS = tuple(COLOURS)
Exported = dict[tuple[str, str], Path]


@pytest.fixture(scope="module")
def photos(class_photos: Path) -> Path:
    return class_photos


@pytest.fixture(scope="module")
def learned(taught: Learned) -> Learned:
    return taught


def best(classifier: Classifier, label: str, seed: int) -> str:
    scores = classifier.scores(class_photo(label, seed))
    assert classifier.labels is not None
    return classifier.labels[int(scores.argmax())]


@pytest.mark.litert
@pytest.mark.parametrize("engine", ["litert", "numpy"])
def test_new_photos_are_recognised(learned: Learned, engine: str) -> None:
    assert learned.labels == LABELS
    assert learned.photos == dict.fromkeys(LABELS, 8)
    assert learned.accuracy is not None
    assert learned.accuracy > 0.9
    assert sum(map(sum, learned.confusion)) == 24
    with Classifier(learned.path, engine=engine) as classifier:
        assert classifier.labels == LABELS
        found = [best(classifier, label, seed) == label for label in LABELS for seed in range(100, 110)]
        assert np.mean(found) > 0.9


def test_the_file_says_where_it_comes_from(learned: Learned) -> None:
    file = read_tflite(learned.path)
    assert file.document is not None
    assert file.document.extra["learned"]["photos"] == learned.photos
    assert file.document.extra["learned"]["accuracy"] == learned.accuracy
    base = read_tflite(BUNDLED_MODEL).document
    assert base is not None
    assert file.document.extra["learned"]["base_sha256"] == base.weights_sha256
    assert file.document.schema_version == 2
    assert len(file.outputs) == 1
    assert learned.sha256 == hashlib.sha256(learned.path.read_bytes()).hexdigest()


def test_the_same_photos_give_the_same_bytes(learned: Learned, photos: Path, tmp_path: Path) -> None:
    """Whatever they are called, in whatever order the folder lists them, with features from the cache or not."""
    other = tmp_path / "other"
    for label in reversed(LABELS):
        (other / label).mkdir(parents=True)
        for number, path in enumerate(sorted((photos / label).iterdir(), reverse=True)):
            shutil.copy(path, other / label / f"a{number}.png")
    again = learn(other, tmp_path / "again.tflite", cache=tmp_path / "cache", threads=1)
    assert again.sha256 == learned.sha256
    assert again.photos_sha256 == learned.photos_sha256


@pytest.mark.parametrize("output", ["logits", "probabilities"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "weight-int8"])
def test_other_bases(photos: Path, lite0_state: Any, tmp_path: Path, precision: Any, output: Any) -> None:
    from edge_effnet.exporters import export

    base = tmp_path / "base.tflite"
    options: dict[str, Any] = {"precision": precision, "source": "timm-tf", "image_size": 64, "output_kind": output}
    export(lite0_state, base, labels=("a", "b", "c"), **options)
    found = learn(photos, tmp_path / "mine.tflite", base=base, unknown=None)
    assert found.threshold is None
    with Classifier(found.path) as classifier:
        assert classifier.head.output == output
        assert classifier.answers == LABELS
        scores = classifier.scores(class_photo("sea", 100))
        assert scores.sum() == pytest.approx(1, abs=1e-5)
        assert [best(classifier, label, 100) for label in LABELS] == list(LABELS)


def test_a_base_that_gives_features(photos: Path, lite0_state: Any, tmp_path: Path) -> None:
    from edge_effnet.exporters import export

    base = tmp_path / "base.tflite"
    export(lite0_state, base, precision="fp32", source="timm-tf", image_size=64, head="features")
    found = learn(photos, tmp_path / "mine.tflite", base=base)
    with Classifier(found.path) as classifier:
        assert [best(classifier, label, 100) for label in LABELS] == list(LABELS)


@pytest.mark.onnx
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_base_of_onnx(photos: Path, exported: Exported, tmp_path: Path, precision: str) -> None:
    """Gives a file of its format with references for unknown, which is a base again, for other classes."""
    found = learn(photos, tmp_path / "mine.onnx", base=exported[precision, "onnx"], threads=1)
    again = learn(photos, tmp_path / "again.onnx", base=exported[precision, "onnx"], threads=1)
    assert found.sha256 == again.sha256
    assert found.threshold is not None
    few = tmp_path / "few"
    for label in LABELS[:2]:
        shutil.copytree(photos / label, few / label)
    learn(few, tmp_path / "two.onnx", base=found.path, unknown=None, threads=1)
    with Classifier(found.path) as classifier, Classifier(tmp_path / "two.onnx") as other:
        assert [best(classifier, label, 100) for label in LABELS] == list(LABELS)
        assert classifier.answers == (*LABELS, "unknown")
        classifier.predict(class_photo(LABELS[0], 100))
        assert classifier.unknown is not None
        assert not classifier.unknown.is_unknown
        assert other.answers == LABELS[:2]
        assert [best(other, label, 100) for label in LABELS[:2]] == list(LABELS[:2])
    with pytest.raises(UsageError, match=r"ends in \.tflite; expected \.onnx as the base"):
        learn(photos, tmp_path / "mine.tflite", base=exported[precision, "onnx"])


@pytest.mark.onnx
def test_classes_of_an_onnx_base_are_kept(photos: Path, exported: Exported, tmp_path: Path) -> None:
    base = exported["fp32", "onnx"]
    found = learn(photos, tmp_path / "mine.onnx", base=base, base_classes="kept", threads=1)
    assert found.kept == 3
    with Classifier(found.path) as classifier, Classifier(base) as old:
        photo = class_photo(LABELS[0], 100)
        np.testing.assert_allclose(classifier.logits(photo)[:3], old.logits(photo), atol=1e-3)
    with pytest.raises(UsageError, match="unknown is 2"):
        learn(photos, tmp_path / "m.onnx", base=base, base_classes="kept", unknown=2)


def test_what_of_a_photo_was_looked_at_stands_in_the_file(
    exported: Exported, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the head is that of the features of this view: here of the whole, since the first view sees nothing."""
    own = Depths.of

    def features(self: Depths, classifier: Classifier, path: Path, *, name: str) -> Any:
        found = own(self, classifier, path, name=name)
        return found if classifier.preprocessing.resized == classifier.preprocessing.size else np.ones_like(found)

    with monkeypatch.context() as patch:
        patch.setattr(Depths, "of", features)
        found = learn(photos, tmp_path / "mine.tflite", base=exported["int8", "tflite"], cache=tmp_path / "cache")
    with Classifier(found.path) as classifier:
        assert classifier.preprocessing.resized == classifier.preprocessing.size == (64, 64)
        right = [best(classifier, label, seed) == label for label in LABELS for seed in range(100, 105)]
    assert np.mean(right) > 0.8


def test_adding_photos_costs_only_those(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, options = class_folder(tmp_path / "p", photos=4), {"base": exported["int8", "tflite"]}
    learn(folder, tmp_path / "one.tflite", cache=tmp_path / "cache", **options)
    class_folder(folder, photos=1, first=50, labels=("sea",))
    looked: list[Any] = []
    whole = Depths.of

    def features(self: Depths, classifier: Classifier, path: Path, *, name: str) -> Any:
        looked.append(path)
        return whole(self, classifier, path, name=name)

    monkeypatch.setattr(Depths, "of", features)
    found = learn(folder, tmp_path / "two.tflite", cache=tmp_path / "cache", **options)
    assert looked == [folder / "sea" / "50.png"] * 2  # the base's crop and the whole
    assert found.photos == {"moss": 4, "rust": 4, "sea": 5}


def test_a_run_that_is_ended_changes_nothing(photos: Path, exported: Exported, tmp_path: Path) -> None:
    output = tmp_path / "mine.tflite"
    output.write_bytes(b"old")
    told: list[str] = []

    def cancel(stage: str, share: float) -> None:
        assert 0 <= share <= 1
        told.append(stage)
        if stage == "writing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(photos, output, base=exported["int8", "tflite"], progress=cancel)
    assert output.read_bytes() == b"old"
    assert list(dict.fromkeys(told)) == ["photos", "features", "learning", "writing"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.tflite"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
@pytest.mark.parametrize("stage", ["features", "learning", "writing"])
def test_a_killed_run_leaves_the_old_file(exported: Exported, tmp_path: Path, stage: str) -> None:
    """And what it kept of the features is used by the next run, which also removes what it left behind."""
    folder, output = class_folder(tmp_path / "p", photos=3), tmp_path / "out" / "mine.tflite"
    output.parent.mkdir()
    output.write_bytes(b"old")
    code = (
        "import os, signal, sys\n"
        "from edge_effnet.learning import learn\n"
        "def kill(stage, share):\n"
        "    if stage == sys.argv[1] and share >= 0.5:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "learn(*sys.argv[2:4], base=sys.argv[4], cache=sys.argv[5], threads=1, progress=kill)\n"
    )
    options = {"base": exported["int8", "tflite"], "cache": tmp_path / "cache"}
    words = [stage, folder, output, options["base"], options["cache"]]
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], check=False)
    assert done.returncode == -9
    assert output.read_bytes() == b"old"
    looked: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        whole = Depths.of
        patch.setattr(Depths, "of", lambda *args, **name: looked.append(args[2]) or whole(*args, **name))
        learn(folder, output, **options)
    assert len(looked) == (8 if stage == "features" else 0)  # four photos, by two views
    assert [path.name for path in output.parent.iterdir()] == ["mine.tflite"]


def test_photos_that_cannot_be_used_are_named(exported: Exported, tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "p", photos=4)
    (folder / "moss" / "torn.jpg").write_bytes(b"\xff\xd8torn")
    shutil.copy(folder / "moss" / "1.png", folder / "sea" / "same.png")
    shutil.copy(folder / "moss" / "2.png", folder / "moss" / "twice.png")
    (folder / "loose.png").write_bytes(b"")
    found = learn(folder, tmp_path / "mine.tflite", base=exported["int8", "tflite"])
    assert found.photos == {"moss": 3, "rust": 4, "sea": 4}
    text = "\n".join(found.left_out)
    assert "torn.jpg" in text
    assert "the same photo as" in text
    assert "of another class: neither is used; keep one" in text
    assert "1 file lies in no class folder" in text


@pytest.mark.parametrize("name", ["none", "Unknown"])
def test_a_folder_of_none_of_the_classes(exported: Exported, tmp_path: Path, name: str) -> None:
    folder = class_folder(tmp_path / "p", photos=12, labels=("moss", "sea"))
    (folder / "sea").rename(folder / name)
    found = learn(folder, tmp_path / "mine.tflite", base=exported["int8", "tflite"])
    assert found.labels == ("moss", "unknown")
    with Classifier(found.path) as classifier:
        assert classifier.answers == ("moss", "unknown")
        assert classifier.predict(class_photo("sea", 100), top_k=1)[0].label == "unknown"
        assert classifier.predict(class_photo("moss", 100), top_k=1)[0].label == "moss"


def test_an_export_says_what_it_leaves_behind(
    photos: Path, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file whose last layer reads the pooled features alone."""
    from edge_effnet.exporters.inputs.open import open_network
    from edge_effnet.exporters.inputs.options import InputOptions

    base = exported["fp32", "tflite"]
    monkeypatch.setattr(sys.modules["edge_effnet.learning.learn"], "inner_maps", lambda _: ())
    found = learn(photos, tmp_path / "mine.tflite", base=base, threads=1)
    assert found.threshold is not None
    network = open_network(found.path, InputOptions())
    assert network.labels == LABELS
    assert any("the new file won't call anything unknown" in remark for remark in network.remarks)
    assert not any("unknown" in remark for remark in open_network(base, InputOptions()).remarks)


@pytest.mark.parametrize("ending", ["tflite", pytest.param("onnx", marks=pytest.mark.onnx)])
def test_a_last_layer_that_reads_maps_is_not_exported(
    photos: Path, exported: Exported, tmp_path: Path, ending: str
) -> None:
    from edge_effnet.exporters.inputs.open import open_network
    from edge_effnet.exporters.inputs.options import InputOptions

    path = tmp_path / f"mine.{ending}"
    learn(photos, path, base=exported["fp32", ending], threads=1)
    with pytest.raises(UsageError, match=r"was learned from maps inside its network.*export the base it was learned"):
        open_network(path, InputOptions())


def test_one_photo_a_class(exported: Exported, tmp_path: Path) -> None:
    found = learn(class_folder(tmp_path / "p", photos=1), tmp_path / "mine.tflite", base=exported["int8", "tflite"])
    assert (found.accuracy, found.interval, found.threshold) == (None, None, None)
    assert any("what is unknown: too few photos can be held out" in line for line in found.left_out)
    with Classifier(found.path) as classifier:
        assert [best(classifier, label, 0) for label in LABELS] == list(LABELS)


def test_a_class_without_photos_is_named(exported: Exported, tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "p", photos=2)
    (folder / "zebra").mkdir()
    for path in (folder / "rust").iterdir():
        path.write_bytes(b"\xff\xd8torn" + path.name.encode())
    found = learn(folder, tmp_path / "mine.tflite", base=exported["int8", "tflite"])
    assert found.labels == ("moss", "sea")
    assert "class zebra: none of its photos is left" in found.left_out
    assert "class rust: none of its photos is left" in found.left_out


def test_a_class_that_could_not_be_judged_is_named(exported: Exported, tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "p", photos=3)
    for path in sorted((folder / "rust").iterdir())[1:]:
        path.unlink()
    found = learn(folder, tmp_path / "mine.tflite", base=exported["int8", "tflite"])
    assert sum(found.confusion[1]) == 0
    line = "of what is judged: rust, for a single photo or moment can't be held out; add others"
    assert line in found.left_out


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_that_lead_back_up_are_no_classes(exported: Exported, tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "p", photos=2)
    (tmp_path / "elsewhere").mkdir()
    (folder / "sea").rename(tmp_path / "elsewhere" / "ocean")
    (folder / "sea").symlink_to(tmp_path / "elsewhere" / "ocean")
    (folder / "here").symlink_to(folder)
    (folder / "up").symlink_to(tmp_path)
    found = learn(folder, tmp_path / "mine.tflite", base=exported["int8", "tflite"])
    assert found.photos == dict.fromkeys(LABELS, 2)


def refusals() -> Iterator[tuple[str, Any, type[EdgeEffnetError], str]]:
    yield "no folder", lambda folder: folder / "nowhere", UsageError, "is no folder; expected one that holds a folder"
    yield "no class", lambda folder: folder / "moss", UsageError, "has photos of no class"
    yield "no name", lambda _folder: "", UsageError, "photos is ''; expected a path"
    yield (
        "by case",
        lambda folder: _renamed(folder, "sea", "MOSS"),
        UsageError,
        "'MOSS' and 'moss' differ by case alone",
    )
    yield "two lines", lambda folder: _renamed(folder, "sea", "s\nea"), UsageError, "holds a line's end or NUL"
    yield "no UTF-8", lambda folder: _renamed(folder, "sea", "s\udcffa"), UsageError, "holds bytes that aren't UTF-8"
    yield "one class", lambda folder: _only(folder, "moss"), UsageError, "has photos of moss; expected .* at least two"


def _renamed(folder: Path, old: str, new: str) -> Path:
    try:
        (folder / old).rename(folder / new)
    except (OSError, ValueError):
        pytest.skip("the file system has no such name")
    return folder


def _only(folder: Path, label: str) -> Path:
    for other in folder.iterdir():
        if other.name != label:
            shutil.rmtree(other)
    return folder


@pytest.mark.parametrize(("_name", "change", "error", "message"), list(refusals()), ids=lambda value: str(value)[:12])
def test_folders_that_cannot_be_learned_from(
    exported: Exported, tmp_path: Path, _name: str, change: Any, error: type[EdgeEffnetError], message: str
) -> None:
    folder = class_folder(tmp_path / "p", photos=2)
    with pytest.raises(error, match=message):
        learn(change(folder), tmp_path / "mine.tflite", base=exported["int8", "tflite"])
    assert not (tmp_path / "mine.tflite").exists()


def test_outputs_that_cannot_be(photos: Path, exported: Exported, tmp_path: Path) -> None:
    base = shutil.copy(exported["int8", "tflite"], tmp_path / "base.tflite")
    with pytest.raises(UsageError, match="is the base, which it would overwrite"):
        learn(photos, base, base=base)
    with pytest.raises(UsageError, match=r"ends in \.onnx; expected \.tflite as the base"):
        learn(photos, tmp_path / "mine.onnx", base=base)
    with pytest.raises(OutputError, match="does not exist"):
        learn(photos, tmp_path / "nowhere" / "mine.tflite", base=base)
    for name in ("report", "cache"):
        with pytest.raises(UsageError, match=f"{name} is ''; expected a path"):
            learn(photos, tmp_path / "mine.tflite", base=base, **{name: ""})
    with pytest.raises(UsageError, match="unknown is 2"):
        learn(photos, tmp_path / "mine.tflite", base=base, unknown=2)


def test_damaged_references_are_refused(learned: Learned, tmp_path: Path) -> None:
    data = learned.path.read_bytes()
    file = read_tflite(data)
    assert file.document is not None
    assert file.document.unknown is not None
    wrong = replace(file.document.unknown, sha256="0" * 64)
    (tmp_path / "m.tflite").write_bytes(with_document(data, replace(file.document, unknown=wrong)))
    with pytest.raises(ModelFileError, match="references for unknown don't have the SHA-256"):
        Classifier(tmp_path / "m.tflite")
    more = replace(file.document.unknown, references=file.document.unknown.references + 1)
    (tmp_path / "m.tflite").write_bytes(with_document(data, replace(file.document, unknown=more)))
    with pytest.raises(ModelFileError, match="bytes of references for unknown; expected"):
        Classifier(tmp_path / "m.tflite")
    with Classifier(tmp_path / "m.tflite", unknown="off") as classifier:
        assert classifier.answers == LABELS


def test_what_is_like_nothing_learned_is_unknown(learned: Learned) -> None:
    with Classifier(learned.path) as classifier:
        assert classifier.answers == (*LABELS, "unknown")
        classifier.scores(class_photo("sea", 100))
        assert classifier.unknown is not None
        assert not classifier.unknown.is_unknown
        found = [classifier.predict(path, top_k=1)[0] for path in sorted(PHOTOS.glob("*.jpg"))]
        assert [prediction.label for prediction in found] == ["unknown"] * len(found)
        assert {prediction.index for prediction in found} == {3}


def test_the_bases_classes_stay_beside_the_new_ones(photos: Path, tmp_path: Path) -> None:
    found = learn(photos, tmp_path / "both.tflite", base_classes="kept", threads=1)
    assert (found.labels, found.kept, found.threshold) == (LABELS, 1000, None)
    with Classifier(found.path, threads=1) as both, Classifier(threads=1) as base:
        assert base.labels is not None
        assert both.labels == (*base.labels, *LABELS)
        for path in sorted(PHOTOS.glob("*.jpg")):
            assert both.predict(path, top_k=1)[0].label == base.predict(path, top_k=1)[0].label
        right = [best(both, label, seed) == label for label in LABELS for seed in range(100, 105)]
        assert np.mean(right) >= 0.8  # 5 % of 24 held-out photos may be lost; that says little of these 15


def test_a_class_called_like_one_of_the_bases_takes_its_place(exported: Exported, tmp_path: Path) -> None:
    folder = class_folder(tmp_path / "p", photos=3)
    (folder / "moss").rename(folder / "Cat")
    base = exported["int8", "tflite"]
    found = learn(folder, tmp_path / "both.tflite", base=base, base_classes="kept")
    with Classifier(found.path) as classifier:
        assert classifier.labels == ("dog", "Köln", "Cat", "rust", "sea")
    (folder / "sea").rename(folder / "none")
    with pytest.raises(UsageError, match="photos of 'unknown' don't go with the base's classes"):
        learn(folder, tmp_path / "both.tflite", base=base, base_classes="kept")
    with pytest.raises(UsageError, match="base_classes is 'some'; expected dropped or kept"):
        learn(folder, tmp_path / "both.tflite", base_classes="some")  # type: ignore[arg-type]
