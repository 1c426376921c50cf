"""The measurement of many photos, in small, and its chapter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_effnet.benchmarks import throughput
from edge_effnet.benchmarks.throughput_render import many_photos
from edge_effnet.system import available_cores


@pytest.mark.litert
def test_it_measures_each_album_in_each_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "ALBUMS", {"small": (3, 2, 64, 48)})
    results = tmp_path / "throughput.json"
    throughput.main(["--rounds", "1", "--results", str(results)])
    found = json.loads(results.read_text(encoding="utf-8"))
    ways = found["albums"]["small"]
    assert list(ways) == list(throughput.WAYS)
    assert ways["default"]["default_is_faster_by"] == 1
    for figures in ways.values():
        assert figures["photos_per_s"] > 0
        assert figures["photos_per_s_after_the_first"] > 0
        assert figures["cpu_ms_per_photo"] > 0
    bound = found["bounds"]["small"]
    cores = available_cores()
    whole = bound["beside_ms"] + bound["network_ms"]
    assert bound["most"] == pytest.approx(
        (bound["beside_ms"] + bound["network_two_threads_ms"]) * cores / whole, abs=0.05
    )


def test_the_chapter_says_what_was_measured_and_where_the_bound_lies() -> None:
    figures = {"photos_per_s": 80.25, "cpu_ms_per_photo": 24.0, "default_is_faster_by": 1.0}
    figures |= {"photos_per_s_after_the_first": 91.0, "default_is_faster_by_after_the_first": 1.25}
    bound = {"beside_ms": 20.0, "network_ms": 5.0, "network_two_threads_ms": 3.0, "most": 1.84}
    found = {
        "albums": {"12 MP": {"default": figures}},
        "bounds": {"12 MP": bound},
        "rounds": 5,
        "load_after": 0.1,
        "machine": {"cores": 4},
    }
    regions = {"decode": 4e6, "preprocess": 16e6, "inference": 180e6, "postprocess": 0.0}
    text = "\n".join(many_photos(found, {"pi4": regions, "pi5": {**regions, "inference": 60e6}}))
    assert "| 12 MP | default | 80.2 | 91.0 | 24.0 | 1.00 | 1.25 |" in text
    assert "at most 1.84 times as fast" in text
    assert "5 rounds, medians; 4 cores, load 0.1 at the end" in text
    assert "takes 50 million instructions" in text
    assert (
        "network has 90 %, the resize 8 %, the decode 2 %; 20 million on the Pi 5, of which these have 75 %,\n20 % and 5 %"
        in text
    )


def test_without_results_the_chapter_says_how() -> None:
    text = "\n".join(many_photos(None, {}))
    assert "--workers" in text
    assert "|" not in text
