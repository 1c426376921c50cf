"""The output's mean error: as much of it as is no accident, and off the last bias."""

from __future__ import annotations

import numpy as np

from edge_effnet.quantization.stages.output_shift import trusted_mean


def test_a_mean_far_beyond_its_error_is_taken_nearly_whole() -> None:
    errors = 3.0 + 0.1 * np.random.default_rng(0).standard_normal((64, 10))
    np.testing.assert_allclose(trusted_mean(errors), 3.0, atol=0.1)


def test_what_accident_makes_is_left() -> None:
    errors = np.random.default_rng(0).standard_normal((64, 1000))
    assert np.square(trusted_mean(errors)).sum() < 0.1 * np.square(errors.mean(axis=0)).sum()


def test_no_error_has_no_mean() -> None:
    assert not trusted_mean(np.zeros((4, 3))).any()
