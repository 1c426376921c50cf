"""The emulated boards' harness, without an emulator: what is counted, compared and said."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")  # writing .tflite files needs its schema
pytest.importorskip("torch")

from edge_effnet import Classifier
from edge_effnet.benchmarks.arm import __main__ as command
from edge_effnet.benchmarks.arm import check, emulator, guest
from edge_effnet.benchmarks.arm.check import Answers, differing
from edge_effnet.benchmarks.arm.counting import STAGES, count_model, read_totals, regions
from edge_effnet.benchmarks.arm.emulator import BOARDS, COUNTED, EmulationError, Guest, build_wheel, install, prepare
from edge_effnet.benchmarks.arm.integer_part import integer_part
from edge_effnet.benchmarks.arm.made_up import made_up_graph
from edge_effnet.benchmarks.arm.reference import differences, read_reference, write_reference
from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.network.graph import DepthwiseConv2D

ROOT = Path(__file__).parents[2]
PHOTOS = sorted((ROOT / "examples" / "photos").glob("*.jpg"))
COUNTS = {"pi4": {"Lite0": {"decode": 1_000_000, "inference": 140_000_000}}}
GUEST = Guest("pi5", Path("home"), Path("site"))


def test_the_clock_tells_which_marks_a_stage_lay_between(monkeypatch: pytest.MonkeyPatch) -> None:
    marks: list[int] = []
    monkeypatch.setattr(guest, "mark", marks.append)
    clock = guest.Clock()
    clock.readings = clock.start = 20
    times = [clock() for _ in range(9)]
    timing = {"first": 1000 * (times[1] - times[0]), "both": 1000 * (times[3] - times[1] + times[8] - times[6])}
    assert clock.spans(timing) == {"first": [20], "both": [21, 22, 26, 27]}
    assert marks == list(range(20, 29))


def test_regions_are_sums_between_marks() -> None:
    totals = {mark: 10 * mark * mark for mark in range(20)}
    stages = {stage: [place] for place, stage in enumerate(STAGES, 1)}
    later = {stage: [place + 10] for place, stage in enumerate(STAGES, 1)} | {"postprocess": [14, 16]}
    found = regions({"cold": stages, "a.jpg": stages, "b.jpg": later}, totals)
    assert found["start-up"] == totals[1]
    assert found["first photo"] == totals[5] - totals[1]
    assert found["decode"] == totals[2] - totals[1] + totals[12] - totals[11]
    assert found["postprocess"] == totals[5] - totals[4] + totals[15] - totals[14] + totals[17] - totals[16]


def test_the_guest_program_marks_every_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run here: marks are collected instead of closed."""
    marks: list[int] = []
    monkeypatch.setattr(guest, "mark", marks.append)
    monkeypatch.setattr(time, "perf_counter", time.perf_counter)  # run_photos replaces it; undone after the test
    monkeypatch.setattr(sys, "argv", sys.argv)
    guest.run_photos(str(BUNDLED_MODEL), *map(str, PHOTOS[:2]))
    found = json.loads(capsys.readouterr().out)
    assert list(found["spans"]) == ["cold", *(photo.name for photo in PHOTOS[:2])]
    places = [place for stages in found["spans"].values() for spans in stages.values() for place in spans]
    assert len(set(places)) == len(places)
    assert all(set(stages) == set(STAGES) and all(stages.values()) for stages in found["spans"].values())
    assert marks == sorted(set(marks))
    assert set(regions(found["spans"], {mark: mark for mark in marks})) == {"start-up", "first photo", *STAGES}


def test_the_guest_program_runs_any_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    marks: list[int] = []
    monkeypatch.setattr(guest, "mark", marks.append)
    guest.run_model(str(BUNDLED_MODEL), "2")
    assert marks == [0, 1, 2, 3, 4, 5]
    assert json.loads(capsys.readouterr().out)["input"] == "uint8"
    guest.keep_logits(str(BUNDLED_MODEL), str(tmp_path / "logits.npz"), str(PHOTOS[0]))
    with np.load(tmp_path / "logits.npz") as found, Classifier() as classifier:
        assert np.array_equal(found[PHOTOS[0].name], classifier.logits(PHOTOS[0]))


def test_a_model_count_is_the_last_inference(monkeypatch: pytest.MonkeyPatch) -> None:
    def python(_self: Guest, *_arguments: Any, counts: Path) -> str:
        counts.write_text("0 100\n1 350\n2 400\n3 1400\n4 1401\n5 1900\n6 2000\n7 2444\n", encoding="utf-8")
        return 'INFO: something\n{"engine": "made up 1.0", "input": "uint8"}\n'

    monkeypatch.setattr(Guest, "python", python)
    found = count_model(GUEST, BUNDLED_MODEL)
    assert (found.engine, found.load, found.inference) == ("made up 1.0", 250, 444)


@pytest.mark.parametrize(
    ("name", "message"), [("x.pt", "expected a .tflite or .onnx file"), ("missing.onnx", "no such file")]
)
def test_what_cannot_be_counted(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        count_model(GUEST, Path(name))


def test_a_guest_that_prints_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def python(_self: Guest, *_arguments: Any, counts: Path) -> str:
        counts.write_text("", encoding="utf-8")
        return "oh no"

    monkeypatch.setattr(Guest, "python", python)
    with pytest.raises(EmulationError, match="the guest printed 'oh no'"):
        count_model(GUEST, BUNDLED_MODEL)


def test_totals_are_read() -> None:
    assert read_totals("0 12\n5 123456789012\n") == {0: 12, 5: 123456789012}


def test_differences_say_region_amount_and_allowance() -> None:
    found = {"pi4": {"Lite0": {"decode": 1_006_000, "inference": 140_600_000}}}
    assert differences(COUNTS, found) == ["pi4, Lite0, decode: 1.00 M → 1.01 M instructions (+0.6 %, allowed ±0.5 %)"]
    assert differences(COUNTS, {"pi4": {"Lite0": {"decode": 1_000_000, "inference": 120_000_000}}}) == [
        "pi4, Lite0, inference: 140.00 M → 120.00 M instructions (-14.3 %, allowed ±0.5 %)"
    ]
    assert differences(COUNTS, COUNTS) == []


def test_differences_name_what_is_new_and_what_is_gone() -> None:
    assert differences(COUNTS, {"pi4": {"Lite0": {"decode": 1_000_000, "load": 5_000_000}}}) == [
        "pi4, Lite0, load: 5.00 M instructions, nothing stored",
        "pi4, Lite0, inference: stored, but no longer measured",
    ]


def test_the_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "arm.json"
    assert read_reference(path) == {"counts": {}}
    write_reference(path, {"counts": COUNTS, "models": {"x": 1}})
    assert read_reference(path) == {"counts": COUNTS, "models": {"x": 1}}
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="not JSON"):
        read_reference(path)


def test_the_stored_reference_has_every_region_of_every_board() -> None:
    stored = read_reference(ROOT / "benchmarks" / "results" / "arm.json")["counts"]
    assert set(stored) == set(COUNTED)
    for programs in stored.values():
        assert set(programs[check.BUNDLED]) == {"start-up", "first photo", *STAGES}
        assert set(programs[check.MADE_UP]) == {"inference"}


def answers(**changes: Any) -> Answers:
    vector = np.arange(1, 5, dtype=np.float32)
    return Answers(
        **{"labels": {"a.jpg": ["cat", "dog"]}, "logits": {"a.jpg": vector}, "integers": {"a.jpg": vector}, **changes}
    )


def test_answers_that_agree() -> None:
    nearly = np.arange(1, 5, dtype=np.float32) * np.float32(1 + 1e-6)
    assert differing(answers(), answers(logits={"a.jpg": nearly})) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"a.jpg": ["dog", "cat"]}}, "a.jpg: predict gives dog, cat; here cat, dog"),
        (
            {"integers": {"a.jpg": np.array([1, 2, 3, 5], np.float32)}},
            "a.jpg: 25.0 % of the last int8 values differ; expected equal bits",
        ),
        ({"logits": {"a.jpg": np.array([1, 2, 3, 4.1], np.float32)}}, "a.jpg: logits differ by 2.5e-02 of the largest"),
    ],
)
def test_answers_that_differ(changes: Mapping[str, Any], message: str) -> None:
    (problem,) = differing(answers(), answers(**changes))
    assert problem.startswith(message)


def test_the_integer_part_ends_before_the_float_classifier(tmp_path: Path) -> None:
    path = tmp_path / "integers.tflite"
    path.write_bytes(integer_part(BUNDLED_MODEL.read_bytes()))
    with Classifier(path) as classifier:
        values = classifier.logits(PHOTOS[0])
        document = classifier.metadata
    assert values.shape == (7 * 7 * 1280,)
    steps = np.unique(values)
    assert len(steps) > 10
    ratios = steps / np.diff(steps).min()
    assert np.abs(ratios - np.rint(ratios)).max() < 0.01  # whole steps of one scale
    assert document is not None
    assert (document.num_classes, document.labels) == (7 * 7 * 1280, None)


def test_a_float_file_has_no_integer_part(tmp_path: Path) -> None:
    from support.golden import make_state

    from edge_effnet.exporters import export

    path = tmp_path / "float.tflite"
    export(make_state("timm-tf", "lite0", classes=3), path, source="timm-tf", image_size=32)
    with pytest.raises(ModelFileError, match="computes nothing in int8"):
        integer_part(path.read_bytes())


def test_the_made_up_network_is_the_same_each_time() -> None:
    first, second = made_up_graph(), made_up_graph()
    lanes = [node.name for node in first.nodes if isinstance(node, DepthwiseConv2D) and ".depthwise.lane" in node.name]
    assert len(lanes) == 8
    assert {node.name.rpartition(".")[2] for node in first.nodes if isinstance(node, DepthwiseConv2D)} >= {
        "spread",
        "rescale",
    }
    assert [node.name for node in first.nodes] == [node.name for node in second.nodes]
    assert all(
        np.array_equal(one.weight, other.weight)
        for one, other in zip(first.nodes, second.nodes, strict=True)
        if hasattr(one, "weight") and hasattr(other, "weight")
    )


def test_without_apt_the_check_is_skipped_but_not_in_ci(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(emulator.shutil, "which", lambda _name: None)
    words = ["check", "--boards", str(tmp_path), "--photos", str(PHOTOS[0].parent)]
    monkeypatch.delenv("CI", raising=False)
    assert command.main(words) == 0
    assert (
        "arm: skipped, an emulated board is set up with Debian's apt, dpkg and gcc; this machine has no apt-get"
        in capsys.readouterr().err
    )
    monkeypatch.setenv("CI", "true")
    assert command.main(words) == 2
    assert "arm: error: " in capsys.readouterr().err


def test_a_setup_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(emulator.shutil, "which", lambda _name: "/usr/bin/true")
    monkeypatch.setattr(emulator, "_HERE", tmp_path)
    script = tmp_path / "setup.sh"
    script.write_text("#!/bin/sh\necho E: no network >&2\nexit 100\n", encoding="utf-8")
    script.chmod(0o755)
    with pytest.raises(EmulationError, match="setting up arm64 failed with status 100: E: no network"):
        prepare("arm64", tmp_path / "boards")


def test_no_tree_to_build_a_wheel_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(emulator, "_PROJECT", tmp_path)
    with pytest.raises(UsageError, match="--wheel FILE"):
        build_wheel(tmp_path)


def test_a_wheel_is_installed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = []

    def pip(_board: str, _home: Path, arguments: tuple[Any, ...], **_: Any) -> str:
        calls.append(arguments)
        (Path(arguments[arguments.index("--prefix") + 1]) / "lib" / "site-packages" / "edge_effnet").mkdir(parents=True)
        return ""

    monkeypatch.setattr(emulator, "_guest_python", pip)
    wheel = tmp_path / "edge_effnet-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    first, second = (install(board, tmp_path, wheel) for board in COUNTED)
    assert first.site == second.site
    assert len(calls) == 1
    assert "--no-index" in calls[0]


def test_the_check_compares_and_accepts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    counts = {"pi4": {"Lite0": {"decode": 1_000_000}}}
    monkeypatch.setattr(command, "prepare", lambda architecture, _folder: tmp_path / architecture)
    monkeypatch.setattr(command, "install", lambda board, home, _wheel: Guest(board, home, home))
    monkeypatch.setattr(check, "measure", lambda _guests, _photos: (counts, []))
    words = ["check", "--wheel", "w.whl", "--photos", str(PHOTOS[0].parent), "--results", str(tmp_path / "arm.json")]
    assert command.main([*words, "--update"]) == 0
    assert command.main(words) == 0
    assert "all counts are within the tolerance" in capsys.readouterr().out
    counts = {"pi4": {"Lite0": {"decode": 1_200_000}}}
    assert command.main(words) == 1
    message = capsys.readouterr().err
    assert "pi4, Lite0, decode: 1.00 M → 1.20 M instructions (+20.0 %" in message
    assert "check --update" in message


def test_an_answer_that_differs_fails_the_check_before_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "prepare", lambda architecture, _folder: tmp_path / architecture)
    monkeypatch.setattr(command, "install", lambda board, home, _wheel: Guest(board, home, home))
    monkeypatch.setattr(check, "measure", lambda _guests, _photos: (COUNTS, ["pi4: cat.jpg: no"]))
    words = [
        "check",
        "--wheel",
        "w.whl",
        "--photos",
        str(PHOTOS[0].parent),
        "--results",
        str(tmp_path / "arm.json"),
        "--update",
    ]
    assert command.main(words) == 1
    assert "arm: pi4: cat.jpg: no" in capsys.readouterr().err
    assert not (tmp_path / "arm.json").exists()


def test_counts_are_printed_and_recorded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from edge_effnet.benchmarks.arm.counting import ModelCount

    monkeypatch.setattr(command, "prepare", lambda architecture, _folder: tmp_path / architecture)
    monkeypatch.setattr(command, "install", lambda board, home, _wheel: Guest(board, home, home))
    monkeypatch.setattr(
        command,
        "count_model",
        lambda guest, _model: ModelCount("made up 1.0", 5, {"pi4": 150_000_000, "pi5": 75_000_000}[guest.board]),
    )
    results = tmp_path / "arm.json"
    assert (
        command.main(["count", str(BUNDLED_MODEL), "--wheel", "w.whl", "--record", "Lite0", "--results", str(results)])
        == 0
    )
    assert "150.00" in capsys.readouterr().out
    assert read_reference(results)["models"]["Lite0"] == {
        "size_bytes": BUNDLED_MODEL.stat().st_size,
        "engine": "made up 1.0",
        "pi4": 150_000_000,
        "pi5": 75_000_000,
    }
    assert command.main(["count", str(BUNDLED_MODEL), "--record", "a", "--record", "b"]) == 2
    assert "2 --record for 1 models" in capsys.readouterr().err


def test_every_board_has_its_processor() -> None:
    script = (ROOT / "benchmarks" / "arm" / "board-python").read_text(encoding="utf-8")
    assert all(f"  {board}) emulator=" in script for board in BOARDS)
