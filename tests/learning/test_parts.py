"""The solver, the folds, the cache and the references by themselves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_effnet.learning.cache import FeatureCache, cache_key, default_folder
from edge_effnet.learning.depths import factors_of
from edge_effnet.learning.discriminant import fit
from edge_effnet.learning.folds import moments, split, wilson
from edge_effnet.learning.head import PENALTIES, train
from edge_effnet.learning.references import MOST_A_CLASS, MOST_BYTES, chosen, learn_references
from edge_effnet.learning.views import best_view, views_of
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.unknown import unpacked_references

DIGEST = "ab" * 32


def clouds(classes: int, photos: int, *, size: int = 16, seed: int = 0) -> tuple[Any, Any]:
    """float32[classes · photos, size], positive, and their classes."""
    random = np.random.default_rng(seed)
    centres = random.random((classes, size)) * 3
    kinds = np.repeat(np.arange(classes), photos)
    return np.maximum(centres[kinds] + random.normal(0, 0.3, (len(kinds), size)), 0).astype(np.float32), kinds


@pytest.mark.parametrize(("photos", "size"), [(4, 64), (30, 16)])
def test_a_head_is_what_algebra_says(photos: int, size: int) -> None:
    """Means times the inverse of the covariance within classes, shrunk; by either of the two products."""
    features, classes = clouds(3, photos, size=size)
    (head,) = fit(features.copy(), classes, count=3, penalties=(0.01,))
    values = features.astype(np.float64)
    centre = values.mean(axis=0)
    length = np.linalg.norm(values - centre, axis=1).mean()
    rows = (values - centre) / np.linalg.norm(values - centre, axis=1, keepdims=True)
    means = np.stack([rows[classes == label].mean(axis=0) for label in range(3)])
    rest = rows - means[classes]
    directions = 0.01 * means @ np.linalg.inv(rest.T @ rest / len(rows) + 0.01 * np.eye(size))
    expected = (values - centre) / length @ directions.T - 0.5 * (directions * means).sum(axis=1)
    np.testing.assert_allclose(head.logits(features), expected, atol=1e-5)


def test_a_penalty_gives_the_same_head_beside_others() -> None:
    features, classes = clouds(3, 5, size=64)
    alone = fit(features.copy(), classes, count=3, penalties=(0.01,))[0]
    beside = fit(features.copy(), classes, count=3, penalties=(0.1, 0.01))[1]
    np.testing.assert_array_equal(alone.weights, beside.weights)


def test_photos_without_any_difference_give_a_head_without_nonsense() -> None:
    (head,) = fit(np.ones((4, 8), np.float32), np.array([0, 0, 1, 1]), count=2, penalties=(0.1,))
    assert np.isfinite(head.weights).all()
    assert np.isfinite(head.bias).all()


def test_classes_weigh_the_same_however_many_photos_they_have() -> None:
    features, classes = clouds(2, 30)
    few = np.concatenate([np.flatnonzero(classes == 0), np.flatnonzero(classes == 1)[:3]])
    (head,) = fit(features[few].copy(), classes[few], count=2, penalties=(0.1,))
    right = head.logits(features).argmax(axis=1) == classes
    assert right[classes == 1].mean() > 0.9


def test_photos_of_a_burst_are_one_moment() -> None:
    features, classes = clouds(2, 4, size=64)
    burst = np.concatenate([features, features[:1] * 1.5, features[:1] + 0.001]).astype(np.float32)
    found = moments(burst, np.append(classes, [0, 1]))
    assert found[8] == found[0]
    assert len(set(found.tolist())) == 9  # the same features in another class are another moment


def test_moments_stay_together_and_classes_are_spread() -> None:
    classes = np.repeat([0, 1, 2], [20, 7, 3])
    groups = np.arange(30)
    groups[:4] = 0
    groups[27:] = 27
    fold = split(classes, groups)
    assert len(set(fold[:4].tolist())) == 1
    assert set(fold[:20].tolist()) == set(range(5))
    assert fold[27:].tolist() == [-1, -1, -1]


def test_the_interval_is_wilsons() -> None:
    """81 of 263: 0.2553 to 0.3662 (Newcombe 1998, table I)."""
    low, high = wilson(81 / 263, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson(0.5, 0) == (0.0, 1.0)


def test_one_photo_a_class_takes_the_strongest_penalty() -> None:
    features, classes = clouds(3, 1)
    found = train(features.copy(), classes, count=3, groups=moments(features, classes))
    assert (found.penalty, found.halved) == (PENALTIES[0], None)
    assert np.isnan(found.held_out).all()
    assert found.head.logits(features).argmax(axis=1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("photos", [5, 20])
def test_classes_far_apart_give_scores_that_leave_room_for_a_mistake(photos: int) -> None:
    """Of n photos held out, all right: about n + 1 of n + 2, and never 1."""
    random = np.random.default_rng(0)
    kinds = np.repeat([0, 1, 2], photos)
    features = (5 * np.eye(3, 64)[kinds] + random.random((len(kinds), 64))).astype(np.float32)
    found = train(features.copy(), kinds, count=3, groups=moments(features, kinds))
    assert (found.held_out.argmax(axis=1) == kinds).all()
    logits = found.held_out.astype(np.float64)
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    best = (scores / scores.sum(axis=1, keepdims=True)).max(axis=1)
    expected = (len(kinds) + 1) / (len(kinds) + 2)
    assert abs(best.mean() - expected) < 0.03
    assert best.max() < 1 - 0.2 * (1 - expected)


def test_held_out_photos_are_not_learned_from() -> None:
    """Labels without sense are recognised in no more photos than by chance."""
    random = np.random.default_rng(0)
    features = random.random((200, 64)).astype(np.float32)
    classes = random.integers(0, 2, 200)
    found = train(features.copy(), classes, count=2, groups=moments(features, classes))
    assert 0.35 < (found.held_out.argmax(axis=1) == classes).mean() < 0.65


def test_features_are_kept_and_torn_ends_cut_off(tmp_path: Path) -> None:
    rows = {f"{index:064x}": np.arange(8, dtype=np.float32) + index for index in range(3)}
    with FeatureCache(tmp_path, "k", 8) as cache:
        for digest, row in rows.items():
            cache.put(digest, row)
    path = tmp_path / "k.features"
    whole = path.read_bytes()
    for cut in (1, 30, 67, 68, 69):
        path.write_bytes(whole[:-cut])
        with FeatureCache(tmp_path, "k", 8) as cache:
            kept = [digest for digest in rows if cache.get(digest) is not None]
            assert len(kept) == (1 if cut > 68 else 2)
            np.testing.assert_array_equal(cache.get(kept[0]), rows[kept[0]])
            cache.put(DIGEST, rows[kept[0]])
        with FeatureCache(tmp_path, "k", 8) as cache:
            assert cache.get(DIGEST) is not None
    damaged = bytearray(whole)
    damaged[60] ^= 1
    path.write_bytes(damaged)
    with FeatureCache(tmp_path, "k", 8) as cache:
        assert [cache.get(digest) for digest in rows] == [None] * 3


def test_runs_at_the_same_time_keep_what_each_finds(tmp_path: Path) -> None:
    rows = {f"{index:064x}": np.arange(8, dtype=np.float32) + index for index in range(6)}
    with FeatureCache(tmp_path, "k", 8) as one, FeatureCache(tmp_path, "k", 8) as other:
        for index, (digest, row) in enumerate(rows.items()):
            (other if index % 2 else one).put(digest, row)
    with FeatureCache(tmp_path, "k", 8) as cache:
        for digest, row in rows.items():
            np.testing.assert_array_equal(cache.get(digest), row)


def test_a_full_disk_ends_keeping_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row, write = np.arange(8, dtype=np.float32), os.write
    with FeatureCache(tmp_path, "k", 8) as cache:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda file, data: write(file, data[:20]))
            cache.put(DIGEST, row)
        cache.put(f"{7:064x}", row)
        assert cache.get(f"{7:064x}") is None
    with FeatureCache(tmp_path, "k", 8) as cache:
        assert cache.get(DIGEST) is None
        cache.put(DIGEST, row)
        np.testing.assert_array_equal(cache.get(DIGEST), row)
    with FeatureCache(tmp_path, "k", 8) as cache:
        np.testing.assert_array_equal(cache.get(DIGEST), row)


def test_what_another_run_has_changed_meanwhile_is_not_taken_for_features(tmp_path: Path) -> None:
    row, path = np.arange(8, dtype=np.float32), tmp_path / "k.features"
    with FeatureCache(tmp_path, "k", 8) as cache:
        cache.put(DIGEST, row)
        whole = path.read_bytes()
        path.write_bytes(whole[:-30])
        assert cache.get(DIGEST) is None
        path.write_bytes(whole.replace(bytes.fromhex(DIGEST), bytes(32)))
        assert cache.get(DIGEST) is None
        path.write_bytes(whole)
        np.testing.assert_array_equal(cache.get(DIGEST), row)


def test_a_cache_that_cannot_be_kept_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with FeatureCache(tmp_path / "file", "k", 4) as cache:
        cache.put(DIGEST, np.zeros(4, np.float32))
        assert cache.get(DIGEST) is None


def test_keys_change_with_what_features_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_key(a=1, b=2) == cache_key(b=2, a=1) != cache_key(a=1, b=3)
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert default_folder() == Path("/c/edge-effnet/features")
    assert os.fspath(default_folder()).startswith("/c")


def test_references_are_bounded_and_of_every_moment() -> None:
    classes = np.repeat([0, 1], [200, 3])
    groups = np.concatenate([np.zeros(100, np.int64), np.arange(1, 104)])
    kept = chosen(classes, groups, size=8)
    assert (classes[kept] == 0).sum() == MOST_A_CLASS
    assert len(set(groups[kept].tolist())) == len(kept)
    many = chosen(np.repeat(np.arange(20), 50), np.arange(1000), size=1280)
    assert len(many) * 1280 <= MOST_BYTES
    assert np.bincount(many // 50).min() == np.bincount(many // 50).max()


@pytest.mark.parametrize("share", [0.02, 0.05, 0.2])
def test_the_threshold_leaves_the_share_that_was_asked_for(share: float) -> None:
    features, classes = clouds(4, 100, size=32)
    fold = np.arange(400) % 5
    found = learn_references(
        features, classes, groups=np.arange(400), fold=fold, share=share, already=np.zeros(400, bool)
    )
    assert found is not None
    new, _ = clouds(4, 200, size=32)  # the same centres, other photos
    rows = unpacked_references(found.packed, found.rule.references)
    similar = np.sort((new / np.linalg.norm(new, axis=1, keepdims=True)) @ rows.T, axis=1)
    called = (similar[:, -found.rule.neighbours :].mean(axis=1) < found.rule.threshold).mean()
    assert abs(called - share) < 0.04


def test_photos_that_the_network_calls_unknown_count() -> None:
    features, classes = clouds(2, 50)
    options: dict[str, Any] = {"groups": np.arange(100), "fold": np.arange(100) % 5, "share": 0.05}
    none = learn_references(features, classes, already=np.zeros(100, bool), **options)
    many = learn_references(features, classes, already=np.arange(100) < 20, **options)
    assert none is not None
    assert many is not None
    assert many.rule.threshold == -1 < none.rule.threshold


def test_the_view_that_tells_classes_apart_is_taken_and_the_first_of_equals() -> None:
    good, classes = clouds(3, 10, size=64)
    bad = np.random.default_rng(1).random(good.shape).astype(np.float32)
    views = views_of(Preprocessing(resize=256, crop=224))
    assert [view.resized for view in views] == [(256, 256), (224, 224)]
    single = np.array([0, 10, 20])
    for tables, kinds, place in (
        ([bad, good], classes, 1),
        ([good, bad], classes, 0),
        ([good, good], classes, 0),
        ([good[single], bad[single]], classes[single], 0),
    ):
        found = best_view(views, [table.copy() for table in tables], kinds, sizes=(64,))
        assert found.preprocessing is views[place]
        np.testing.assert_array_equal(found.features, tables[place])


def test_maps_beside_the_features_get_their_spread_and_count_less_for_few_photos() -> None:
    random = np.random.default_rng(0)
    rows = random.random((50, 12)).astype(np.float32) * np.repeat([1, 10, 100], [6, 4, 2]).astype(np.float32)
    many = factors_of(rows, (6, 4, 2), moments_a_class=100)
    few = factors_of(rows, (6, 4, 2), moments_a_class=1)
    np.testing.assert_array_equal(many[:6], 1)
    np.testing.assert_allclose(few[6:] / many[6:], 0.5, rtol=1e-6)
    spread = [
        np.linalg.norm(part - part.mean(axis=0), axis=1).mean() for part in np.split(rows * many, [6, 10], axis=1)
    ]
    np.testing.assert_allclose(np.array(spread) / spread[0], [1, 1, 0.7], rtol=1e-5)
    np.testing.assert_array_equal(factors_of(rows, (12,), moments_a_class=1), 1)
    same = factors_of(np.ones((3, 4), np.float32), (2, 2), moments_a_class=1)
    assert np.isfinite(same).all(), "maps that are the same for all photos"


def test_what_only_a_map_shows_is_learned_from_it() -> None:
    """Of features that say nothing and a map that does; the head reads the network's own values."""
    shown, classes = clouds(3, 20, size=8)
    noise = np.random.default_rng(1).random((len(shown), 16)).astype(np.float32)
    rows = np.concatenate([noise, shown / 50], axis=1)
    (view,) = views_of(Preprocessing(resize=224, crop=224))
    found = best_view([view], [rows.copy()], classes, sizes=(16, 8)).trained
    assert (found.head.logits(rows).argmax(axis=1) == classes).mean() > 0.95
    assert (found.held_out.argmax(axis=1) == classes).mean() > 0.9


@pytest.mark.parametrize(
    "own",
    [
        Preprocessing(resize=224, crop=224),
        Preprocessing(resize=256, crop=224, mode="squash"),
        Preprocessing(resize=256, crop=(224, 192)),
    ],
)
def test_a_base_that_sees_the_whole_has_one_view(own: Preprocessing) -> None:
    assert views_of(own) == (own,)
