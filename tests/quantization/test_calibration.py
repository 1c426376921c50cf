"""Which photos are drawn, and that they stay where they are until they are looked at."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.networks import export_narrow, graph_of, narrow_state, photos, pointwise
from support.photos import synthetic_photo

from edge_effnet.decoding import IMAGE_FORMATS, TIFF, ImageRules
from edge_effnet.errors import CalibrationError, UsageError
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.quantization.measure import calibration
from edge_effnet.quantization.measure.calibration import (
    MINIMUM_AFTER_BROKEN,
    CalibrationSet,
    draw_calibration_set,
    draw_further,
)
from edge_effnet.quantization.measure.passes import Wanted, measure
from edge_effnet.quantization.measure.squares import PreparedSquares

PREPROCESSING = Preprocessing(36, 32)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 photos in three depths of folders, and what is none."""
    folder = tmp_path_factory.mktemp("many")
    for seed in range(24):
        place = folder / ("", "a", "a/b")[seed % 3]
        place.mkdir(exist_ok=True)
        synthetic_photo(seed, 48, 40).save(place / f"{seed}{('.png', '.JPG', '.webp')[seed % 3 - 1]}")
    (folder / "notes.txt").write_text("no photo")
    (folder / "a" / "labels.csv").write_text("file,index")
    (folder / ".hidden.png.part").write_bytes(b"")
    return folder


def draw(source: Any, *, limit: int = 100, seed: int = 0) -> CalibrationSet:
    return draw_calibration_set(source, PREPROCESSING, limit=limit, seed=seed)


def test_folders_are_searched_to_the_bottom_and_other_files_ignored(many: Path) -> None:
    found = draw(many)
    assert len(found) == 24
    assert found.broken == ()
    assert {Path(path).suffix for path in found.sources} == {".png", ".JPG", ".webp"}
    assert len({str(path) for path in found.sources}) == 24
    for pixels in found:
        assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)


def test_the_rules_hold_when_photos_are_drawn_and_when_they_are_read_again(tmp_path: Path) -> None:
    for seed in range(20):
        synthetic_photo(seed, 48, 40).save(tmp_path / f"{seed}.{('png', 'tif')[seed % 2]}")
    rules = ImageRules(formats=(*IMAGE_FORMATS, TIFF))
    found = draw_calibration_set(tmp_path, PREPROCESSING, limit=8, seed=0, rules=rules)
    assert {Path(path).suffix for path in found.sources} == {".png", ".tif"}
    further = draw_further(found, more=8)
    assert not set(further.sources) & set(found.sources)
    assert (found.rules, further.rules, found.subset(slice(0, 2)).rules) == (rules, rules, rules)
    assert [len(list(photos)) for photos in (found, further, found.subset(slice(0, 2)))] == [8, 8, 2]
    with pytest.raises(CalibrationError, match="10 usable photos, 10 broken"):
        draw(tmp_path)


def test_limit_and_seed(many: Path) -> None:
    first, again, other = draw(many, limit=7), draw(str(many), limit=7), draw(many, limit=7, seed=1)
    assert len(first) == 7
    assert list(first.sources) == list(again.sources)
    assert first.digest == again.digest
    assert set(first.sources) != set(other.sources)
    assert first.digest != other.digest
    assert list(draw(many, limit=20).sources)[:7] == list(first.sources)
    part = first.subset(slice(2, 5))
    assert list(part.sources) == list(first.sources)[2:5]
    assert (len(part), part.digest) == (3, first.digest)


def test_the_digest_is_of_the_contents(many: Path, tmp_path: Path) -> None:
    shutil.copytree(many, tmp_path / "copy")
    assert draw(tmp_path / "copy").digest == draw(many).digest
    synthetic_photo(99, 48, 40).save(tmp_path / "copy" / "0.webp")
    assert draw(tmp_path / "copy").digest != draw(many).digest


def test_iterating_twice_gives_the_same(many: Path) -> None:
    found = draw(many, limit=4)
    for first, second in zip(found, found, strict=True):
        np.testing.assert_array_equal(first, second)


def test_broken_files_are_left_out_and_named(many: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(many, folder)
    whole = (folder / "3.webp").read_bytes()
    (folder / "cut.webp").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no photo")
    found = draw(folder)
    assert len(found) == 24
    assert len(found.broken) == 3
    assert all(any(name in reason for reason in found.broken) for name in ("cut.webp", "empty.png", "text.jpg"))


@pytest.mark.parametrize("good", [0, 1, MINIMUM_AFTER_BROKEN - 1, MINIMUM_AFTER_BROKEN])
def test_fewer_than_sixteen_beside_broken_ones_are_no_basis(tmp_path: Path, good: int) -> None:
    for seed in range(good):
        synthetic_photo(seed, 40, 40).save(tmp_path / f"{seed}.png")
    (tmp_path / "broken.png").write_bytes(b"broken")
    if good == MINIMUM_AFTER_BROKEN:
        assert len(draw(tmp_path)) == good
        return
    with pytest.raises(
        CalibrationError,
        match=rf"calibration: {good} usable photos, 1 broken \(.*broken\.png.*\); expected at least 16",
    ):
        draw(tmp_path)


def test_one_good_photo_is_enough_where_none_is_broken(tmp_path: Path) -> None:
    synthetic_photo(0).save(tmp_path / "one.png")
    assert len(draw(tmp_path)) == 1


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    (tmp_path / "file.png").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for missing in (tmp_path / "nowhere", tmp_path / "file.png"):
        with pytest.raises(
            CalibrationError, match=r"does not exist; expected a folder with photos like those the model will see"
        ):
            draw(missing)
    with pytest.raises(CalibrationError, match=r"no photos in .*empty; expected a folder with photos"):
        draw(tmp_path / "empty")
    with pytest.raises(CalibrationError, match="no photos in"):
        draw([])


@pytest.mark.parametrize("limit", [0, -3])
def test_an_impossible_limit(limit: int) -> None:
    with pytest.raises(CalibrationError, match=f"calibration with {limit} photos; expected at least 1"):
        draw(photos(2), limit=limit)


def test_arrays_images_paths_and_bytes_may_be_given_directly(many: Path) -> None:
    path = many / "3.webp"
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    digests = {draw([source]).digest for source in (path, str(path), path.read_bytes(), image, np.asarray(image))}
    assert len(digests) == 1
    assert len(draw(iter(photos(3)))) == 3


def test_the_sequence_given_stays_as_it_was() -> None:
    given = photos(5)
    kept = list(given)
    draw(given, limit=3)
    assert all(one is other for one, other in zip(given, kept, strict=True))


class LazyPhotos(Sequence[Any]):
    """Made when asked for, counted."""

    def __init__(self, count: int) -> None:
        self._count, self.made = count, 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        self.made += 1
        return np.full((32, 32, 3), int(index) % 256, np.uint8)


def test_each_photo_is_looked_at_once() -> None:
    """However often it is iterated, whatever further photos are drawn; and none beside those that are drawn."""
    lazy = LazyPhotos(40)
    found = draw_calibration_set(lazy, Preprocessing(32, 32), limit=12, seed=0, workers=3)
    assert lazy.made == 12
    for _ in range(3):
        assert len(list(found)) == len(list(found.subset(slice(0, 5)))) + 7 == 12
    few, further = draw_further(found, more=5), draw_further(found, more=20)
    assert lazy.made == 32
    assert list(few.squares[2].flat) == list(further.squares[2].flat)
    assert len(draw_further(found, more=100)) == 28
    assert lazy.made == 40


def test_further_photos_are_those_a_larger_drawing_would_have(many: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(many, folder)
    for number in range(4):
        (folder / f"broken{number}.png").write_bytes(b"broken")
    found, whole = draw(folder, limit=18), draw(folder, limit=23)
    further = draw_further(found, more=5)
    assert list(found.sources) + list(further.sources) == list(whole.sources)
    assert further.digest == whole.digest
    assert further.broken == whole.broken
    assert set(found.broken) <= set(whole.broken)
    for one, other in zip([*found, *further], whole, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("workers", [2, 7])
def test_any_number_of_workers_draws_the_same(many: Path, tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(many, folder)
    for number in range(6):
        (folder / f"broken{number}.png").write_bytes(b"broken")
    one, several = (
        draw_calibration_set(folder, PREPROCESSING, limit=20, seed=3, workers=count) for count in (1, workers)
    )
    assert (one.digest, one.broken, list(one.sources)) == (several.digest, several.broken, list(several.sources))
    assert all(map(np.array_equal, one, several))


def test_ten_thousand_photos_take_no_more_memory_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them at once would be 31 MB; peaks are Python's and numpy's own allocations."""
    monkeypatch.setattr(calibration, "PreparedSquares", lambda: PreparedSquares(memory_bytes=100_000))
    graph = graph_of([pointwise("conv", "image", np.random.default_rng(0), 3, 4)], channels=3, height=32, width=32)
    peaks = []
    for count in (100, 10_000):
        lazy = LazyPhotos(count)
        tracemalloc.start()
        try:
            found = draw_calibration_set(lazy, Preprocessing(32, 32), limit=count, seed=0)
            inputs = (pixels[None].astype(np.float32) for pixels in found.subset(slice(0, None, max(1, count // 250))))
            statistics = measure(graph, list(inputs), Wanted(statistics=10_000)).statistics
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert len(found) == lazy.made == count
        assert statistics["image"].high >= 99
    assert peaks[1] - peaks[0] < 4_000_000


def test_labels_that_do_not_fit_are_refused_before_the_photos_are_looked_at(tmp_path: Path) -> None:
    class Unseen(list[Any]):
        def __getitem__(self, key: Any) -> Any:
            raise AssertionError("a photo was looked at")

    with pytest.raises(UsageError, match="has 2 labels, the model 5 classes"):
        export_narrow(
            narrow_state("b0"),
            "b0",
            tmp_path / "m.tflite",
            precision="int8",
            refine=0.0,
            calibration=Unseen([0] * 20),
            labels=["a", "b"],
        )
