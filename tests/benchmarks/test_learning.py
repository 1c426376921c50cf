"""What docs/learn.md says of accuracy and cost is what was stored when it was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_effnet.benchmarks.learning import render

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "learn.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / "learning.json").read_text(encoding="utf-8"))
    return found


def row(stored: dict[str, Any], key: str) -> str:
    return " | ".join(f"{100 * float(np.mean(size[key])):.1f}" for size in stored["rows"])


def test_the_pages_figures_are_the_stored_ones(stored: dict[str, Any]) -> None:
    assert [size["a_class"] for size in stored["rows"]] == [1, 5, 20, None]
    assert f"| `learn`, % recognised | {row(stored, 'learned')} |" in PAGE
    assert f"| nearest class mean (cosine) | {row(stored, 'class_means')} |" in PAGE
    unknown, times = stored["unknown"], stored["inference_ms"]
    assert f"by the whole of each | {100 * unknown['own_called_unknown']:.1f} % |" in PAGE
    assert f"similarity to references | {unknown['auroc']:.3f} |" in PAGE
    assert f"its inference takes {times['learned'] / times['base']:.2f} of the base's time" in PAGE
    size = stored["bytes"]
    assert f"has {size['learned'] / 1e6:.1f} MB, the base {size['base'] / 1e6:.1f}" in PAGE


def test_the_figures_are_shown_as_a_table(stored: dict[str, Any]) -> None:
    shown = render(stored)
    assert shown.startswith("1435 photos to learn from, 341 to judge by")
    assert "all   89.74" in shown
