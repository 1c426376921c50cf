"""Text on the page can be read: contrast of every text colour on what lies under it, light and dark (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import edge_effnet.live.web

CSS = (Path(edge_effnet.live.web.__file__).parent / "page.css").read_text(encoding="utf-8")
LEAST = 4.5
#: (text, what lies under it, how much of a third colour lies between): as page.css and teach.css use them.
PAIRS = (
    ("ink", "ground", None),
    ("ink", "card", None),
    ("ink", "line", None),
    ("ink", "bar", None),
    ("ink", "bar-held", None),
    ("faint", "ground", None),
    ("faint", "card", None),
    ("faint", "ground", ("bar", 0.45)),
    ("accent", "live-ground", None),
    ("accent", "card", None),
    ("card", "accent", None),
    ("card", "ink", None),
    ("alarm", "alarm-ground", None),
)


def colours(theme: str) -> dict[str, tuple[int, ...]]:
    """Name → red, green, blue of each custom property that is a plain colour; dark ones over light ones."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    assert len(blocks) == 2
    found: dict[str, tuple[int, ...]] = {}
    for block in blocks[: 1 if theme == "light" else 2]:
        for name, digits in re.findall(r"--([\w-]+): #([0-9a-f]{6});", block):
            found[name] = tuple(bytes.fromhex(digits))
    return found


def luminance(colour: tuple[float, ...]) -> float:
    """WCAG's relative luminance of sRGB, 0..1."""
    linear = [(c / 255 / 12.92) if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_measure_is_the_standards() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((118, 118, 118), (255, 255, 255)) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("text", "under", "between"), PAIRS)
def test_text_can_be_read(theme: str, text: str, under: str, between: tuple[str, float] | None) -> None:
    found = colours(theme)
    ground: tuple[float, ...] = found[under]
    if between is not None:
        name, share = between
        ground = tuple(share * a + (1 - share) * b for a, b in zip(found[name], ground, strict=True))
    assert contrast(found[text], ground) >= LEAST
