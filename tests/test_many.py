"""Many photos at once give what one after the other gives."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.photos import synthetic_photo

from edge_effnet import Classifier
from edge_effnet.errors import EngineError, ImageError, ModelFileError, UsageError
from edge_effnet.many import split_cores, spread

Exported = dict[tuple[str, str], Path]
PHOTOS = [synthetic_photo(seed, 90 + 7 * seed, 80) for seed in range(12)]
KINDS = [
    pytest.param((precision, ending), marks=pytest.mark.onnx if ending == "onnx" else pytest.mark.litert)
    for precision in ("int8", "fp32")
    for ending in ("tflite", "onnx")
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [1, 2, 7])
def test_any_number_of_workers_gives_the_same(exported: Exported, kind: tuple[str, str], workers: int) -> None:
    with Classifier(exported[kind]) as classifier:
        expected = classifier.predict_many(PHOTOS)
        assert list(classifier.predict_many(PHOTOS, workers=workers)) == expected
        assert list(classifier.predict_many([], workers=workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_numpy_too(exported: Exported, workers: int) -> None:
    with Classifier(exported["int8", "tflite"], engine="numpy", threads=1) as classifier:
        expected = classifier.predict_many(PHOTOS[:4])
        assert list(classifier.predict_many(PHOTOS[:4], workers=workers)) == expected


@pytest.mark.parametrize("workers", [1, 3])
def test_photos_without_an_end(exported: Exported, workers: int) -> None:
    taken: list[int] = []

    def camera() -> Iterator[np.ndarray]:
        for number in itertools.count():
            taken.append(number)
            yield np.asarray(PHOTOS[number % 12])

    before = set(threading.enumerate())
    with Classifier(exported["int8", "tflite"]) as classifier:
        results = classifier.predict_many(camera(), top_k=1, workers=workers)
        for photo in [*PHOTOS, *PHOTOS]:
            assert next(results) == classifier_alone(exported, photo)
        assert len(taken) <= 24 + 2 * workers
        results.close()  # type: ignore[attr-defined]
        assert classifier.predict(PHOTOS[0])
    begun = set(threading.enumerate()) - before  # not a count: another test's thread may end meanwhile
    for thread in begun:
        thread.join(10)
    assert not [thread for thread in begun if thread.is_alive()]


def classifier_alone(exported: Exported, photo: object) -> object:
    with Classifier(exported["int8", "tflite"], threads=1) as classifier:
        return classifier.predict(photo, top_k=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_photo_that_cannot_be_read_is_told_in_its_place(exported: Exported, workers: int) -> None:
    with Classifier(exported["int8", "tflite"]) as classifier:
        results = classifier.predict_many([*PHOTOS[:3], b"no photo", *PHOTOS], workers=workers)
        assert [next(results) for _ in range(3)] == classifier.predict_many(PHOTOS[:3])
        with pytest.raises(ImageError, match="not a JPEG"):
            next(results)


def test_no_workers(exported: Exported) -> None:
    with Classifier(exported["int8", "tflite"]) as classifier, pytest.raises(UsageError, match="0 workers"):
        list(classifier.predict_many(PHOTOS, workers=0))


def test_a_file_that_has_changed_is_not_mixed_in(exported: Exported, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    shutil.copy(exported["int8", "tflite"], path)
    with Classifier(path, threads=2) as classifier:
        shutil.copy(exported["fp32", "tflite"], tmp_path / "other")
        (tmp_path / "other").replace(path)
        with pytest.raises(ModelFileError, match=r"model\.tflite has changed since it was opened; open it again"):
            list(classifier.predict_many(PHOTOS, workers=2))
        path.unlink()
        with pytest.raises((ModelFileError, EngineError), match=r"model\.tflite"):
            classifier.twin(threads=1)


def test_twins_are_closed_and_the_classifier_stays_open(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Classifier] = []
    make = Classifier.twin

    def twin(self: Classifier, *, threads: int) -> Classifier:
        opened.append(make(self, threads=threads))
        return opened[-1]

    monkeypatch.setattr(Classifier, "twin", twin)
    with Classifier(exported["int8", "tflite"], threads=2, labels=["x", "y", "z"]) as classifier:
        found = list(classifier.predict_many(PHOTOS, workers=3))
        assert found == classifier.predict_many(PHOTOS)
        assert 1 <= len(opened) <= 3
        for one in opened:
            assert (one.threads, one.labels) == (1, ("x", "y", "z"))
            with pytest.raises(EngineError, match="closed"):
                one.predict(PHOTOS[0])


def test_a_classifier_of_one_thread_works_too(exported: Exported) -> None:
    """Beside its twins, instead of one more of them."""
    with Classifier(exported["int8", "tflite"], threads=1) as classifier:
        with spread((classifier,), lambda these, _: these[0], range(40), workers=2) as found:
            assert classifier in set(found)
        assert classifier.predict(PHOTOS[0])


@pytest.mark.parametrize(
    ("cores", "workers", "threads", "photos", "expected"),
    [
        (4, None, None, None, (4, 1)),
        (4, None, None, 400, (4, 1)),
        (4, None, None, 2, (2, 1)),
        (4, None, None, 1, (1, None)),
        (4, None, 4, 400, (1, 4)),
        (4, None, 2, 400, (2, 2)),
        (4, 1, None, 400, (1, None)),
        (4, 1, 3, 400, (1, 3)),
        (4, 7, None, 400, (7, 1)),
        (4, 2, 3, 400, (2, 3)),
        (4, None, None, 0, (1, None)),
        (1, None, None, 400, (1, None)),
    ],
)
def test_all_cores_have_work(
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    workers: int | None,
    threads: int | None,
    photos: int | None,
    expected: tuple[int, int | None],
) -> None:
    monkeypatch.setattr("edge_effnet.many.available_cores", lambda: cores)
    assert split_cores(workers, threads, photos=photos) == expected
