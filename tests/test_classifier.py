"""The Classifier on the bundled model and on small exported files."""

from __future__ import annotations

import io
import multiprocessing
import pickle
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.photos import synthetic_photo

from edge_effnet import Classifier, Prediction, Preprocessing
from edge_effnet.classifier import BUNDLED_MODEL, default_threads
from edge_effnet.decoding import decode
from edge_effnet.errors import EngineError, ImageError, ModelFileError, UsageError
from edge_effnet.formats import with_document

pytestmark = [pytest.mark.litert, pytest.mark.onnx]

PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
Exported = dict[tuple[str, str], Path]


@pytest.mark.parametrize(
    ("photo", "labels"),
    [("chelsea", ("cat", "tabby")), ("coffee", ("espresso", "cup")), ("rocket", ("missile", "projectile"))],
)
def test_the_bundled_model_knows_the_photos(bundled: Classifier, photo: str, labels: tuple[str, ...]) -> None:
    best = bundled.predict(PHOTOS / f"{photo}.jpg", top_k=1)[0]
    assert any(label in best.label.lower() for label in labels)
    assert bundled.labels is not None
    assert best == Prediction(best.index, bundled.labels[best.index], best.score)


def test_what_it_says_of_itself(bundled: Classifier) -> None:
    assert (bundled.engine, bundled.num_classes, bundled.model_path) == ("litert", 1000, BUNDLED_MODEL)
    assert bundled.engine_version.startswith(("ai-edge-litert ", "tflite-runtime "))
    assert bundled.metadata is not None
    assert (bundled.metadata.variant, bundled.metadata.precision) == ("lite0", "int8")
    assert (
        bundled.preprocessing
        == bundled.metadata.preprocessing
        == Preprocessing(256, 224, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    )
    assert BUNDLED_MODEL.stat().st_size <= 5_600_000


def test_paths_bytes_images_and_arrays_are_one(bundled: Classifier) -> None:
    path = PHOTOS / "chelsea.jpg"
    with Image.open(path) as file:
        image = file.convert("RGB")
    expected = bundled.logits(path)
    frame = np.asarray(image)
    for source in (str(path), path.read_bytes(), image, frame):
        np.testing.assert_array_equal(bundled.logits(source), expected)
    np.testing.assert_array_equal(bundled.logits(np.ascontiguousarray(frame[:, :, ::-1]), channels="bgr"), expected)
    assert (bundled.logits(frame[:, :, ::-1]) != expected).any()


def test_scores_and_logits(bundled: Classifier) -> None:
    path = PHOTOS / "coffee.jpg"
    logits, scores = bundled.logits(path), bundled.scores(path)
    assert logits.dtype == scores.dtype == np.float32
    assert logits.shape == scores.shape == (1000,)
    assert scores.sum() == pytest.approx(1, abs=1e-5)
    exact = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(scores, exact / exact.sum(), rtol=1e-4)
    top = bundled.predict(path, top_k=3)
    assert [found.index for found in top] == np.argsort(-scores, kind="stable")[:3].tolist()


def test_results_stay_after_the_next_run(bundled: Classifier) -> None:
    """An engine may reuse its output memory."""
    first = bundled.logits(PHOTOS / "coffee.jpg")
    kept = first.copy()
    bundled.logits(PHOTOS / "rocket.jpg")
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("kind", [("fp32", "tflite"), ("int8", "tflite"), ("fp32", "onnx"), ("int8", "onnx")])
def test_results_never_lie_in_memory_that_is_used_again(exported: Exported, kind: tuple[str, str]) -> None:
    with Classifier(exported[kind], threads=1) as classifier:
        results = [
            (classifier.logits(synthetic_photo(seed)), classifier.scores(synthetic_photo(seed))) for seed in range(3)
        ]
        for seed, (logits, scores) in enumerate(results):
            np.testing.assert_array_equal(logits, classifier.logits(synthetic_photo(seed)))
            np.testing.assert_array_equal(scores, classifier.scores(synthetic_photo(seed)))


def large_jpeg(name: str) -> bytes:
    with Image.open(PHOTOS / f"{name}.jpg") as photo:
        buffer = io.BytesIO()
        photo.resize((photo.width * 3, photo.height * 3), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        return buffer.getvalue()


def test_large_jpegs_are_decoded_scaled_unless_told_otherwise(bundled: Classifier) -> None:
    assert bundled.decoding == "scaled"
    with Classifier(threads=1, decoding="full") as full:
        data = large_jpeg("coffee")
        assert bundled.predict(data, top_k=1)[0].label == full.predict(data, top_k=1)[0].label == "espresso"
        assert 0 < np.abs(bundled.scores(data) - full.scores(data)).max() < 0.02
        image = Image.open(io.BytesIO(data)).convert("RGB")
        np.testing.assert_array_equal(full.logits(data), full.logits(image))
        assert pickle.loads(pickle.dumps(full)).decoding == "full"


def test_photos_that_are_not_reduced_are_computed_as_in_training(bundled: Classifier) -> None:
    with Classifier(threads=1, decoding="full") as full:
        for name in ("astronaut", "chelsea"):
            path = PHOTOS / f"{name}.jpg"
            with Image.open(path) as image:
                np.testing.assert_array_equal(
                    bundled.preprocessing.pixels(image.convert("RGB")), full.preprocessing.pixels(decode(path))
                )
            np.testing.assert_array_equal(bundled.logits(path), full.logits(path))


def test_quick_is_almost_the_same() -> None:
    frame = np.asarray(Image.open(PHOTOS / "coffee.jpg").convert("RGB"))
    with Classifier(threads=1) as exact, Classifier(threads=1, decoding="quick") as quick:
        assert np.abs(exact.scores(frame) - quick.scores(frame)).max() < 0.02
        np.testing.assert_array_equal(
            quick.logits(frame), quick.logits(np.ascontiguousarray(frame[:, :, ::-1]), channels="bgr")
        )


def test_an_unknown_decoding() -> None:
    with pytest.raises(UsageError, match="decoding is 'fast'; expected one of scaled, full, quick"):
        Classifier(decoding="fast")  # type: ignore[arg-type]


def test_top_k_threshold_and_lists(bundled: Classifier) -> None:
    path = PHOTOS / "chelsea.jpg"
    assert len(bundled.predict(path)) == 5
    assert len(bundled.predict(path, top_k=2000)) == 1000
    best = bundled.predict(path, top_k=1)[0]
    assert all(found.score >= 0.05 for found in bundled.predict(path, top_k=1000, threshold=0.05))
    assert best.label not in {found.label for found in bundled.predict(path, deny=[best.label])}
    assert {found.label for found in bundled.predict(path, allow=["espresso", "cup"])} == {"espresso", "cup"}
    with pytest.raises(UsageError, match="the allow and deny lists leave no label"):
        bundled.predict(path, allow=["espresso"], deny=["espresso"])
    for top_k in (0, -1):
        with pytest.raises(UsageError, match="expected at least 1"):
            bundled.predict(path, top_k=top_k)
    with pytest.raises(UsageError, match="label 'esspresso' is not among the model's 1000; did you mean 'espresso'"):
        bundled.predict(path, allow=["esspresso"])


def test_many(bundled: Classifier) -> None:
    images = [PHOTOS / "chelsea.jpg", PHOTOS / "coffee.jpg"]
    assert bundled.predict_many(iter(images), top_k=2) == [bundled.predict(image, top_k=2) for image in images]
    assert bundled.predict_many([]) == []


def test_timing(bundled: Classifier) -> None:
    bundled.predict(PHOTOS / "coffee.jpg")
    assert list(bundled.timing_ms) == ["decode", "preprocess", "inference", "postprocess"]
    assert all(value > 0 for value in bundled.timing_ms.values())
    bundled.timing_ms["decode"] = -1  # type: ignore[index]
    assert bundled.timing_ms["decode"] > 0


def test_a_broken_photo_does_not_spoil_the_next(bundled: Classifier) -> None:
    with pytest.raises(ImageError):
        bundled.predict(b"no image")
    assert bundled.predict(PHOTOS / "coffee.jpg")


@pytest.mark.parametrize("ending", ["tflite", "onnx"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_kind_of_file_of_ours(exported: Exported, precision: str, ending: str) -> None:
    """int8 files take pixels, float files normalised ones: the Classifier hides it."""
    with (
        Classifier(exported["fp32", "onnx"], threads=1) as reference,
        Classifier(exported[precision, ending], threads=1) as classifier,
    ):
        photo = synthetic_photo(0)
        expected, found = reference.logits(photo), classifier.logits(photo)
        assert np.abs(found - expected).max() < (1e-4 if precision == "fp32" else 0.3 * np.abs(expected).max())
        assert classifier.labels == ("cat", "dog", "Köln")
        assert classifier.engine == {"tflite": "litert", "onnx": "onnxruntime"}[ending]


def test_labels_of_the_caller_go_first(exported: Exported) -> None:
    with Classifier(exported["fp32", "tflite"], labels=["x", "y", "z"]) as classifier:
        assert classifier.labels == ("x", "y", "z")
    with pytest.raises(UsageError, match="labels has 2 labels, the model 3 classes; expected as many"):
        Classifier(exported["fp32", "tflite"], labels=["x", "y"])


def test_files_that_cannot_be_opened(tmp_path: Path, exported: Exported) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        Classifier(tmp_path / "none.tflite")
    with pytest.raises(
        UsageError, match=r"engine onnxruntime runs \.onnx files, this one is \.tflite; expected --engine litert"
    ):
        Classifier(exported["fp32", "tflite"], engine="onnxruntime")
    for threads in (0, -2):
        with pytest.raises(UsageError, match=f"threads is {threads}; expected at least 1"):
            Classifier(exported["fp32", "tflite"], threads=threads)


@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_a_newer_schema_is_refused_with_a_clear_error(tmp_path: Path, exported: Exported, ending: str) -> None:
    data = exported["fp32", ending].read_bytes()
    with Classifier(exported["fp32", ending]) as classifier:
        document = classifier.metadata
    assert document is not None
    (tmp_path / "new").write_bytes(with_document(data, replace(document, schema_version=7)))
    with pytest.raises(
        ModelFileError, match="made for schema version 7, this program reads up to 2; upgrade edge-effnet"
    ):
        Classifier(tmp_path / "new")


def test_closing(exported: Exported) -> None:
    classifier = Classifier(exported["fp32", "tflite"])
    with classifier as same:
        assert same is classifier
    classifier.close()
    assert classifier.labels == ("cat", "dog", "Köln")
    for use in (
        lambda: classifier.predict(synthetic_photo(0)),
        lambda: classifier.engine,
        lambda: classifier.engine_version,
    ):
        with pytest.raises(EngineError, match="this Classifier is closed; open a new one"):
            use()


def test_two_threads_at_once(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    with Classifier(exported["fp32", "tflite"]) as classifier:
        session: Any = classifier._runner.session
        inside, leave, run = threading.Event(), threading.Event(), session.run_all

        def slow(tensor: Any) -> Any:
            inside.set()
            leave.wait(60)
            return run(tensor)

        monkeypatch.setattr(session, "run_all", slow)
        results: list[Any] = []
        first = threading.Thread(target=lambda: results.append(classifier.predict(synthetic_photo(0))))
        first.start()
        assert inside.wait(60)
        with pytest.raises(EngineError, match="in use in another thread; give each thread a Classifier of its own"):
            classifier.predict(synthetic_photo(1))
        leave.set()
        first.join(60)
        assert results == [classifier.predict(synthetic_photo(0))]


def test_several_side_by_side(exported: Exported) -> None:
    photo = synthetic_photo(0)
    with Classifier(exported["fp32", "tflite"]) as one, Classifier(exported["fp32", "tflite"]) as two:
        expected = one.logits(photo)
        found: list[Any] = [None, None]

        def classify(index: int, classifier: Classifier) -> None:
            found[index] = [classifier.logits(photo) for _ in range(5)]

        threads = [
            threading.Thread(target=classify, args=(index, classifier)) for index, classifier in enumerate((one, two))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all((logits == expected).all() for several in found for logits in several)


def _best(classifier: Classifier, photo: Image.Image) -> list[Prediction]:
    return classifier.predict(photo)


def test_it_travels_to_a_spawned_process(exported: Exported) -> None:
    photo = synthetic_photo(0)
    with Classifier(exported["int8", "tflite"], threads=1, labels=["x", "y", "z"]) as classifier:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(_best, (classifier, photo)) == classifier.predict(photo)
        copy = pickle.loads(pickle.dumps(classifier))
        assert (copy.model_path, copy.threads, copy.labels) == (classifier.model_path, 1, ("x", "y", "z"))
        copy.close()


def test_threads_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(64)), raising=False)
    assert default_threads() == 4
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {3}, raising=False)
    assert default_threads() == 1
