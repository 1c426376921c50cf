"""The solver, the folds, the cache and the references by themselves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_effnet.formats.dense import DenseHead
from edge_effnet.learning.cache import FeatureCache, cache_key, default_folder
from edge_effnet.learning.folds import moments, split, wilson
from edge_effnet.learning.head import PENALTIES, train
from edge_effnet.learning.references import MOST_A_CLASS, MOST_BYTES, chosen, learn_references
from edge_effnet.learning.solver import fit, minimise
from edge_effnet.unknown import unpacked_references

DIGEST = "ab" * 32


def clouds(classes: int, photos: int, *, size: int = 16, seed: int = 0) -> tuple[Any, Any]:
    """float32[classes · photos, size], positive, and their classes."""
    random = np.random.default_rng(seed)
    centres = random.random((classes, size)) * 3
    kinds = np.repeat(np.arange(classes), photos)
    return np.maximum(centres[kinds] + random.normal(0, 0.3, (len(kinds), size)), 0).astype(np.float32), kinds


def test_a_quadratic_has_its_minimum_where_algebra_says() -> None:
    random = np.random.default_rng(0)
    root, target = random.standard_normal((20, 20)), random.standard_normal(20)
    matrix = root @ root.T + np.eye(20)
    found = minimise(
        lambda x: (0.5 * float(x @ matrix @ x - 2 * target @ x), matrix @ x - target), np.zeros(20), good=1e-9
    )
    np.testing.assert_allclose(found, np.linalg.solve(matrix, target), atol=1e-3)


def test_a_head_is_where_the_slope_is_flat() -> None:
    """The gradient of the weighted loss, by hand; and from another beginning it ends in the same place."""
    features, classes = clouds(3, 20)
    head = fit(features, classes, count=3, penalty=0.01)
    logits = head.logits(features).astype(np.float64)
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    slope = (scores - np.eye(3)[classes]).T @ features / 60 + 0.01 * head.weights
    assert np.abs(slope).max() < 1e-3
    again = fit(features, classes, count=3, penalty=0.01, start=DenseHead(head.weights + 1, head.bias))
    np.testing.assert_allclose(again.weights, head.weights, atol=0.05)


def test_classes_weigh_the_same_however_many_photos_they_have() -> None:
    features, classes = clouds(2, 30)
    few = np.concatenate([np.flatnonzero(classes == 0), np.flatnonzero(classes == 1)[:3]])
    head = fit(features[few], classes[few], count=2, penalty=0.1)
    np.testing.assert_allclose(head.bias.sum(), 0, atol=1e-3)
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
    found = train(features, classes, count=3)
    assert (found.penalty, found.halved) == (PENALTIES[0], None)
    assert np.isnan(found.held_out).all()
    assert found.head.logits(features).argmax(axis=1).tolist() == [0, 1, 2]


def test_held_out_photos_are_not_learned_from() -> None:
    """Labels without sense are recognised in no more photos than by chance."""
    random = np.random.default_rng(0)
    features = random.random((200, 64)).astype(np.float32)
    classes = random.integers(0, 2, 200)
    found = train(features, classes, count=2)
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


def test_a_cache_that_cannot_be_kept_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with FeatureCache(tmp_path / "file", "k", 4) as cache:
        cache.put(DIGEST, np.zeros(4, np.float32))
        assert cache.get(DIGEST) is not None


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
